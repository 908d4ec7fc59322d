import { withTimeout } from "@holdfast/engine";
import type { Peer } from "@holdfast/regions";
import { reasonOf } from "../../base/operator-error.ts";
import { lineOf } from "./node-checks.ts";
import { type Check, failed, ok, type SystemSources, warning } from "./sources.ts";

const askMs = 3000;
/** Larger differences cause a warning: the regions' clocks decide which of two writes is later. */
const clockMs = 1000;
const backupsMissed = 2;

/** Checks whether the region's own Redis keeps what it accepts. */
export async function storeChecks(sources: SystemSources): Promise<Check[]> {
  const { own, healthLines } = sources;
  const name = "store";
  const lease = own.state();
  const lines = healthLines();
  const why = lineOf(lines, "store") ?? "";
  if (lease !== "full") {
    const mend =
      lease === "readOnly"
        ? "look for the replica that does not answer: changes wait for every replica ever seen; `holdfast store replicas --forget` lowers their number"
        : "check Redis and the network to it; docs/runbook.md says what each reason means";
    return [
      failed(
        name,
        `this node's lease on it is ${why}; clients are served from: ${lineOf(lines, "serving") ?? "?"}`,
        mend,
      ),
    ];
  }
  const safe = ok(
    name,
    "every change reaches the disk and every replica; its settings were checked when it was connected",
  );
  const [quarantined, reservations, levels] = await Promise.all([
    withTimeout(sources, askMs, own.quarantined()),
    withTimeout(sources, askMs, own.reservations()),
    withTimeout(sources, askMs, own.levels()),
  ]);
  return [
    safe,
    quarantined === 0
      ? ok("quarantine", "no record is in quarantine")
      : warning(
          "quarantine",
          `${quarantined} records are in quarantine`,
          "docs/runbook.md: a record that does not decode, or differs where no change is possible",
        ),
    valuesCheck(own.unprovenValues()),
    reservations.length === 0
      ? ok("reservations", "no agreed operation is under way")
      : warning(
          "reservations",
          `${reservations.length} operations hold records`,
          "the leader finishes or drops them once both regions can be reached",
        ),
    levels.reached >= levels.asked
      ? ok("level", "the store has caught up since it last came back")
      : warning(
          "level",
          "the store is not level with the other region yet",
          "the leader is working on it; clients are served meanwhile",
        ),
  ];
}

/** What this node has found in Redis that does not prove itself, and that nobody has replaced since. */
function valuesCheck(unproven: readonly string[]): Check {
  const name = "values";
  const [first, ...others] = unproven;
  if (first === undefined) return ok(name, "every value that this node read proved itself");
  const more = others.length === 0 ? "" : `, and ${others.length} more`;
  return failed(
    name,
    `a value in Redis does not prove itself, and does not count: ${first}${more}`,
    "find out who changed Redis; docs/runbook.md has HoldfastValuesUnproven",
  );
}

/** Checks whether this node would notice an older state of its store. */
export function memoryChecks({
  own,
  healthLines,
}: Pick<SystemSources, "own" | "healthLines">): Check[] {
  const name = "memory";
  if (own.doubted()) {
    return [
      failed(
        name,
        `the store is older than this node remembers; clients are served from: ${lineOf(healthLines(), "serving") ?? "?"}`,
        "find out who put back a copy of its data; docs/runbook.md has HoldfastStoreDoubted",
      ),
    ];
  }
  const line = lineOf(healthLines(), name) ?? "";
  if (!line.startsWith("no")) return [ok(name, "this node remembers its store")];
  return [
    warning(
      name,
      `this node does not notice if an older state of its store is put back: ${line}`,
      "set store.memoryFile, or docs/runbook.md has HoldfastMemoryNotKept",
    ),
  ];
}

/**
 * Checks whether the root of trust opens the key of the region's own store, and under which version of the root key that
 * is: nobody may delete that version.
 */
export async function storageKeyChecks({
  healthLines,
  storageKeys,
}: Pick<SystemSources, "healthLines" | "storageKeys">): Promise<Check[]> {
  const name = "storage key";
  const line = lineOf(healthLines(), name) ?? "";
  const mend = "docs/runbook.md has HoldfastStorageKeyClosed";
  if (line.startsWith("no")) {
    return [failed(name, `this node cannot use its own store: ${line}`, mend)];
  }
  const open = "the own store's key is open in this node";
  try {
    const { root, currentVersion, versions, stale, faults } = await storageKeys.look();
    if (faults.length > 0) {
      return [
        failed(
          name,
          `${open}, but no node that starts can open it: ${faults.join("; ")}`,
          "do not restart the region's nodes: they would lose the store. The leader puts the entry back within a minute; docs/storage-key.md says what to do if it does not",
        ),
      ];
    }
    const under = Object.keys(versions).join(" and ");
    const wrapped = `${open}, and wrapped under version ${under} of root key "${root}"`;
    if (stale === 0) return [ok(name, wrapped)];
    return [
      warning(
        name,
        `${wrapped}; its current version is ${currentVersion}`,
        "do not delete what it is under: without that the store is lost. The leader wraps it again; docs/runbook.md has HoldfastKeksStale",
      ),
    ];
  } catch (error) {
    return [
      warning(
        name,
        `${open}; what it is wrapped under is not known now: ${reasonOf(error)}`,
        "delete no version of the root key until this check knows it",
      ),
    ];
  }
}

/** Checks whether the nodes of each region use one store. */
export function sameStoreChecks({ stores }: SystemSources): Check[] {
  const name = "stores";
  const { reasons } = stores;
  if (reasons.length === 0) {
    const regions = stores.counts().map(([region]) => region);
    const heard =
      regions.length === 0 ? "any region" : `region ${regions.toSorted().join(" and ")}`;
    return [ok(name, `no two nodes of ${heard} are known to use different stores`)];
  }
  const mend =
    "compare `store` in the configurations of these nodes, and correct the wrong one; docs/runbook.md has HoldfastStoresDiffer";
  return reasons.map((reason) => failed(name, reason, mend));
}

const electionMs = 5_000;
const lookAgainMs = 250;

/** Checks who leads the region, and the lock masters that decide it. */
export async function leaderChecks(sources: SystemSources): Promise<Check[]> {
  const { readings, lockMasters } = sources;
  if (readings.leads() === undefined || lockMasters === undefined) {
    return [
      warning(
        "leader",
        "the store has Sentinels and no lock masters are named: nobody rotates, ships, backs up or catches up",
        "name lock masters under locks",
      ),
    ];
  }
  const look = await electedWithin(sources, lockMasters);
  const { masters, answering, held } = look;
  const mend = "start them; `locks` names them, and docs/runbook.md has HoldfastNoLeader";
  const gone = `${masters - answering} of ${masters} lock masters do not answer`;
  const all =
    answering === masters
      ? ok("lock masters", masters === 1 ? "the only lock master answers" : `all ${masters} answer`)
      : answering > masters / 2
        ? warning("lock masters", gone, mend)
        : failed("lock masters", `${gone}: no leader can be elected`, mend);
  if (readings.leads() === true) return [ok("leader", "this node leads its region"), all];
  if (held) return [ok("leader", "another node leads the region"), all];
  const nobody = failed(
    "leader",
    "nobody leads the region: nothing is caught up, rotated, shipped or backed up",
    "look at the lock masters, and at the other nodes; docs/runbook.md has HoldfastNoLeader",
  );
  return [nobody, all];
}

/** An election takes a moment: checked again before "no leader" is reported. */
async function electedWithin(
  { readings, monotonicMs, sleep }: SystemSources,
  lockMasters: NonNullable<SystemSources["lockMasters"]>,
) {
  const untilMs = monotonicMs() + electionMs;
  for (;;) {
    const look = await lockMasters();
    if (look.held || readings.leads() === true || monotonicMs() >= untilMs) return look;
    await sleep(lookAgainMs);
  }
}

/** Checks the other region and its clock. */
export async function peerChecks(sources: SystemSources): Promise<Check[]> {
  const { peers, readings } = sources;
  if (peers.length === 0) return [ok("peers", "this region is alone")];
  const retired = new Set(
    readings.peers().flatMap(({ region, state }) => (state === "retired" ? [region] : [])),
  );
  const all = await Promise.all(peers.map((peer) => peerCheck(sources, peer, retired)));
  return all.flat();
}

async function peerCheck(
  sources: SystemSources,
  peer: Pick<Peer, "region" | "hello" | "position">,
  retired: ReadonlySet<string>,
): Promise<Check[]> {
  const name = `peer ${peer.region}`;
  if (retired.has(peer.region)) {
    return [
      warning(name, "is retired", "bring it back with `holdfast region rejoin`, or leave it"),
    ];
  }
  const { wallMs } = sources;
  const askedMs = wallMs();
  try {
    const hello = await withTimeout(sources, askMs, peer.hello());
    const ahead = Math.max(0, hello.wallMs - wallMs()) + Math.min(0, hello.wallMs - askedMs);
    const serves = hello.serving
      ? ok(name, "answers, and serves from its own store")
      : warning(name, "answers, but does not serve from its own store", "run the checks there");
    return [serves, clockCheck(peer.region, ahead), await behindCheck(sources, peer)];
  } catch (error) {
    return [
      failed(
        name,
        `cannot be reached: ${reasonOf(error)}`,
        "check the line between the regions, its firewall and peer.addresses; agreed operations are refused meanwhile",
      ),
    ];
  }
}

function clockCheck(region: string, aheadMs: number): Check {
  const name = `clock of ${region}`;
  const seconds = Math.round(Math.abs(aheadMs) / 100) / 10;
  if (Math.abs(aheadMs) < clockMs) return ok(name, "agrees with this node's");
  const side = aheadMs > 0 ? "ahead of" : "behind";
  return warning(
    name,
    `is ${seconds} s ${side} this node's`,
    "set both by NTP: of two writes the later one by the clock wins",
  );
}

async function behindCheck(
  sources: SystemSources,
  peer: Pick<Peer, "region" | "position">,
): Promise<Check> {
  const name = `catching up with ${peer.region}`;
  try {
    const left = await withTimeout(sources, askMs, behind(sources.own, peer));
    return left === 0
      ? ok(name, "this region has everything")
      : warning(
          name,
          `${left} changes are yet to be read`,
          "the leader is working on it; if that does not end, look at its log",
        );
  } catch (error) {
    return warning(name, `not known: ${reasonOf(error)}`, "try again");
  }
}

/**
 * How many changes of the other region this one has not read. In a partition that was never
 * compared, all changes count.
 */
export async function behind(
  own: SystemSources["own"],
  peer: Pick<Peer, "region" | "position">,
): Promise<number> {
  const { replicationId, numbers } = await peer.position();
  const cursors = await Promise.all(numbers.map((_, at) => own.cursor(at, peer.region)));
  return numbers.reduce((sum, number, at) => {
    const cursor = cursors[at];
    const read = cursor?.replicationId === replicationId ? cursor.number : 0;
    return sum + Math.max(0, number - read);
  }, 0);
}

/** Checks roots of trust, and whether instances can use their keys. */
export function rootChecks({ readings, healthLines }: SystemSources): Check[] {
  const name = "root of trust";
  // Several instances may be under one root.
  const seen = new Map<string, number>();
  for (const [, root, works] of readings.roots?.() ?? []) {
    seen.set(root, Math.min(works, seen.get(root) ?? 1));
  }
  const roots = [...seen].map(([root, works]) =>
    works === 1
      ? ok(name, `${root} works`)
      : failed(
          name,
          `${root} does not work`,
          "look at `holdfast root-of-trust show` of the instances under it, and at the key manager",
        ),
  );
  const troubles = readings.keyTroubles?.() ?? [];
  const instances = Object.keys(rootMends).flatMap((state) => {
    const [one, ...more] = troubles.filter((trouble) => trouble.state === state);
    if (one === undefined) return [];
    const keys = `the keys of ${one.name}${more.length === 0 ? "" : ` and ${more.length} more`}`;
    const mend = rootMends[one.state] ?? "";
    return [failed(name, `${keys} are in state ${state}: ${one.reason}`, mend)];
  });
  const line = lineOf(healthLines(), name) ?? "";
  const own =
    roots.length > 0 || line.startsWith("ok")
      ? []
      : [failed(name, line, "look at the key manager and rootOfTrust in the configuration")];
  const all = [...roots, ...instances, ...own];
  return all.length === 0 ? [ok(name, line)] : all;
}

/** What to do about an instance's keys that are not open, by their state. */
const rootMends: Readonly<Record<string, string>> = {
  grace:
    "correct that before the grace time is over; within a minute after, this check is good again",
  closed: "correct that, or the permission, then run `holdfast root-of-trust revalidate`",
  shredded: "they stay closed until `holdfast root-of-trust revalidate`",
};

/** Checks the age of the last good backup of this region. */
export function backupChecks({ readings, config, wallMs }: SystemSources): Check[] {
  const name = "backup";
  const every = readings.backupEveryMs;
  if (every === undefined) {
    return [
      warning(name, "no backup is scheduled here", "set the group backup, and see docs/backup.md"),
    ];
  }
  const last = (readings.backups?.() ?? []).find(({ region }) => region === config.region);
  if (last?.lastMs === undefined)
    return [
      failed(name, "this region has no good backup", "look at `holdfast backups` for the reason"),
    ];
  const hours = Math.round((wallMs() - last.lastMs) / 360_000) / 10;
  const says = `the last good backup of this region is ${hours} h old`;
  return wallMs() - last.lastMs > backupsMissed * every
    ? [failed(name, says, "look at `holdfast backups` for the reason")]
    : [ok(name, says)];
}
