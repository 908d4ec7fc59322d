import { type KekStore, type KekWrap, StoreUnavailable, type WrappedKek } from "@holdfast/engine";
import { otherStore } from "./committer.ts";
import { keksKey, partitionKeys, sysPartition } from "./keys.ts";
import { readPartitionHead } from "./record-header.ts";
import { readPairs } from "./replies.ts";
import type { ScriptName } from "./scripts.ts";
import type { StoreContext } from "./tenure.ts";
import type { Tenures } from "./tenures.ts";

/** A wrap as its field holds it; the region stands in the field's name. */
interface StoredWrap {
  readonly rootOfTrust: string;
  readonly rootKeyVersion: string;
  /** Base64. */
  readonly blob: string;
}

const { head, counters } = partitionKeys(sysPartition);

/** Wrapped KEKs in the partition `{sys}`; `add-kek.lua` says the fields. */
export class RedisKeks implements KekStore {
  readonly #context: StoreContext;
  readonly #tenures: Tenures;

  constructor(context: StoreContext, tenures: Tenures) {
    this.#context = context;
    this.#tenures = tenures;
  }

  /** See `KekStore.list`. */
  async list(instance: string): Promise<readonly WrappedKek[]> {
    const tenure = this.#tenures.now("read") ?? (await this.#tenures.require("read"));
    const [fields, headValue] = await tenure.reading(({ connection }) =>
      Promise.all([connection.call("hgetall", keksKey(instance)), connection.call("get", head)]),
    );
    this.#tenures.assert(tenure, "read");
    const read = readPartitionHead(headValue as Buffer | null);
    if (read?.storeId !== tenure.storeId) {
      throw otherStore(tenure.address, tenure.storeId, read?.storeId);
    }
    const pairs = readPairs(fields);
    const promised = Number(pairs.get("n") ?? 0);
    if (promised > read.covered) await tenure.committer.cover(sysPartition, promised);
    this.#tenures.assert(tenure, "read");
    return readKeks(pairs);
  }

  /** See `KekStore.add`. */
  async add(instance: string, kek: WrappedKek, onlyIfNone: boolean): Promise<boolean> {
    const wraps = kek.wraps.flatMap((wrap) => [wrap.region, writeWrap(wrap)]);
    const said = JSON.stringify({ createdMs: kek.createdMs });
    const args = [onlyIfNone ? "1" : "0", kek.id, said, ...wraps];
    return (await this.#run("add-kek", instance, args)) === "committed";
  }

  /** See `KekStore.rewrap`. */
  async rewrap(
    instance: string,
    kekId: string,
    expected: Uint8Array,
    replacement: KekWrap,
  ): Promise<boolean> {
    const blob = Buffer.from(expected).toString("base64");
    const args = [kekId, replacement.region, blob, writeWrap(replacement)];
    return (await this.#run("rewrap-kek", instance, args)) === "committed";
  }

  async #run(name: ScriptName, instance: string, args: readonly string[]): Promise<string> {
    const tenure = this.#tenures.now("write") ?? (await this.#tenures.require("write"));
    const keys = [head, counters, keksKey(instance)];
    const script = this.#context.scripts[name];
    return (await tenure.committer.submit(script, sysPartition, keys, args)).result;
  }
}

function writeWrap({ rootOfTrust, rootKeyVersion, blob }: KekWrap): string {
  const stored: StoredWrap = {
    rootOfTrust,
    rootKeyVersion,
    blob: Buffer.from(blob).toString("base64"),
  };
  return JSON.stringify(stored);
}

/** Oldest first. Exported for its test. */
function readKeks(fields: ReadonlyMap<string, string>): readonly WrappedKek[] {
  try {
    const wraps = [...fields].filter(([field]) => field.startsWith("w"));
    return [...fields]
      .filter(([field]) => field.startsWith("k"))
      .map(([field, said]) => {
        const id = field.slice(1);
        const { createdMs } = JSON.parse(said) as { readonly createdMs: number };
        const own = wraps.filter(([name]) => name.startsWith(`w${id}\0`));
        return { id, createdMs, wraps: own.map(([name, text]) => readWrap(name, id, text)) };
      })
      .toSorted((a, b) => a.createdMs - b.createdMs || (a.id < b.id ? -1 : 1));
  } catch (cause) {
    throw new StoreUnavailable("corrupt", "a wrapped KEK does not decode", { cause });
  }
}

function readWrap(field: string, id: string, text: string): KekWrap {
  const { rootOfTrust, rootKeyVersion, blob } = JSON.parse(text) as StoredWrap;
  const region = field.slice(id.length + 2);
  return { region, rootOfTrust, rootKeyVersion, blob: Buffer.from(blob, "base64") };
}
