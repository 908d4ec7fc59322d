import { once } from "node:events";
import type { ServerResponse } from "node:http";
import type { z } from "zod";

/** How a stream of events is sent. */
export interface StreamOptions {
  readonly response: ServerResponse;
  readonly headers: Readonly<Record<string, string>>;
  readonly events: AsyncIterable<unknown>;
  readonly answer: z.ZodType;
  /** Aborted to end the stream: the caller is gone, or the node drains. */
  readonly ending: AbortController;
  /** Called every second; false ends the stream. */
  readonly stillAdmitted: () => Promise<boolean>;
  /** A reader that takes nothing for this long is cut off, so that it holds no memory. */
  readonly stalledMs: number;
}

const heartbeatMs = 15_000;
const admittedEveryMs = 1000;
const retryMs = 2000;

/** Sends Server-Sent Events (WHATWG HTML, 9.2) until they end or the caller leaves. */
export async function sendEvents(options: StreamOptions): Promise<void> {
  const { response, ending } = options;
  response.writeHead(200, {
    ...options.headers,
    "content-type": "text/event-stream; charset=utf-8",
    "x-accel-buffering": "no",
  });
  response.socket?.setNoDelay(true);
  const heartbeat = setInterval(() => {
    if (!response.writableNeedDrain) response.write(":\n\n");
  }, heartbeatMs);
  const watch = setInterval(() => {
    void options.stillAdmitted().then(
      (admitted) => admitted || ending.abort(),
      () => ending.abort(),
    );
  }, admittedEveryMs);
  try {
    response.write(`retry: ${retryMs}\n\n`);
    await pump(options);
  } catch {
    // The caller is gone, or the events failed: then it reconnects and gets the error.
  } finally {
    clearInterval(heartbeat);
    clearInterval(watch);
    ending.abort();
    response.end();
  }
}

async function pump(options: StreamOptions): Promise<void> {
  const { response, events, answer, ending } = options;
  const iterator = events[Symbol.asyncIterator]();
  try {
    while (!ending.signal.aborted) {
      const next = await nextOf(iterator, ending.signal);
      if (next === undefined || next.done === true) return;
      const checked = answer.safeParse(next.value);
      if (!checked.success) continue;
      if (!response.write(printEvent(checked.data))) await drained(options);
    }
  } finally {
    // Not awaited: an iterator that waits for an event ends only when there is one.
    void Promise.resolve(iterator.return?.()).catch(() => undefined);
  }
}

/**
 * The next event; undefined once the stream ends. A race with one promise for the whole stream would hold each event until
 * then.
 */
async function nextOf(
  iterator: AsyncIterator<unknown>,
  signal: AbortSignal,
): Promise<IteratorResult<unknown> | undefined> {
  let end = (): void => undefined;
  try {
    return await new Promise((resolve, reject) => {
      end = () => resolve(undefined);
      signal.addEventListener("abort", end, { once: true });
      iterator.next().then(resolve, reject);
    });
  } finally {
    signal.removeEventListener("abort", end);
  }
}

async function drained({ response, ending, stalledMs }: StreamOptions): Promise<void> {
  const signal = AbortSignal.any([ending.signal, AbortSignal.timeout(stalledMs)]);
  try {
    await once(response, "drain", { signal });
  } catch (error) {
    response.destroy();
    throw error;
  }
}

/** One event; JSON has no line feeds of its own, so that one `data` line is enough. */
function printEvent(event: unknown): string {
  const { id } = event as { readonly id?: unknown };
  const named = typeof id === "string" && /^[\x21-\x7e]{1,256}$/.test(id) ? `id: ${id}\n` : "";
  return `${named}data: ${JSON.stringify(event)}\n\n`;
}
