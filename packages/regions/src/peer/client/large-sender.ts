import type { ClientDuplexStream } from "@grpc/grpc-js";
import { PieceCollector, piecesOf } from "../pieces.ts";
import { type ByteBudget, serverLimits } from "../server-limits.ts";
import { CallFailed } from "../status.ts";

/** Sends a request in pieces and puts the reply together; rejects with the call's error. */
export async function sendLarge(
  call: ClientDuplexStream<Buffer, Buffer>,
  method: string,
  request: Buffer,
  budget: ByteBudget,
  heard: () => void,
): Promise<Buffer> {
  const over = new AbortController();
  let failure: Error | undefined;
  call.on("error", (error) => {
    failure = error;
    over.abort();
  });
  call.on("close", () => over.abort());
  call.on("drain", heard);
  try {
    await send(call, method, request, over.signal);
    return await receive(call, budget, heard, over.signal);
  } catch (error) {
    call.cancel();
    // The call's own error says more than that a piece could not be sent.
    throw failure ?? error;
  }
}

async function send(
  call: ClientDuplexStream<Buffer, Buffer>,
  method: string,
  request: Buffer,
  over: AbortSignal,
): Promise<void> {
  for (const piece of piecesOf(method, request)) {
    if (over.aborted) throw unknown("the stream ended");
    if (!call.write(piece)) await drained(call, over);
  }
  call.end();
}

async function receive(
  call: ClientDuplexStream<Buffer, Buffer>,
  budget: ByteBudget,
  heard: () => void,
  over: AbortSignal,
): Promise<Buffer> {
  const collector = new PieceCollector(serverLimits.largeMax);
  let held = 0;
  try {
    for await (const piece of call) {
      const first = collector.method === undefined;
      collector.add(piece);
      heard();
      if (!first) continue;
      if (!(await budget.reserve(collector.total, over))) throw unknown("the stream ended");
      held = collector.total;
    }
    if (!collector.complete) throw unknown("the stream ended");
    return collector.message();
  } finally {
    budget.release(held);
  }
}

function unknown(reason: string): CallFailed {
  return new CallFailed({ kind: "unknown", reason });
}

function drained(call: ClientDuplexStream<Buffer, Buffer>, over: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    over.addEventListener("abort", () => resolve(), { once: true });
    call.once("drain", resolve);
  });
}
