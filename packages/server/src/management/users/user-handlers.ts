import { type Call, type Contract, type Handlers, ManagementError } from "@holdfast/admin";
import type { KeyRing, SystemRecord } from "@holdfast/engine";
import { limitOf, limitText } from "../../access/operation-limit.ts";
import { hashPassword } from "../../access/passwords.ts";
import { managementEvents } from "../../audit/management-event.ts";
import type { Records } from "../../records/records.ts";
import type { FoundInstance, InstanceLookup } from "../instance-lookup.ts";
import { sealedOr, sealText } from "../sealed-text.ts";
import { isUser, userBinding, userRecordId } from "./recorded-users.ts";

export interface UserDeps {
  readonly instances: InstanceLookup;
  readonly records: Pick<Records, "create" | "change">;
  readonly keyRing: Pick<KeyRing, "seal">;
  readonly wallMs: () => number;
}

type Names = "listUsers" | "setUser" | "deleteUser";
type CallOf<Name extends Names> = Call<Contract[Name]>;

/** User names and passwords that an instance requires in addition to a certificate. */
export function userHandlers(deps: UserDeps): Pick<Handlers, Names> {
  // One at a time: each hash takes 32 MiB and a thread that KMIP's passwords need too.
  let hashing: Promise<unknown> = Promise.resolve();
  const hash = (password: string): Promise<string> => {
    const next = hashing.then(() => hashPassword(password));
    hashing = next.catch(() => undefined);
    return next;
  };
  return {
    listUsers: async ({ params }) => ({
      items: listed(await deps.instances.find(params.instance)),
    }),
    setUser: (call) => set(deps, call, hash),
    deleteUser: (call) => remove(deps, call),
  };
}

function listed({ declared, users }: FoundInstance) {
  if (declared !== undefined) {
    return [...declared.users.keys()].map((name) => ({ name, origin: "configuration" }));
  }
  return [...users.values()]
    .filter(isUser)
    .map(({ name, setMs, operations }) => ({
      name,
      ...setAt(setMs),
      origin: "added",
      ...(operations === undefined ? {} : { operations: [...operations] }),
    }))
    .toSorted((one, other) => (one.name < other.name ? -1 : 1));
}

function setAt(ms: number | undefined): { readonly createdAt?: string } {
  return ms === undefined ? {} : { createdAt: new Date(ms).toISOString() };
}

async function set(
  deps: UserDeps,
  call: CallOf<"setUser">,
  hash: (password: string) => Promise<string>,
) {
  const { instances, records, keyRing, wallMs } = deps;
  const found = await instances.installed(call.params.instance);
  const { user: name } = call.params;
  const id = userRecordId(found.id, name);
  const opened = Buffer.from(await hash(call.body.password), "latin1");
  const sealed = await sealedOr(() => sealText(keyRing, userBinding(found.id, name), opened));
  opened.fill(0);
  const nowMs = wallMs();
  const limit = call.body.operations && { operations: limitOf(call.body.operations) };
  const fields = { hash: sealed, setMs: nowMs, setBy: call.principal.name, ...limit };
  const target = { id, name, instance: found.id };
  const events = (action: "user.create" | typeof call.audit) =>
    managementEvents(call, action, target, {
      timeMs: nowMs,
      ...(limit && { detail: { operations: limitText(limit.operations) } }),
    });
  if (!found.users.has(id)) {
    try {
      const values = { instance: found.id, name, ...fields };
      const make = records.create("User", values, events("user.create"), { id });
      return { name, regions: (await make).regions };
    } catch (error) {
      if (!(error instanceof ManagementError) || error.code !== "conflict") throw error;
    }
  }
  // One that was deleted is made again: it has its own limit, or none.
  const again = (record: SystemRecord<"User">) =>
    isUser(record) ? fields : { ...fields, operations: limit?.operations };
  const written = await records.change("User", id, again, events(call.audit));
  return { name, regions: written.regions };
}

async function remove({ instances, records, wallMs }: UserDeps, call: CallOf<"deleteUser">) {
  const found = await instances.managed(call.params.instance);
  const { user: name } = call.params;
  const id = userRecordId(found.id, name);
  const target = { id, name, instance: found.id };
  const events = managementEvents(call, call.audit, target, { timeMs: wallMs() });
  const forget = (record: SystemRecord<"User">) => {
    if (!isUser(record)) throw noUser(found);
    // Its limit stays: the other region may set the password at the same time, and the user then lives on.
    return { hash: undefined };
  };
  try {
    const { regions } = await records.change("User", id, forget, events);
    return { name, regions };
  } catch (error) {
    throw error instanceof ManagementError && error.code === "notFound" ? noUser(found) : error;
  }
}

function noUser({ name: instance }: FoundInstance): ManagementError {
  return new ManagementError("notFound", `${instance} has no such user`);
}
