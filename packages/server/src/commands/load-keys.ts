import {
  type Change,
  Engine,
  type KeyRing,
  type ManagedObject,
  MemoryLocks,
  type ObjectStore,
  type OwnStore,
  readRecord,
  StoreUnavailable,
  type Timers,
  vendorItem,
  vendorKey,
  vendorTags,
  Writer,
} from "@holdfast/engine";
import { attributeItem, decodeResponse, encodeRequest, type Request } from "@holdfast/kmip";
import { decode, encode, textString } from "@holdfast/ttlv";
import { instanceIdOf } from "../access/instances.ts";
import { patiently } from "../backup/patiently.ts";
import { Progress } from "../backup/progress.ts";
import { keyRingOver } from "../backup/restore/key-rings.ts";
import { systemRecords } from "../backup/restore/system-records.ts";
import { OperatorError } from "../base/operator-error.ts";
import type { Machine } from "../base/system.ts";
import { loadConfig } from "../config/config.ts";
import { atRegions } from "../store/region-commands.ts";

/** How many keys, and whose. */
export interface LoadWish {
  readonly instance: string;
  readonly keys: number;
}

/** Items of one batch, and records of one script. */
const keysPerBatch = 64;
/** Scripts at the same time, which share a barrier. */
const batchesAtOnce = 16;

/**
 * Makes many keys in a region's store, as one would have them after years: each made by the engine, sealed under the
 * instance's key and Active, with an `x-Identifier` of its own (`load-0`, `load-1`, …). Many go in one step, without
 * evidence, and by catch-up to the other region.
 */
export async function loadKeys(
  configFile: string,
  machine: Machine,
  wish: LoadWish,
): Promise<string> {
  const config = loadConfig(configFile);
  const { clock } = machine;
  using progress = new Progress(process.stderr, clock.monotonicMs);
  return await atRegions(configFile, machine, async ({ own, peer, region }) => {
    const instance = await instanceOf(own, wish.instance);
    const regions = [region, ...(peer === undefined ? [] : [peer.region])];
    await using keyRing = await keyRingOver(own, { config, machine, regions });
    const startedMs = clock.monotonicMs();
    let [next, done] = [0, 0];
    const worker = async (): Promise<void> => {
      const maker = new KeyMaker(keyRing, region, instance, machine);
      while (next < wish.keys) {
        const first = next;
        next = Math.min(wish.keys, next + keysPerBatch);
        const changes = await maker.make(first, next - first);
        await commit(own, instance, changes, clock);
        done += changes.length;
        progress.show("keys", done, wish.keys);
      }
    };
    await Promise.all(Array.from({ length: batchesAtOnce }, worker));
    const seconds = (clock.monotonicMs() - startedMs) / 1000;
    return `${done} keys made in instance ${wish.instance} in ${seconds.toFixed(1)} s (${Math.round(done / seconds)} a second)`;
  });
}

async function commit(
  own: OwnStore,
  instance: string,
  changes: readonly Change[],
  clock: Timers,
): Promise<void> {
  let tries = 0;
  const outcome = await patiently(clock, () => {
    tries += 1;
    return own.commit(instance, changes, [], { joined: true });
  });
  // An earlier try may have been written, and then all of its keys were.
  const made = outcome.kind === "committed" || (tries > 1 && outcome.kind === "conflict");
  if (!made) {
    throw new StoreUnavailable("corrupt", `keys were refused: ${outcome.kind}`);
  }
}

async function instanceOf(own: OwnStore, named: string): Promise<string> {
  for await (const record of systemRecords(own)) {
    const found = readRecord("Instance", record);
    if (found === undefined || found.destroyed !== undefined) continue;
    const { instance, name } = found;
    if ([instance, name].includes(named)) return instance;
    if (instance === instanceIdOf(named)) return instance;
  }
  throw new OperatorError(`--instance ${named}: the store knows no such instance`);
}

/** Has the engine make keys, and collects them so that many are stored in one step. */
class KeyMaker {
  readonly #engine: Engine;
  readonly #instance: string;
  readonly #region: string;
  readonly #wallMs: () => number;
  #made: ManagedObject[] = [];

  constructor(
    keyRing: Pick<KeyRing, "open" | "seal">,
    region: string,
    instance: string,
    { clock, ids }: Machine,
  ) {
    this.#instance = instance;
    this.#region = region;
    this.#wallMs = clock.wallMs;
    const store: ObjectStore = {
      read: async (_, wanted) => wanted.map(() => undefined),
      find: async () => ({ objects: [] }),
      markServed: async () => false,
      appendAudit: async () => undefined,
      commit: async (_, changes) => {
        this.#made.push(...changes.map(({ after }) => after));
        return { kind: "committed" };
      },
    };
    const observe = (): void => undefined;
    const locks = new MemoryLocks({ observe });
    this.#engine = new Engine({
      store,
      locks,
      keyRing,
      clock,
      ids,
      observe,
      region,
      writer: new Writer(ids),
      interop: false,
    });
  }

  async make(first: number, count: number): Promise<readonly Change[]> {
    const items = Array.from({ length: count }, (_, at) => ({
      operation: "Create" as const,
      uniqueBatchItemId: Buffer.from(String(at)),
      payload: creating(first + at),
    }));
    const request = encode(encodeRequest({ version: "2.1", items }));
    const client = { instance: this.#instance, fingerprint: "dev load" };
    const answer = await this.#engine.execute(request, client, "dev load");
    const made = this.#made;
    this.#made = [];
    if (made.length !== count) {
      const { items: answers } = decodeResponse(decode(answer));
      const refused = answers.find(({ status }) => status !== "Success");
      throw new OperatorError(
        `--instance: no keys can be made now: ${refused?.message ?? "no reason"}`,
      );
    }
    const activated = { time: Math.floor(this.#wallMs() / 1000), region: this.#region };
    return made.map((object) => ({
      kind: "create",
      after: { ...object, facts: { ...object.facts, activated } },
    }));
  }
}

function creating(number: number): Request<"Create"> {
  const value = textString(vendorTags.AttributeValue, `load-${number}`);
  const items = [
    attributeItem("CryptographicAlgorithm", "AES"),
    attributeItem("CryptographicLength", 256),
    attributeItem("CryptographicUsageMask", 0x0c),
    vendorItem({ key: vendorKey("x", "Identifier"), value }),
  ];
  const attributes = { attributes: items.map((item) => ({ item })), templateNames: [] };
  return { objectType: "SymmetricKey", attributes } as Request<"Create">;
}
