import { create } from "@bufbuild/protobuf";
import { type ServerDuplexStream, status } from "@grpc/grpc-js";
import { type ManagedObject, StoreUnavailable } from "@holdfast/engine";
import {
  type PushReply,
  PushReplySchema,
  PushRequestSchema,
} from "../../gen/holdfast/peer/v1/peer_pb.ts";
import type { PeerStore } from "../../ports/ports.ts";
import { decodeMessage, encodeMessage } from "../methods.ts";
import type { ByteBudget } from "../server-limits.ts";
import { plain } from "../status.ts";
import { outcomeNumber, readableObject } from "../wire.ts";

/** Most records of one batch: each that cannot be read takes some microseconds. */
const batchRecordsMax = 4_096;
/** Most replies that a pusher has not read; with more, nothing further is read from it. */
const repliesMax = 10_000;

export interface PushContext {
  readonly store: PeerStore;
  readonly budget: ByteBudget;
  /** An error that is not reported to the pusher. */
  readonly unexpected: (error: unknown) => void;
}

/** Joins a batch of records; never rejects for a failure of the store. */
export async function joinBatch(
  { store, unexpected }: PushContext,
  id: number,
  records: readonly Uint8Array[],
): Promise<PushReply> {
  const objects = records.map(readableObject);
  const readable = objects.filter((object): object is ManagedObject => object !== undefined);
  try {
    const joined = readable.length === 0 ? [] : await store.push(readable);
    let at = 0;
    const outcomes = objects.map((object) =>
      outcomeNumber(object === undefined ? "unread" : (joined[at++] ?? "unread")),
    );
    return create(PushReplySchema, { id, outcomes });
  } catch (error) {
    const known = error instanceof StoreUnavailable;
    if (!known) unexpected(error);
    const failure = known
      ? { failure: error.failure, message: plain(error.message) }
      : { failure: "timeout", message: "internal error" };
    return create(PushReplySchema, {
      id,
      failure: { $typeName: "holdfast.peer.v1.Failure", ...failure },
    });
  }
}

/** An error that ends a stream of grpc-js with a status. */
function invalid(details: string): Error {
  return Object.assign(new Error(details), { code: status.INVALID_ARGUMENT, details });
}

/**
 * The stream of batches from a node of a region: joined as they come, answered when they are
 * durable.
 */
export class PushReceiver {
  readonly #call: ServerDuplexStream<Buffer, Buffer>;
  readonly #context: PushContext;
  readonly #resumed: Set<() => void>;
  #open = 0;
  #ended = false;

  /** `resumed`: what is called when there may be room again. */
  constructor(
    call: ServerDuplexStream<Buffer, Buffer>,
    context: PushContext,
    resumed: Set<() => void>,
  ) {
    this.#call = call;
    this.#context = context;
    this.#resumed = resumed;
    resumed.add(this.#resume);
    call.on("data", (bytes: Buffer) => void this.#receive(bytes));
    call.on("drain", this.#resume);
    call.on("end", () => {
      this.#ended = true;
      this.#endIfDone();
    });
    call.on("close", () => resumed.delete(this.#resume));
    // Nothing more can be sent on a stream that broke; its end is seen as "close".
    call.on("error", () => undefined);
  }

  readonly #resume = (): void => {
    const { budget } = this.#context;
    if (this.#call.isPaused() && !budget.full && this.#call.writableLength < repliesMax) {
      this.#call.resume();
    }
  };

  async #receive(bytes: Buffer): Promise<void> {
    const { budget } = this.#context;
    let request: { readonly id: number; readonly records: readonly Uint8Array[] };
    try {
      request = decodeMessage(PushRequestSchema, bytes);
      if (request.records.length > batchRecordsMax) throw new RangeError("too many records");
    } catch {
      // The batch's number is unknown, so the stream ends and all of its batches are sent again.
      this.#call.emit("error", invalid("a batch does not decode"));
      return;
    }
    budget.take(bytes.length);
    this.#open += 1;
    if (budget.full || this.#call.writableLength >= repliesMax) this.#call.pause();
    const reply = await joinBatch(this.#context, request.id, request.records);
    this.#open -= 1;
    if (!this.#call.destroyed) this.#call.write(encodeMessage(PushReplySchema, reply));
    budget.release(bytes.length);
    for (const resume of this.#resumed) resume();
    this.#endIfDone();
  }

  #endIfDone(): void {
    if (this.#ended && this.#open === 0 && !this.#call.destroyed) this.#call.end();
  }
}
