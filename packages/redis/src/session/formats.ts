import { hostname } from "node:os";
import { StoreUnavailable, sysPartition } from "@holdfast/engine";
import type { Argument } from "../connection/command-line.ts";
import { partitionKeys, sysKeys } from "../connection/keys.ts";
import type { StoreSettings } from "../connection/options.ts";
import type { Reply } from "../connection/replies.ts";

/** The format of records' headers: 1 had no proof. */
const headerFormat = 2;

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

/** This process's part in agreeing on a format of records: what it reads, and what it last heard. */
export class Formats {
  /** As far as was heard; undefined before the store was reached. */
  known: RecordFormats | undefined;
  readonly everyMs: number;
  readonly #own: number;
  /** Host, process and format: a restarted node counts as a new one. */
  readonly #node: string;

  constructor({ recordFormat, formatsEveryMs }: StoreSettings) {
    this.#node = `${hostname()} ${process.pid} ${recordFormat}`;
    this.#own = recordFormat;
    this.everyMs = formatsEveryMs;
  }

  /** Keys and arguments of `formats.lua`. */
  get asking(): { readonly keys: readonly string[]; readonly args: readonly string[] } {
    const keys = [partitionKeys(sysPartition).head, sysKeys.formats];
    return { keys, args: [this.#node, String(storedFormat(this.#own)), this.#silentMs] };
  }

  /** Keys and arguments of `require-format.lua`. */
  requiring(format: number, epoch: number) {
    const keys: Argument[] = [partitionKeys(sysPartition).head, sysKeys.epoch, sysKeys.formats];
    return { keys, args: [String(epoch), String(storedFormat(format)), this.#silentMs] };
  }

  /** Takes the answer of `formats.lua`; throws where the store needs a newer node. */
  take({ rest }: Reply, address: string): void {
    const [required, common] = rest;
    this.check(required, address);
    this.known = { required: recordFormatOf(required), common: recordFormatOf(common) };
  }

  /** Throws where the store needs a node that reads a newer format. */
  check(required: unknown, address: string): void {
    const format = recordFormatOf(required);
    if (format <= this.#own) return;
    throw new StoreUnavailable(
      "unsafe",
      `the store at Redis ${address} needs nodes that read record format ${format}, and this release reads formats up to ${this.#own}: upgrade this node`,
    );
  }

  /** Throws for a write by a node whose format is not agreed on yet. */
  requireAgreed(): void {
    if (this.known === undefined || this.known.required >= this.#own) return;
    throw new StoreUnavailable(
      "unknownFormat",
      `this node writes record format ${this.#own}, and some node of a region reads formats up to ${this.known.required} only: it writes nothing before all nodes of both regions are upgraded`,
    );
  }

  get #silentMs(): string {
    return String(this.everyMs * silentTimes);
  }
}
