import type { Contract, Reply } from "@holdfast/admin";
import type {
  Clock,
  InstanceKeyRing,
  KeyRingStatus,
  RegionState,
  SystemRecord,
  WrappedKek,
} from "@holdfast/engine";
import { type KindName, kindNames, type RootKind, rootKind } from "@holdfast/root-of-trust/kinds";
import type { RootReadings } from "../observe/metrics/metric-row.ts";
import { shreddedReason } from "../records/keys-order.ts";
import { namedRoots, type RootFields, shownReference } from "../records/root-reference.ts";
import type { Roots } from "./open/roots.ts";

/** An instance's root of trust in one region, as shown by the API. */
export type RootStatus = Reply<Contract["readRoot"]>["regions"][string];

/** The status from an instance's record; `own` is what this node itself knows, which is newer for its own region. */
export function rootStatusOf(
  record: RootFields & Pick<SystemRecord<"Instance">, "state" | "shredded" | "opened">,
  region: string,
  kindUnlessNamed: RootStatus["type"],
  own?: KeyRingStatus,
): RootStatus {
  const { current, next } = namedRoots(record, region);
  const state = record.state[region];
  const shredded = shreddedReason(record);
  const graceUntilMs = own?.graceUntilMs ?? state?.graceUntilMs;
  return {
    type: current?.type ?? kindNameIn(state?.root ?? "") ?? kindUnlessNamed,
    name: current?.name ?? state?.root ?? "",
    origin: current === undefined ? "configuration" : "instance",
    // An order takes effect at once; the leader's finding is from its last check.
    state: shredded === undefined ? (state?.crkState ?? "unchecked") : "shredded",
    reason: shredded ?? reasonOf(state, own),
    version: state?.version ?? "",
    ...(state !== undefined && { checkedAt: new Date(state.atMs).toISOString() }),
    ...(graceUntilMs !== undefined && { graceUntil: new Date(graceUntilMs).toISOString() }),
    ...(current !== undefined && { reference: shownReference(current) }),
    ...(next !== undefined && {
      next: { type: next.type, name: next.name ?? "", reference: shownReference(next) },
    }),
  };
}

function reasonOf(state: RegionState | undefined, own: KeyRingStatus | undefined): string {
  if (state === undefined) return "not checked yet by the region's leader";
  const more = own?.state === "closed" || own?.state === "grace" ? own.reason : "";
  if (state.reason !== "" || more === "") return state.reason;
  return `at this node: ${more}`;
}

/** One row of the report. */
export type ReportRow = Reply<Contract["reportRoots"]>["items"][number];

type Known = Pick<Roots, "record" | "keks" | "instances">;

/** How many of an instance's KEKs are wrapped under which version, by region; from memory, without any call. */
export function reportOf(
  roots: Known,
  instance: string,
  regions: readonly string[],
): readonly ReportRow[] {
  const record = roots.record(instance);
  if (record === undefined) return [];
  const { name } = record;
  return regions.map((region) => {
    const state = record.state[region];
    const { current, next } = namedRoots(record, region);
    const root = current?.name ?? state?.root ?? "";
    const currentVersion = state?.root === root ? state.version : "";
    const wraps = wrapsOf(roots.keks(instance), region);
    const versions: Record<string, number> = {};
    for (const wrap of wraps) {
      const label =
        wrap.rootOfTrust === root
          ? wrap.rootKeyVersion
          : `${wrap.rootOfTrust} ${wrap.rootKeyVersion}`;
      versions[label] = (versions[label] ?? 0) + 1;
    }
    // The current version is not known before the leader's first check.
    const unknown = state === undefined;
    const stale = wraps.filter(
      (wrap) => !unknown && (wrap.rootOfTrust !== root || wrap.rootKeyVersion !== currentVersion),
    ).length;
    const crkState = state?.crkState ?? "unchecked";
    const keys = shreddedReason(record) === undefined ? crkState : "shredded";
    const moving = next && { next: next.name ?? next.type };
    return {
      instance,
      name,
      region,
      root,
      ...moving,
      state: keys,
      currentVersion,
      versions,
      stale,
    };
  });
}

function wrapsOf(keks: readonly WrappedKek[], region: string) {
  return keks.flatMap(({ wraps }) => wraps.filter((wrap) => wrap.region === region));
}

/** The report with what is to be known about those who hold its root keys: an end, and that they do not know of the use. */
export function withVendors(rows: readonly ReportRow[]): Reply<Contract["reportRoots"]> {
  const all = new Set<RootKind>();
  const items = rows.map((row) => {
    const kinds = kindsIn(row);
    for (const kind of kinds) all.add(kind);
    const ends = kinds.flatMap((kind) => kind.ends?.endMs ?? []);
    return ends.length === 0 ? row : { ...row, ends: new Date(Math.min(...ends)).toISOString() };
  });
  const notes = [...all].flatMap(({ kind, ends, unregistered }) => [
    ...(ends === undefined ? [] : [`${kind}: ${ends.says}; ${ends.mend}`]),
    ...(unregistered === undefined ? [] : [`${kind}: ${unregistered}`]),
  ]);
  return { items, notes };
}

/** The kinds of the root keys in a row, those that the instance is leaving included. */
function kindsIn({ root, versions }: ReportRow): readonly RootKind[] {
  // The label of a version of another root key begins with that one's name.
  const names = [root, ...Object.keys(versions)].flatMap((name) => kindNameIn(name) ?? []);
  return [...new Set(names)].map((name) => rootKind(name));
}

/** The kind with which the name of a root of trust begins. */
function kindNameIn(name: string): KindName | undefined {
  const [word] = name.split(" ");
  return kindNames.find((kind) => kind === word);
}

const states = ["open", "grace", "closed", "shredded"] as const;

/** The readings of a node's roots of trust, without any call. */
export function readingsOf({
  region,
  roots,
  keyRing,
  clock,
  storageKeys,
}: {
  readonly region: string;
  readonly roots: Pick<Roots, "inUse" | "instances" | "keks" | "record">;
  readonly keyRing: Pick<InstanceKeyRing, "statuses">;
  readonly clock: Pick<Clock, "wallMs">;
  /** The wraps of the own store's keys. */
  readonly storageKeys: () => { readonly current: number; readonly stale: number };
}): Omit<RootReadings, "kekSeals" | "rekeyLeft" | "storageKeyLeft"> {
  const keyStates = () => {
    // Use the order in the record: it exists even after a restart, before the first request for a key.
    const shredded = roots.instances().flatMap((instance) => {
      const record = roots.record(instance);
      const reason = record && shreddedReason(record);
      return reason ? [{ instance, state: "shredded" as const, reason }] : [];
    });
    const ordered = new Set(shredded.map(({ instance }) => instance));
    const others = [...keyRing.statuses()].filter(([instance]) => !ordered.has(instance));
    return [...shredded, ...others.map(([instance, status]) => ({ instance, ...status }))];
  };
  return {
    roots: () =>
      roots.inUse().map(({ root }) => {
        const name = root.lastDescription?.name ?? root.kind;
        return [root.kind, name, root.health.ok === false ? 0 : 1] as const;
      }),
    instanceKeys: () => {
      const each = keyStates();
      return states.map((state) => [state, each.filter((one) => one.state === state).length]);
    },
    keyTroubles: () =>
      keyStates()
        .filter(({ state }) => state !== "open")
        .map(({ instance, state, reason }) => ({
          name: roots.record(instance)?.name ?? instance,
          state,
          reason,
        })),
    graceLeft: () => {
      const ends = [...keyRing.statuses().values()].flatMap(({ state, graceUntilMs }) =>
        state === "grace" && graceUntilMs !== undefined ? [graceUntilMs] : [],
      );
      return ends.length === 0 ? undefined : (Math.min(...ends) - clock.wallMs()) / 1000;
    },
    keks: () => {
      const counts = { ...storageKeys() };
      for (const instance of roots.instances()) {
        for (const { stale, versions } of reportOf(roots, instance, [region])) {
          const all = Object.values(versions).reduce((sum, count) => sum + count, 0);
          counts.current += all - stale;
          counts.stale += stale;
        }
      }
      return Object.entries(counts);
    },
  };
}
