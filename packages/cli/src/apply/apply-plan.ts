import { X509Certificate } from "node:crypto";
import { secretPlace } from "@holdfast/admin";
import { secretNames } from "@holdfast/root-of-trust/kinds";
import { fingerprintOf } from "@holdfast/server/certificates";
import type { WantedCertificate, WantedInstance, WantedUser } from "./apply-file.ts";

/** An instance as the service has it. */
export interface ActualInstance {
  readonly id: string;
  readonly name: string;
  readonly description: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly destroyOverKmip?: string;
  readonly destroyDelay?: number;
  readonly origin: string;
  /** By region, the configured reference without secrets; undefined if none was configured. */
  readonly roots: Readonly<Record<string, Readonly<Record<string, unknown>> | undefined>>;
  /** By region, where an order that is not complete moves the instance, without secrets. */
  readonly nextRoots?: ActualInstance["roots"];
  readonly certificates: readonly {
    readonly id: string;
    readonly name: string;
    readonly kind: string;
    readonly fingerprint: string;
    readonly origin: string;
    readonly operations?: readonly string[] | undefined;
  }[];
  readonly users: readonly {
    readonly name: string;
    readonly origin: string;
    readonly operations?: readonly string[] | undefined;
  }[];
}

/** One change to the service; `destructive` ones need `--prune` and a confirmation. */
export interface Step {
  readonly text: string;
  /** For a destructive step: what is printed if it is not carried out. */
  readonly otherwise?: string;
  readonly destructive: boolean;
  /** What is sent, by operation; `{instance}` may be a name that an earlier step made. */
  readonly operation:
    | "createInstance"
    | "updateInstance"
    | "configureRoot"
    | "addCertificate"
    | "updateCertificate"
    | "deleteCertificate"
    | "setUser"
    | "deleteUser"
    | "deleteInstance";
  readonly params: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, unknown>>;
  readonly body?: () => Readonly<Record<string, unknown>>;
}

/** How a plan is made. */
export interface PlanOptions {
  /** Sends every API key, PIN and password again: they are never shown, so they cannot be compared. */
  readonly updateSecrets?: boolean;
}

/** The steps that make the service's instances match the declared ones; none if they match. */
export function planOf(
  wanted: readonly WantedInstance[],
  actual: readonly ActualInstance[],
  { updateSecrets = false }: PlanOptions = {},
): readonly Step[] {
  const byName = new Map(actual.map((instance) => [instance.name, instance]));
  const names = new Set(wanted.map(({ name }) => name));
  const steps = wanted.flatMap((instance) =>
    stepsFor(instance, byName.get(instance.name), updateSecrets),
  );
  const spare = actual.filter(({ name, origin }) => origin === "order" && !names.has(name));
  return [...steps, ...spare.map(removal)];
}

function removal({ name }: ActualInstance): Step {
  return {
    text: `- instance ${name}, with all of its keys`,
    otherwise: `  instance ${name} is not declared, and stays as it is`,
    destructive: true,
    operation: "deleteInstance",
    params: { instance: name },
    query: { force: "true", name },
  };
}

function stepsFor(
  wanted: WantedInstance,
  actual: ActualInstance | undefined,
  updateSecrets: boolean,
): readonly Step[] {
  return [
    ...instanceSteps(wanted, actual),
    ...(actual === undefined ? [] : rootSteps(wanted, actual, updateSecrets)),
    ...certificateSteps(wanted, actual),
    ...userSteps(wanted, actual, updateSecrets),
  ];
}

function instanceSteps(
  wanted: WantedInstance,
  actual: ActualInstance | undefined,
): readonly Step[] {
  const { name, description, labels, destroyOverKmip, destroyDelay, roots } = wanted;
  const params = { instance: name };
  const declared = { description, labels, destroyOverKmip, destroyDelay };
  const given = Object.entries(declared).filter(([, value]) => value !== undefined);
  if (actual === undefined) {
    const regions = Object.keys(roots).join(", ");
    const body = {
      name,
      ...Object.fromEntries(given),
      ...(regions === "" ? {} : { rootOfTrust: { regions: roots } }),
    };
    const text = `+ instance ${name}${regions === "" ? "" : ` with roots of trust in ${regions}`}`;
    return [
      { text, destructive: false, operation: "createInstance", params: {}, body: () => body },
    ];
  }
  const steps: Step[] = [];
  const change = Object.fromEntries(
    given.filter(([field, value]) => !same(value, actual[field as keyof typeof declared])),
  );
  if (Object.keys(change).length > 0) {
    const text = `~ instance ${name}: ${Object.keys(change).join(", ")}`;
    steps.push({
      text,
      destructive: false,
      operation: "updateInstance",
      params,
      body: () => change,
    });
  }
  return steps;
}

/** Steps for roots of trust that differ, and for those that only get their secret again. */
function rootSteps(
  { name: instance, roots }: WantedInstance,
  actual: ActualInstance,
  updateSecrets: boolean,
): readonly Step[] {
  // A move that is not complete will end there: only another order ends it.
  const differs = ([region, root]: [string, Root]) =>
    [actual.roots[region], actual.nextRoots?.[region] ?? actual.roots[region]].some(
      (one) => !same(comparable(root), one),
    );
  const moved = Object.entries(roots).filter(differs);
  const sealed = Object.entries(roots).filter(
    (each) => !differs(each) && comparable(each[1])["secret"] === "sealed",
  );
  const step = (what: string, changed: readonly [string, Root][]): readonly Step[] => {
    if (changed.length === 0) return [];
    const body = { regions: Object.fromEntries(changed) };
    const regions = changed.map(([region]) => region).join(", ");
    return [
      {
        text: `~ instance ${instance}: ${what} in ${regions}`,
        destructive: false,
        operation: "configureRoot",
        params: { instance },
        body: () => body,
      },
    ];
  };
  return [
    ...step("root of trust", moved),
    ...(updateSecrets ? step("API key or PIN of the root of trust", sealed) : []),
  ];
}

/** A certificate counts by its fingerprint; a new one is added before the one that it replaces is deleted. */
function certificateSteps(
  { name: instance, certificates }: WantedInstance,
  actual: ActualInstance | undefined,
): readonly Step[] {
  const all = actual?.certificates ?? [];
  const there = all.filter(({ origin }) => origin !== "configuration");
  const found = foundAs(certificates, there);
  const names = new Set(certificates.map(({ name }) => name));
  const taken = new Set(all.map(({ name }) => name));
  const steps = certificates.flatMap((wanted) => {
    const old = found.get(wanted);
    if (old === undefined) return [addition(instance, wanted, taken, names)];
    return sameLimit(wanted.operations, old.operations) ? [] : [newLimit(instance, wanted, old)];
  });
  const kept = new Set(found.values());
  const spare = there.filter(
    (one) => !kept.has(one) && (one.origin === "added" || names.has(one.name)),
  );
  return [...steps, ...spare.map((one) => certificateRemoval(instance, one))];
}

type ActualCertificate = ActualInstance["certificates"][number];

/** Which certificate of the service each declared one is: that of its name first. */
function foundAs(
  certificates: readonly WantedCertificate[],
  there: readonly ActualCertificate[],
): ReadonlyMap<WantedCertificate, ActualCertificate> {
  const found = new Map<WantedCertificate, ActualCertificate>();
  const left = new Set(there);
  for (const byName of [true, false]) {
    for (const wanted of certificates) {
      if (found.has(wanted)) continue;
      const fingerprint = fingerprintIn(wanted);
      const one = [...left].find(
        (each) => each.fingerprint === fingerprint && (!byName || each.name === wanted.name),
      );
      if (one === undefined) continue;
      found.set(wanted, one);
      left.delete(one);
    }
  }
  return found;
}

/** Adds a certificate, under another name while its own one is taken; that name is then taken too. */
function addition(
  instance: string,
  { name: declared, kind, pem, operations }: WantedCertificate,
  taken: Set<string>,
  names: ReadonlySet<string>,
): Step {
  const isTaken = taken.has(declared);
  const name = isTaken ? freeName(declared, (one) => taken.has(one) || names.has(one)) : declared;
  taken.add(name);
  return {
    text: `+ certificate ${name} of ${instance}${isTaken ? `, in place of ${declared}` : ""}`,
    destructive: false,
    operation: "addCertificate",
    params: { instance },
    body: () => ({ name, kind, pem, ...(operations && { operations }) }),
  };
}

const nameMax = 64;

/** `NAME-new`, or `NAME-new2` and so on. */
function freeName(name: string, isTaken: (name: string) => boolean): string {
  for (let nth = 1; ; nth += 1) {
    const end = nth === 1 ? "-new" : `-new${nth}`;
    const free = `${name.slice(0, nameMax - end.length)}${end}`;
    if (!isTaken(free)) return free;
  }
}

function newLimit(
  instance: string,
  { operations }: WantedCertificate,
  { id, name }: ActualCertificate,
): Step {
  return {
    text: `~ certificate ${name} of ${instance}: operations`,
    destructive: false,
    operation: "updateCertificate",
    params: { instance, certificate: id },
    body: () => ({ operations }),
  };
}

/** Whether a limit stays as it is, or as the service keeps it: without repetitions, and none for `all`. */
function sameLimit(wanted: readonly string[] | undefined, actual: readonly string[] = ["all"]) {
  if (wanted === undefined) return true;
  const kept = wanted.includes("all") ? ["all"] : [...new Set(wanted)];
  return kept.toSorted().join(" ") === actual.toSorted().join(" ");
}

function certificateRemoval(
  instance: string,
  { id, name }: { readonly id: string; readonly name: string },
): Step {
  return {
    text: `- certificate ${name} of ${instance}`,
    otherwise: `  certificate ${name} of ${instance} is not declared so, and stays as it is`,
    destructive: true,
    operation: "deleteCertificate",
    params: { instance, certificate: id },
  };
}

/** Passwords cannot be compared: this sends them of missing users, and of changed ones, unless asked to send all secrets. */
function userSteps(
  { name: instance, users }: WantedInstance,
  actual: ActualInstance | undefined,
  updateSecrets: boolean,
): readonly Step[] {
  const there = new Map((actual?.users ?? []).map((user) => [user.name, user]));
  const wanted = new Set(users.map(({ name }) => name));
  const missing = users.flatMap((user): readonly Step[] => {
    const { name, password, operations } = user;
    const changes = changesOf(user, there.get(name), updateSecrets);
    if (changes === "") return [];
    return [
      {
        text: there.has(name)
          ? `~ user ${name} of ${instance}: ${changes}`
          : `+ user ${name} of ${instance}`,
        destructive: false,
        operation: "setUser",
        params: { instance, user: name },
        body: () => ({ password: password(), ...(operations && { operations }) }),
      },
    ];
  });
  const spare = (actual?.users ?? [])
    .filter(({ name, origin }) => !wanted.has(name) && origin !== "configuration")
    .map(
      ({ name: user }): Step => ({
        text: `- user ${user} of ${instance}`,
        otherwise: `  user ${user} of ${instance} is not declared, and stays as it is`,
        destructive: true,
        operation: "deleteUser",
        params: { instance, user },
      }),
    );
  return [...missing, ...spare];
}

/** What of a user is to change, in words; empty if nothing. */
function changesOf(
  { operations }: WantedUser,
  there: ActualInstance["users"][number] | undefined,
  updateSecrets: boolean,
): string {
  if (there === undefined) return "new";
  const limit = sameLimit(operations, there.operations) ? [] : ["operations"];
  return [...limit, ...(updateSecrets ? ["password"] : [])].join(", ");
}

function fingerprintIn({ pem }: WantedCertificate): string {
  try {
    return fingerprintOf(new X509Certificate(pem));
  } catch {
    // The service decides whether this is a certificate.
    return "";
  }
}

type Root = Readonly<Record<string, unknown>>;

/** A declared root as the service shows it: with the place of its secret instead of the secret. */
function comparable(root: Root): Root {
  return Object.fromEntries(
    Object.entries(root).map(([name, value]) =>
      secretNames.includes(name) ? ["secret", secretPlace(value as Root)] : [name, value],
    ),
  );
}

function same(one: unknown, other: unknown): boolean {
  return canonical(one) === canonical(other);
}

function canonical(value: unknown): string {
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "";
  const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([name, each]) => `${name}:${canonical(each)}`).join(",")}}`;
}
