import { create } from "@bufbuild/protobuf";
import { encodeRecord, type ManagedObject, StoreUnavailable, type Timers } from "@holdfast/engine";
import { type PushReply, PushRequestSchema } from "../../gen/holdfast/peer/v1/peer_pb.ts";
import type { PushOutcome } from "../../ports/ports.ts";
import { encodeMessage } from "../methods.ts";
import type { MessageSize } from "../peer-tls.ts";
import { outcomeOf } from "../wire.ts";
import { acrossNodes } from "./attempt.ts";
import { type Calls, type Choose, judge, largeMax } from "./calls.ts";
import type { PeerClientTimes } from "./client-times.ts";
import type { NodeLink } from "./node-link.ts";

/** A larger push travels by itself, as a large message. */
const batchBytes = 192 * 1024;
const batchRecords = 512;
const flyingBytes = 4 * 1024 * 1024;
const queueBytes = 32 * 1024 * 1024;
/** Bytes around a record in a message. */
const recordOverhead = 8;

interface LaneRules {
  readonly size: MessageSize;
  readonly batchRecords: number;
  readonly flyingBytes: number;
  readonly flyingBatches: number;
}

const smallRules: LaneRules = {
  size: "small",
  batchRecords,
  flyingBytes,
  flyingBatches: Number.POSITIVE_INFINITY,
};
const largeRules: LaneRules = {
  size: "large",
  batchRecords: 0,
  flyingBytes: Number.POSITIVE_INFINITY,
  flyingBatches: largeMax,
};

interface Item {
  readonly records: readonly Uint8Array[];
  readonly bytes: number;
  readonly resolve: (outcomes: readonly PushOutcome[]) => void;
  readonly reject: (error: unknown) => void;
}

/** Pushes records to a region; large ones on their own, so that they delay no others. */
export class PushSender {
  readonly #choose: Choose;
  readonly #small: Lane;
  readonly #large: Lane;

  constructor(
    region: string,
    choose: Choose,
    calls: Calls,
    timers: Timers,
    times: PeerClientTimes,
  ) {
    this.#choose = choose;
    this.#small = new Lane(region, choose, calls, timers, times.callMs, smallRules);
    this.#large = new Lane(region, choose, calls, timers, times.largeMs, largeRules);
  }

  async push(objects: readonly ManagedObject[]): Promise<readonly PushOutcome[]> {
    if (objects.length === 0) return [];
    // Fails at once where no node can be reached.
    this.#choose();
    const records = objects.map(encodeRecord);
    const bytes = records.reduce((sum, record) => sum + record.length + recordOverhead, 0);
    return await (bytes > batchBytes ? this.#large : this.#small).push(records, bytes);
  }

  /** Continues with what waits, since there may be room again. */
  proceed(): void {
    this.#small.proceed();
    this.#large.proceed();
  }
}

/**
 * Pushes of one size: what comes in one turn of the event loop goes as one batch, in the order in which it
 * came, and a batch that a node does not answer goes to the next. Joining twice does no harm.
 */
class Lane {
  readonly #region: string;
  readonly #choose: Choose;
  readonly #calls: Calls;
  readonly #timers: Timers;
  readonly #answerMs: number;
  readonly #rules: LaneRules;
  #queue: Item[] = [];
  #queued = 0;
  #flying = 0;
  #flyingBatches = 0;
  #scheduled = false;
  #lastId = 0;

  constructor(
    region: string,
    choose: Choose,
    calls: Calls,
    timers: Timers,
    answerMs: number,
    rules: LaneRules,
  ) {
    this.#region = region;
    this.#choose = choose;
    this.#calls = calls;
    this.#timers = timers;
    this.#answerMs = answerMs;
    this.#rules = rules;
  }

  async push(records: readonly Uint8Array[], bytes: number): Promise<readonly PushOutcome[]> {
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
      if (this.#rules.size === "small" && nodes[0]?.pushBlocked === true) return;
      const items = this.#take();
      if (items.length === 0) return;
      void this.#send(items, nodes);
    }
  }

  /** As many of the first items as fit a batch and may be under way. */
  #take(): readonly Item[] {
    const { batchRecords, flyingBytes, flyingBatches } = this.#rules;
    if (this.#flyingBatches >= flyingBatches) return [];
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
    this.#flyingBatches += 1;
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
      this.#flyingBatches -= 1;
      this.proceed();
    }
  }

  async #sendBatch(id: number, batch: Buffer, nodes: ReturnType<Choose>): Promise<PushReply> {
    const endsMs = this.#timers.monotonicMs() + this.#answerMs;
    const push = (node: NodeLink) => node.push(id, batch, endsMs, this.#rules.size);
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
