import { type Call, type Contract, type Handlers, ManagementError } from "@holdfast/admin";
import {
  type Clock,
  type FieldChanges,
  type Ids,
  type InstanceKeyRing,
  StoreUnavailable,
  type SystemRecord,
} from "@holdfast/engine";
import { managementEvents } from "../../audit/management-event.ts";
import { beforeWriting } from "../../records/dry-run.ts";
import { instanceRecordId, type Records } from "../../records/records.ts";
import { refusalOf, refuseBound } from "../../records/refusals.ts";
import type { SystemView } from "../../records/system-view.ts";
import type { RootOrders } from "../../roots/root-orders.ts";
import type { InstanceLookup } from "../instance-lookup.ts";
import { pageBy } from "../paging.ts";
import { sealedOr } from "../sealed-text.ts";
import type { ConfigureInstance } from "./configure.ts";
import { type Deletion, hasKeys, keysRemain } from "./deletion.ts";
import { isOrdered } from "./instance-status.ts";
import { type ShowInstances, type ShownInstance, wholeStatus } from "./show-instance.ts";

export interface InstanceHandlersDeps {
  readonly view: Pick<SystemView, "all" | "get" | "of" | "refresh">;
  readonly records: Pick<Records, "create" | "change">;
  readonly lookup: Pick<InstanceLookup, "find" | "managed">;
  readonly show: ShowInstances;
  readonly configure: ConfigureInstance;
  readonly deletion: Deletion;
  readonly orders: Pick<RootOrders, "check" | "newFields" | "regions">;
  readonly keyRing: Pick<InstanceKeyRing, "rekey">;
  readonly clock: Clock;
  readonly ids: Pick<Ids, "randomBytes">;
  /** Names of the configuration's instances. */
  readonly declaredNames: () => readonly string[];
}

type InstanceHandlers = Pick<
  Handlers,
  | "listInstances"
  | "createInstance"
  | "readInstance"
  | "updateInstance"
  | "rekeyInstance"
  | "deleteInstance"
>;
type CallOf<Name extends keyof InstanceHandlers> = Call<Contract[Name]>;
type Instance = SystemRecord<"Instance">;
type Changes = FieldChanges<"Instance">;

const eraseAtOnceMs = 2_000;
const namesTried = 8;
const olderKeksMax = 8;

/** The routes of instances. */
export function instanceHandlers(deps: InstanceHandlersDeps): InstanceHandlers {
  return {
    listInstances: (call) => list(deps, call),
    createInstance: (call) => create(deps, call),
    readInstance: async ({ params }) => await shown(deps, await recordOf(deps, params.instance)),
    updateInstance: (call) => update(deps, call),
    rekeyInstance: (call) => rekey(deps, call),
    deleteInstance: (call) => remove(deps, call),
  };
}

async function list(
  { view, show }: InstanceHandlersDeps,
  { query, principal }: CallOf<"listInstances">,
) {
  await view.refresh().catch(() => undefined);
  const found = view
    .all("Instance")
    .filter(({ instance }) => principal.instances?.includes(instance) ?? true)
    .filter((record) => isWanted(record, query))
    .toSorted((one, other) => (placeOf(one) < placeOf(other) ? -1 : 1));
  const { items, next } = pageBy(found, placeOf, query);
  return { items: [...(await show.show(items))], ...next };
}

/** By name; the identifier distinguishes those of one name, such as deleted ones. */
function placeOf({ name, instance }: Instance): string {
  return `${name}\0${instance}`;
}

function isWanted(record: Instance, query: CallOf<"listInstances">["query"]): boolean {
  const { name, status, label, deleted } = query;
  if (record.destroyed !== undefined && deleted !== true && status !== "Deleted") return false;
  if (name !== undefined && !record.name.toLowerCase().includes(name.toLowerCase())) return false;
  if (status !== undefined && wholeStatus(record) !== status) return false;
  if (label === undefined) return true;
  const at = label.indexOf("=");
  const value = record.labels[at < 0 ? label : label.slice(0, at)];
  return value !== undefined && (at < 0 || value === label.slice(at + 1));
}

async function create(deps: InstanceHandlersDeps, call: CallOf<"createInstance">) {
  const { orders, configure } = deps;
  const { body, newId: instance } = call;
  await deps.view.refresh().catch(() => undefined);
  if (body.name !== undefined && isTaken(deps, body.name)) throw nameTaken(body.name);
  const roots = await checkedRoots(orders, body.rootOfTrust?.regions);
  const made = await named(deps, body.name, (name) => make(deps, call, name, roots));
  if (roots !== undefined) await configure.configured(instance, call);
  return await shown(deps, deps.view.get("Instance", made.id) ?? made);
}

async function make(
  { records, clock }: InstanceHandlersDeps,
  call: CallOf<"createInstance">,
  name: string,
  roots: Changes | undefined,
): Promise<Instance> {
  const { body, principal, newId: instance } = call;
  const timeMs = clock.wallMs();
  const values = {
    instance,
    name,
    description: body.description,
    labels: body.labels,
    createdMs: timeMs,
    createdBy: principal.name,
    claims: [["name", name]],
    destroyOverKmip: body.destroyOverKmip,
    destroyDelay: body.destroyDelay,
    status: roots === undefined ? "Inactive" : "Configuring",
    ...roots,
  } as const;
  const audit = managementEvents(call, call.audit, { id: instance, name, instance }, { timeMs });
  const options = { id: instanceRecordId(instance), agreed: true, taken: () => nameTaken(name) };
  return (await records.create("Instance", values, audit, options)).record;
}

/** Makes it under the given name, or under a free one: another one if somebody takes that first. */
async function named<Made>(
  deps: InstanceHandlersDeps,
  given: string | undefined,
  make: (name: string) => Promise<Made>,
): Promise<Made> {
  if (given !== undefined) return await make(given);
  for (let tries = 0; ; tries += 1) {
    try {
      return await make(freeName(deps));
    } catch (error) {
      const taken = error instanceof ManagementError && error.code === "nameTaken";
      if (!taken || tries >= namesTried) throw error;
    }
  }
}

/** The fields that name the roots of trust, each of which could serve its region now. */
async function checkedRoots(
  orders: InstanceHandlersDeps["orders"],
  given: NonNullable<CallOf<"createInstance">["body"]["rootOfTrust"]>["regions"] | undefined,
): Promise<Changes | undefined> {
  if (given === undefined) return undefined;
  const missing = orders.regions.find((region) => given[region] === undefined);
  // A mistyped region is why another one is missing: the check reports the unknown region, before it asks any root.
  const known = Object.keys(given).every((region) => orders.regions.includes(region));
  if (missing !== undefined && known) {
    const detail = `region ${missing}: name a root of trust for it too, since every region must open the instance's keys`;
    throw new ManagementError("rootKeyMissing", detail);
  }
  return orders.newFields(await orders.check(given));
}

async function update(deps: InstanceHandlersDeps, call: CallOf<"updateInstance">) {
  const { records, clock, lookup } = deps;
  const { body, ifMatch } = call;
  const { id: instance, name: before } = await lookup.managed(call.params.instance);
  const { name, description, labels, destroyOverKmip, destroyDelay } = body;
  const renames = name !== undefined && name !== before;
  if (labels !== undefined) {
    const says = "labels decide which tokens reach an instance: a token that is bound changes none";
    refuseBound(call, says);
  }
  // A refusal would tell that another instance has the name.
  if (renames) {
    refuseBound(call, "names are unique among all instances: a token that is bound changes none");
  }
  if (renames && isTaken(deps, name)) throw nameTaken(name);
  const changes: Changes = {
    ...(renames && { name, claims: [["name", name]] }),
    ...(description !== undefined && { description }),
    ...(labels !== undefined && { labels }),
    ...(destroyOverKmip !== undefined && { destroyOverKmip }),
    ...(destroyDelay !== undefined && { destroyDelay }),
  };
  const timeMs = clock.wallMs();
  const target = { id: instance, name: name ?? before, instance };
  const detail = {
    changed: Object.keys(body).join(" "),
    ...(destroyOverKmip !== undefined && { destroyOverKmip }),
    ...(destroyDelay !== undefined && { destroyDelay }),
  };
  const audit = managementEvents(call, call.audit, target, { timeMs, detail });
  const written = await records.change(
    "Instance",
    instanceRecordId(instance),
    ({ status }) => {
      if (status === "Removing") {
        throw new ManagementError("wrongState", `${before} is being deleted`);
      }
      return Object.keys(changes).length === 0 ? undefined : changes;
    },
    audit,
    // A name must be unique in every region.
    { ifMatch, ...(renames && { agreed: true, taken: () => nameTaken(name) }) },
  );
  return await shown(deps, written.record);
}

/** Also an instance of the configuration file: its KEKs are records of the store too. */
async function rekey(deps: InstanceHandlersDeps, call: CallOf<"rekeyInstance">) {
  const { lookup, view, keyRing, clock } = deps;
  const { id: instance, name, status } = await lookup.find(call.params.instance);
  if (status === "Removing") {
    throw new ManagementError("wrongState", `${name} is being deleted`);
  }
  // Another node may have made its first one a moment ago.
  await view.refresh().catch(() => undefined);
  if (view.of("Kek", instance).size === 0) {
    const detail = `${name} has no key-encryption key yet: its first key makes one`;
    throw new ManagementError("wrongState", detail);
  }
  const { keks = [] } = await shown(deps, await recordOf(deps, call.params.instance));
  refuseMoreKeks(name, keks);
  const target = { id: instance, name, instance };
  const audit = managementEvents(call, call.audit, target, { timeMs: clock.wallMs() });
  await sealedOr(() =>
    keyRing.rekey(instance, audit).catch((error: unknown) => {
      throw behind(error);
    }),
  );
  await view.refresh().catch(() => undefined);
  return await shown(deps, await recordOf(deps, call.params.instance));
}

/** Another KEK would not seal sooner than one that waits, and each KEK that is kept has to be opened and wrapped. */
function refuseMoreKeks(name: string, keks: NonNullable<ShownInstance["keks"]>): void {
  if (keks.some(({ use }) => use === "waits")) {
    const detail = `${name} has a newer key-encryption key that waits for a region to wrap it: see that region's root of trust`;
    throw new ManagementError("wrongState", detail);
  }
  if (keks.filter(({ use }) => use === "older").length >= olderKeksMax) {
    const detail = `${name} keeps ${olderKeksMax} older key-encryption keys: wait until one is removed, or see why they are needed (\`holdfast instance show\`)`;
    throw new ManagementError("wrongState", detail);
  }
}

/** The store's refusal, where that is why a key cannot be made. */
function behind(error: unknown): unknown {
  return error instanceof StoreUnavailable ? refusalOf(error) : error;
}

async function remove(deps: InstanceHandlersDeps, call: CallOf<"deleteInstance">) {
  const { lookup, deletion, view } = deps;
  const { force = false } = call.query;
  const found = await lookup.find(call.params.instance);
  const { record } = found;
  if (record === undefined || found.declared !== undefined || !isOrdered(record)) {
    throw new ManagementError(
      "declared",
      `${found.name} is declared in the nodes' configuration file: remove it there, at every node`,
    );
  }
  let empty = false;
  const { instance, name } = record;
  if (record.removal?.phase !== "decided") {
    if (force) refuseOtherName(name, call.query.name);
    empty = await isEmpty(deletion, instance, force);
    await deletion.decide(record, force, call, call.ifMatch);
  }
  beforeWriting();
  const erased = await finished(deps, instance);
  const now = view.get("Instance", instanceRecordId(instance));
  const [answer] = now === undefined ? [] : await deps.show.show([now]);
  return {
    id: instance,
    name,
    status: answer?.status ?? "Removing",
    ...(erased > 0 && { erased }),
    ...(empty ? {} : { warning: warningOf(name) }),
    regions: answer?.pending ?? {},
  };
}

function refuseOtherName(name: string, typed: string | undefined): void {
  if (typed === name) return;
  throw new ManagementError(
    "confirmationNeeded",
    typed === undefined
      ? "force=true needs the name of the instance as name=NAME: nothing was deleted"
      : "not the name of the instance: nothing was deleted",
  );
}

/** Whether the instance has no keys; one with keys is refused, unless forced. */
async function isEmpty(deletion: Deletion, id: string, force: boolean): Promise<boolean> {
  try {
    const remaining = await deletion.remaining(id);
    if (!hasKeys(remaining)) return true;
    if (!force) throw keysRemain(remaining);
  } catch (error) {
    if (!force) throw error;
  }
  return false;
}

/** Does what can be done now of a decided deletion; the leaders do the rest. */
async function finished(
  { deletion, view, clock }: InstanceHandlersDeps,
  instance: string,
): Promise<number> {
  const now = () => view.get("Instance", instanceRecordId(instance));
  try {
    const removal = now()?.removal;
    if (removal !== undefined) await deletion.finish(instance, removal);
    const destroyed = now()?.destroyed;
    if (destroyed === undefined) return 0;
    const untilMs = clock.monotonicMs() + eraseAtOnceMs;
    const active = () => clock.monotonicMs() < untilMs;
    return (await deletion.eraseObjects(instance, destroyed, Number.POSITIVE_INFINITY, active))
      .done;
  } catch (error) {
    if (error instanceof ManagementError || error instanceof StoreUnavailable) return 0;
    throw error;
  }
}

/** The warning of IBM's page, for this instance. */
function warningOf(name: string): string {
  return `Data that was encrypted under keys of the instance ${name} can never be decrypted again: its virtual machines and disks, and backups of them that are encrypted. This cannot be undone.`;
}

async function recordOf(
  { lookup, view }: InstanceHandlersDeps,
  instance: string,
): Promise<Instance> {
  // One that was deleted is shown too, by its identifier.
  const deleted = view.get("Instance", instanceRecordId(instance));
  if (deleted?.destroyed !== undefined) return deleted;
  const found = await lookup.find(instance);
  if (found.record !== undefined) return found.record;
  throw new ManagementError("notFound", "the instance is not known to the store yet");
}

async function shown({ show }: InstanceHandlersDeps, of: Instance): Promise<ShownInstance> {
  const [one] = await show.show([of]);
  if (one === undefined) throw new ManagementError("notFound", "instance not found");
  return one;
}

function isTaken({ view, declaredNames }: InstanceHandlersDeps, name: string): boolean {
  if (declaredNames().includes(name)) return true;
  return view
    .all("Instance")
    .some((record) => record.destroyed === undefined && record.name === name);
}

function nameTaken(name: string): ManagementError {
  return new ManagementError(
    "nameTaken",
    `another instance is called ${name}: choose another name`,
  );
}

/** `kmip-` and two random letters, as IBM's; more letters where those are taken. */
function freeName(deps: InstanceHandlersDeps): string {
  for (let tries = 0; ; tries += 1) {
    const letters = [...deps.ids.randomBytes(2 + Math.floor(tries / 20))];
    const name = `kmip-${letters.map((byte) => String.fromCharCode(97 + (byte % 26))).join("")}`;
    if (!isTaken(deps, name)) return name;
  }
}
