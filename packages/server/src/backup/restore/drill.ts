import {
  type KeyRing,
  type ManagedObject,
  type OwnStore,
  partitionCount,
  readKekRecord,
  stateCounts,
  systemInstance,
} from "@holdfast/engine";
import { stateText } from "@holdfast/kmip";
import { reasonOf } from "../../base/operator-error.ts";
import type { Machine } from "../../base/system.ts";
import { whyIncomplete } from "../archive/archive-entries.ts";
import type { ArchiveReader } from "../archive/archive-reader.ts";
import { type Scanned, scanArchive, scannedLines } from "../archive/scan.ts";
import { PrivateRedis } from "./private-redis.ts";
import { type RestoreReport, restoreArchive } from "./restore.ts";

/** Opens keys of a store through the roots of trust. */
type OpenKeyRing = (store: OwnStore) => Promise<Pick<KeyRing, "open"> & AsyncDisposable>;

/** How many keys are reported one by one. */
const failedTold = 10;

/** How a drill is made. */
export interface DrillOptions {
  /** How many keys are opened. */
  readonly keys: number;
  readonly openKeyRing: OpenKeyRing;
  readonly machine: Machine;
  /** Uniform in [0, 1). */
  readonly chance: () => number;
  readonly progress?: (step: "reading" | "restoring" | "opening", done: number, of: number) => void;
}

/** What a drill found. */
export interface DrillReport {
  readonly scanned: Scanned;
  readonly bytes: number;
  readonly restored: RestoreReport;
  /** Objects by state, of all instances together. */
  readonly counts: ReturnType<typeof stateCounts>;
  readonly instances: number;
  readonly keks: number;
  /** How many of the archive's records have material. */
  readonly sealed: number;
  readonly opened: number;
  /** Keys that could not be opened, and why. */
  readonly failed: readonly { readonly uniqueIdentifier: string; readonly reason: string }[];
}

/** Whether nothing was found that speaks against the archive. */
export function isReliable({
  scanned,
  restored,
  failed,
}: Pick<DrillReport, "scanned" | "restored" | "failed">): boolean {
  const { left, contradicting } = restored;
  const isComplete = whyIncomplete(scanned.trailer) === undefined;
  return isComplete && failed.length === 0 && left === 0 && contradicting === 0;
}

/**
 * Proves that an archive can be restored: reads all of it, restores it into a private Redis and
 * opens a random sample of its keys through the roots of trust. Changes nothing else.
 */
export async function drill(reader: ArchiveReader, options: DrillOptions): Promise<DrillReport> {
  const { machine, progress = () => undefined } = options;
  const sample = new Sample(options.keys, options.chance);
  const keks = new Set<string>();
  const reading = (bytes: number) => progress("reading", bytes, reader.size);
  const scanned = await scanArchive(reader, reading, (object) => {
    sample.offer(object);
    if (readKekRecord(object) !== undefined) keks.add(object.uniqueIdentifier);
  });
  await using redis = await PrivateRedis.start(machine);
  const { store } = redis;
  const target = { own: store, peers: [], timers: machine.clock, observe: () => undefined };
  const { records } = scanned.trailer;
  const restored = await restoreArchive(reader, scanned, target, {
    apply: true,
    progress: (done) => progress("restoring", done, records),
  });
  const counted = await countsOf(store);
  const { opened, failed } = await openAll(store, sample.chosen, options);
  return {
    scanned,
    bytes: reader.size,
    restored,
    ...counted,
    keks: keks.size,
    sealed: sample.seen,
    opened,
    failed,
  };
}

async function countsOf(store: OwnStore) {
  let counts = stateCounts();
  const instances = new Set<string>();
  for (let partition = 0; partition < partitionCount; partition++) {
    for (const [instance, its] of (await store.countsIn(partition)) ?? []) {
      instances.add(instance);
      const states = Object.keys(counts) as (keyof typeof counts)[];
      counts = stateCounts(
        Object.fromEntries(states.map((state) => [state, counts[state] + its.states[state]])),
      );
    }
  }
  return { counts, instances: instances.size };
}

type Chosen = Sample["chosen"];

async function openAll(store: OwnStore, chosen: Chosen, { openKeyRing, progress }: DrillOptions) {
  const failed: { uniqueIdentifier: string; reason: string }[] = [];
  let opened = 0;
  let keyRing: Awaited<ReturnType<OpenKeyRing>>;
  try {
    keyRing = await openKeyRing(store);
  } catch (error) {
    // Everything else that the drill has found is still reported.
    const reason = reasonOf(error);
    return { opened, failed: chosen.map(({ uniqueIdentifier }) => ({ uniqueIdentifier, reason })) };
  }
  await using _closed = keyRing;
  for (const { instance, uniqueIdentifier } of chosen) {
    const reason = await openOne(store, keyRing, instance, uniqueIdentifier);
    if (reason === undefined) opened += 1;
    else if (reason !== "destroyed") failed.push({ uniqueIdentifier, reason });
    progress?.("opening", opened + failed.length, chosen.length);
  }
  return { opened, failed };
}

/** Why a key was not opened (`destroyed` is not a fault); undefined if it was. */
async function openOne(
  store: OwnStore,
  keyRing: Pick<KeyRing, "open">,
  instance: string,
  uniqueIdentifier: string,
): Promise<string | undefined> {
  try {
    const [stored] = await store.read(instance, [uniqueIdentifier]);
    if (stored === undefined) return "it is not in the restored store";
    const { material, objectType } = stored.object;
    if (material === undefined) return "destroyed";
    const plaintext = await keyRing.open({ instance, uniqueIdentifier, objectType }, material);
    plaintext.fill(0);
    return undefined;
  } catch (error) {
    return reasonOf(error);
  }
}

/** A uniform random sample of the objects that have material (Vitter's algorithm R). */
class Sample {
  readonly chosen: Pick<ManagedObject, "instance" | "uniqueIdentifier">[] = [];
  readonly #size: number;
  readonly #chance: () => number;
  /** How many were offered that have material. */
  seen = 0;

  constructor(size: number, chance: () => number) {
    this.#size = size;
    this.#chance = chance;
  }

  offer({ instance, uniqueIdentifier, material }: ManagedObject): void {
    if (material === undefined || instance === systemInstance) return;
    this.seen += 1;
    const one = { instance, uniqueIdentifier };
    if (this.chosen.length < this.#size) {
      this.chosen.push(one);
      return;
    }
    const at = Math.floor(this.#chance() * this.seen);
    if (at < this.#size) this.chosen[at] = one;
  }
}

/** A drill's report as lines of text. */
export function drillLines(file: string, report: DrillReport, wallMs: number): readonly string[] {
  const { scanned, bytes, restored, counts, instances, keks, opened, failed } = report;
  const states = Object.entries(counts)
    .filter(([, count]) => count > 0)
    .map(([state, count]) => `${count} ${stateText(state)}`);
  return [
    ...scannedLines(file, bytes, scanned, wallMs),
    `restored into a private Redis: ${restored.made} records, ${instances} instances with objects, ${keks} key-encryption keys`,
    `objects: ${states.length === 0 ? "none" : states.join(", ")}`,
    `${opened} keys at random opened through the root of trust${failed.length === 0 ? "" : `, ${failed.length} did not open`}`,
    ...failed
      .slice(0, failedTold)
      .map(({ uniqueIdentifier, reason }) => `key ${uniqueIdentifier}: ${reason}`),
    verdictOn(report),
  ];
}

function verdictOn(report: DrillReport): string {
  if (!isReliable(report)) return "this backup cannot be relied on as it is";
  if (report.sealed === 0 || report.opened > 0) return "this backup can be restored";
  return "all of its records can be restored, but no key was opened: give a larger number with --keys to prove that its keys open";
}
