import { create } from "@bufbuild/protobuf";
import { encodeRecord, type ManagedObject, StoreUnavailable, type Timers } from "@holdfast/engine";
import { type PushReply, PushRequestSchema } from "../../gen/holdfast/peer/v1/peer_pb.ts";
import type { PushOutcome } from "../../ports/ports.ts";
import { encodeMessage } from "../methods.ts";
import { outcomeOf } from "../wire.ts";
import { acrossNodes } from "./attempt.ts";
import { type Calls, type Choose, judge, requestMax } from "./calls.ts";
import type { PeerClientTimes } from "./client-times.ts";
import type { NodeLink } from "./node-link.ts";

const batchBytes = 192 * 1024;
const batchRecords = 512;
const flyingBytes = 4 * 1024 * 1024;
const queueBytes = 32 * 1024 * 1024;
/** Around a record in a message. */
const recordOverhead = 8;

interface Item {
  readonly records: readonly Uint8Array[];
  readonly bytes: number;
  readonly resolve: (outcomes: readonly PushOutcome[]) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Pushes records to a region: what comes in one turn of the event loop goes as one batch, in the order in which it
 * came, and a batch that a node does not answer goes to the next. Joining twice does no harm.
 */
export class PushSender {
  readonly #region: string;
  readonly #choose: Choose;
  readonly #calls: Calls;
  readonly #timers: Timers;
  readonly #times: PeerClientTimes;
  #queue: Item[] = [];
  #queued = 0;
  #flying = 0;
  #scheduled = false;
  #lastId = 0;

  constructor(
    region: string,
    choose: Choose,
    calls: Calls,
    timers: Timers,
    times: PeerClientTimes,
  ) {
    this.#region = region;
    this.#choose = choose;
    this.#calls = calls;
    this.#timers = timers;
    this.#times = times;
  }

  async push(objects: readonly ManagedObject[]): Promise<readonly PushOutcome[]> {
    if (objects.length === 0) return [];
    // Fails at once where no node is there.
    this.#choose();
    const records = objects.map(encodeRecord);
    const bytes = records.reduce((sum, record) => sum + record.length + recordOverhead, 0);
    if (this.#queued + bytes > queueBytes && this.#queued > 0) {
      throw new StoreUnavailable("timeout", `region ${this.#region}: too many pushes at once`);
    }
    return new Promise((resolve, reject) => {
      this.#queue.push({ records, bytes, resolve, reject });
      this.#queued += bytes;
      this.#schedule();
    });
  }

  /** Continues with what waits, since there may be room again. */
  proceed(): void {
    if (this.#queue.length > 0) this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    while (this.#queue.length > 0) {
      let nodes: ReturnType<Choose>;
      try {
        nodes = this.#choose();
      } catch (error) {
        this.#refuseAll(error);
        return;
      }
      if (nodes[0]?.pushBlocked === true) return;
      const items = this.#take();
      if (items.length === 0) return;
      void this.#send(items, nodes);
    }
  }

  /** As many of the first as fit a batch and are allowed under way. */
  #take(): readonly Item[] {
    let bytes = 0;
    let records = 0;
    let count = 0;
    for (const item of this.#queue) {
      if (this.#flying > 0 && this.#flying + bytes + item.bytes > flyingBytes) break;
      const fits =
        bytes + item.bytes <= batchBytes && records + item.records.length <= batchRecords;
      if (count > 0 && !fits) break;
      bytes += item.bytes;
      records += item.records.length;
      count += 1;
    }
    this.#queued -= bytes;
    this.#flying += bytes;
    const taken = this.#queue.slice(0, count);
    this.#queue = this.#queue.slice(count);
    return taken;
  }

  async #send(items: readonly Item[], nodes: ReturnType<Choose>): Promise<void> {
    const bytes = items.reduce((sum, item) => sum + item.bytes, 0);
    this.#lastId = (this.#lastId + 1) % 0x7fff_ffff;
    const id = this.#lastId;
    try {
      const records = items.flatMap((item) => item.records);
      const batch = encodeMessage(PushRequestSchema, create(PushRequestSchema, { id, records }));
      this.#settle(items, await this.#sendBatch(id, batch, nodes));
    } catch (error) {
      const failure = this.#calls.errorFor(error);
      for (const item of items) item.reject(failure);
    } finally {
      this.#flying -= bytes;
      this.proceed();
    }
  }

  async #sendBatch(id: number, batch: Buffer, nodes: ReturnType<Choose>): Promise<PushReply> {
    const size = batch.length > requestMax ? "large" : "small";
    const { callMs, largeMs } = this.#times;
    const endsMs = this.#timers.monotonicMs() + (size === "large" ? largeMs : callMs);
    const push = (node: NodeLink) => node.push(id, batch, endsMs, size);
    return (await acrossNodes(nodes, push, judge)).result;
  }

  #settle(items: readonly Item[], reply: PushReply): void {
    let at = 0;
    for (const item of items) {
      const numbers = reply.outcomes.slice(at, at + item.records.length);
      at += item.records.length;
      const outcomes = numbers.map(outcomeOf);
      const known = outcomes.filter((outcome): outcome is PushOutcome => outcome !== "unread");
      if (known.length === item.records.length) item.resolve(known);
      else {
        item.reject(
          new StoreUnavailable(
            "unknownFormat",
            `region ${this.#region} cannot read what was pushed`,
          ),
        );
      }
    }
  }

  #refuseAll(error: unknown): void {
    const items = this.#queue;
    this.#queue = [];
    this.#queued = 0;
    for (const item of items) item.reject(error);
  }
}
