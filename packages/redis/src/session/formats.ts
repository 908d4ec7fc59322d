import { StoreUnavailable, sysPartition } from "@holdfast/engine";
import type { Argument } from "../connection/command-line.ts";
import { partitionKeys, sysKeys } from "../connection/keys.ts";
import type { StoreSettings } from "../connection/options.ts";
import type { Reply } from "../connection/replies.ts";
import type { StoredValues } from "../proof/stored-values.ts";
import type { StorageKeys } from "../storage-keys/storage-keys.ts";
import { proveValue, type ValuePlace } from "../storage-keys/value-proof.ts";

/** The format of records' headers: 1 had no proof. */
const headerFormat = 2;
const { head } = partitionKeys(sysPartition);

/** Where a store keeps the format that every node must read; its proof is in a field beside it. */
export const requiredFormatPlace: ValuePlace = { key: sysKeys.formats, field: "required" };

/**
 * The number of a format of records in a store. It grows with the format of headers too, so that releases that know
 * only older headers refuse the store.
 */
export function storedFormat(recordFormat: number): number {
  return recordFormat + headerFormat - 1;
}

function recordFormatOf(stored: unknown): number {
  return Math.max(0, Number(stored ?? 0) - headerFormat + 1);
}

/** Which formats of records a region's nodes read, as its store knows. */
export interface RecordFormats {
  /** What is written, and every node must read. */
  readonly required: number;
  /** The newest that every recently heard node of the region reads. */
  readonly common: number;
}

/** A silent node stops counting after so many missed notes. */
const silentTimes = 3;

/** Runs `formats.lua`. */
type Ask = (keys: readonly Argument[], args: readonly Argument[]) => Promise<Reply>;

/**
 * This process's part in agreeing on a format of records: what it reads, and what it last heard. A required format that
 * does not prove itself is ignored, and replaced.
 */
export class Formats {
  /** As far as was heard; undefined before the store was reached. */
  known: RecordFormats | undefined;
  readonly everyMs: number;
  readonly #own: number;
  /** Process and format: a restarted node counts as a new one. */
  readonly #node: string;
  readonly #values: Pick<StoredValues, "proves">;
  /** The store of which `known` is. */
  #storeId = "";
  /** The required format as last read without a proof; empty if it had one. */
  #unproven = "";

  constructor(
    {
      recordFormat,
      formatsEveryMs,
      processName,
    }: Pick<StoreSettings, "recordFormat" | "formatsEveryMs" | "processName">,
    values: Pick<StoredValues, "proves">,
  ) {
    this.#node = `${processName} ${recordFormat}`;
    this.#own = recordFormat;
    this.everyMs = formatsEveryMs;
    this.#values = values;
  }

  /** Tells the store what this process reads, and hears what the others read; throws where the store needs a newer node. */
  async note(keys: StorageKeys, address: string, ask: Ask): Promise<void> {
    await this.#ask(keys, address, ask);
    if (this.#unproven !== "") await this.#ask(keys, address, ask);
  }

  /** Keys and arguments of `require-format.lua`. */
  requiring(keys: StorageKeys, format: number, epoch: number) {
    const stored = String(storedFormat(format));
    const args: Argument[] = [
      ...[String(epoch), keys.stamp, stored],
      ...[proveValue(keys.newest, requiredFormatPlace, stored), this.#unproven, this.silentMs],
    ];
    return { keys: [head, sysKeys.epoch, sysKeys.formats], args };
  }

  /** Throws where the store needs a node that reads a newer format, and proves it. */
  check(keys: StorageKeys, required: Buffer, proof: Buffer, address: string): void {
    const format = recordFormatOf(required);
    if (format <= this.#own) return;
    if (!this.#proves(keys, required, proof)) return;
    throw new StoreUnavailable(
      "unsafe",
      `the store at Redis ${address} needs nodes that read record format ${format}, and this release reads formats up to ${this.#own}: upgrade this node`,
    );
  }

  /** Throws for a write by a node whose format is not agreed on yet. */
  requireAgreed(): void {
    if (this.known === undefined || this.known.required >= this.#own) return;
    throw new StoreUnavailable(
      "formatNotAgreed",
      `this node writes record format ${this.#own}, and some node of a region reads formats up to ${this.known.required} only: it writes nothing before all nodes of both regions are upgraded`,
    );
  }

  async #ask(keys: StorageKeys, address: string, ask: Ask): Promise<void> {
    const own = String(storedFormat(this.#own));
    const proofOfOwn = proveValue(keys.newest, requiredFormatPlace, own);
    const args = [this.#node, own, this.silentMs, proofOfOwn, this.#unproven, String(keys.ready)];
    const { rest } = await ask([head, sysKeys.formats], args);
    const [required, proof, common] = rest as readonly [Buffer, Buffer, unknown];
    this.check(keys, required, proof, address);
    const isProven = this.#proves(keys, required, proof);
    this.#unproven = isProven ? "" : required.toString("latin1");
    // What is required never goes back.
    const before = this.#storeId === keys.storeId ? (this.known?.required ?? 0) : 0;
    this.#storeId = keys.storeId;
    this.known = {
      required: isProven ? recordFormatOf(required) : before,
      common: recordFormatOf(common),
    };
  }

  #proves(keys: StorageKeys, value: Buffer, proof: Buffer): boolean {
    return this.#values.proves(keys, requiredFormatPlace, { value, proof });
  }

  /** Milliseconds after which a silent node counts no more. */
  get silentMs(): string {
    return String(this.everyMs * silentTimes);
  }
}
