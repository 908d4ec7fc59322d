import { type ServerDuplexStream, status } from "@grpc/grpc-js";
import { PieceCollector, piecesOf } from "../pieces.ts";
import type { ByteBudget } from "../server-limits.ts";
import { InvalidRequest, statusOf } from "../status.ts";

export interface LargeContext {
  readonly budget: ByteBudget;
  /** How many are answered at once: a reply may be large before its size is known. */
  readonly turns: ByteBudget;
  readonly largeMax: number;
  readonly dispatch: (method: string, request: Buffer) => Promise<Buffer>;
  readonly unexpected: (error: unknown) => void;
}

/** Receives a request in pieces, has it answered, and sends the reply in pieces. */
export async function receiveLarge(
  call: ServerDuplexStream<Buffer, Buffer>,
  context: LargeContext,
): Promise<void> {
  const over = new AbortController();
  call.on("close", () => over.abort());
  call.on("error", () => undefined);
  let held = 0;
  let turn = 0;
  const hold = async (bytes: number): Promise<void> => {
    if (!(await context.budget.reserve(bytes, over.signal))) throw new Gone();
    held += bytes;
  };
  try {
    const { method, request } = await collect(call, context, hold);
    if (!(await context.turns.reserve(1, over.signal))) throw new Gone();
    turn = 1;
    const reply = await context.dispatch(method, request);
    if (reply.length > context.largeMax) throw new InvalidRequest("the reply is too large");
    // The request is no longer needed: two calls that each wait for room for their replies must not wait for ever.
    context.budget.release(held);
    held = 0;
    await hold(reply.length);
    for (const piece of piecesOf("", reply)) {
      if (!call.write(piece)) await drained(call, over.signal);
    }
    call.end();
  } catch (error) {
    if (!(error instanceof Gone)) end(call, statusOf(error, context.unexpected));
  } finally {
    context.budget.release(held);
    context.turns.release(turn);
  }
}

/** The caller is no longer there. */
class Gone extends Error {
  override readonly name = "Gone";
}

async function collect(
  call: ServerDuplexStream<Buffer, Buffer>,
  { largeMax }: LargeContext,
  hold: (bytes: number) => Promise<void>,
): Promise<{ readonly method: string; readonly request: Buffer }> {
  const collector = new PieceCollector(largeMax);
  for await (const piece of readable(call)) {
    const first = collector.method === undefined;
    collector.add(piece);
    if (first) await hold(collector.total);
    if (collector.complete) break;
  }
  if (!collector.complete)
    throw call.cancelled ? new Gone() : new InvalidRequest("pieces are missing");
  return { method: collector.method ?? "", request: collector.message() };
}

/** Without ending the stream when no more is read of it. */
function readable(call: ServerDuplexStream<Buffer, Buffer>): AsyncIterable<Buffer> {
  return call.iterator({ destroyOnReturn: false });
}

function drained(call: ServerDuplexStream<Buffer, Buffer>, over: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (over.aborted) reject(new Gone());
    over.addEventListener("abort", () => reject(new Gone()), { once: true });
    call.once("drain", resolve);
  });
}

function end(
  call: ServerDuplexStream<Buffer, Buffer>,
  { code, details, metadata }: ReturnType<typeof statusOf>,
): void {
  if (call.destroyed) return;
  call.emit(
    "error",
    Object.assign(new Error(details), { code: code ?? status.INTERNAL, details, metadata }),
  );
}
