import { createParser, type EventSourceMessage } from "eventsource-parser";
import { AdminProblem } from "./errors.ts";

/** Options for following a stream of events. */
export interface FollowOptions {
  /** Opens a connection; rejects if the service refuses or no node answers. */
  readonly connect: (
    headers: Readonly<Record<string, string>>,
  ) => Promise<AsyncIterable<Uint8Array>>;
  readonly signal: AbortSignal;
}

type Event = Readonly<Record<string, unknown>>;

const retryUsualMs = 1000;
const retryMaxMs = 30_000;
const eventBytesMax = 1 << 20;

/**
 * Follows Server-Sent Events (WHATWG HTML, 9.2), and reconnects if a connection ends. It ends at
 * a refusal that a retry cannot change, and at any failure of the first connection.
 */
export async function* follow({ connect, signal }: FollowOptions): AsyncGenerator<Event> {
  const place: Place = { last: undefined, retryMs: retryUsualMs, failures: 0 };
  for (let first = true; !signal.aborted; first = false) {
    try {
      yield* once(await connect(headersOf(place)), place);
    } catch (error) {
      if (signal.aborted) return;
      if (first || (error instanceof AdminProblem && !passes(error))) throw error;
    }
    const waitMs = Math.min(place.retryMs * 2 ** Math.min(place.failures, 5), retryMaxMs);
    place.failures += 1;
    await pause(waitMs, signal);
  }
}

/** Waits, or until `signal` is aborted; a browser can do it too. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end);
    if (signal.aborted) end();
  });
}

/** The position in a followed stream, and the state of its retries. */
interface Place {
  last: string | undefined;
  retryMs: number;
  failures: number;
}

function headersOf({ last }: Place): Readonly<Record<string, string>> {
  const accept = "text/event-stream";
  return last === undefined ? { accept } : { accept, "last-event-id": last };
}

/** The events of one connection. */
async function* once(chunks: AsyncIterable<Uint8Array>, place: Place): AsyncGenerator<Event> {
  const onRetry = (ms: number) => {
    place.retryMs = Math.min(ms, retryMaxMs);
  };
  for await (const { id, data } of parse(chunks, onRetry)) {
    place.failures = 0;
    if (id !== undefined && id !== "") place.last = id;
    yield JSON.parse(data) as Event;
  }
}

/** Whether another try may succeed. */
function passes({ status }: AdminProblem): boolean {
  return status === 429 || status >= 500;
}

async function* parse(
  chunks: AsyncIterable<Uint8Array>,
  onRetry: (ms: number) => void,
): AsyncGenerator<EventSourceMessage> {
  const ready: EventSourceMessage[] = [];
  const parser = createParser({ onEvent: (event) => ready.push(event), onRetry });
  const decoder = new TextDecoder();
  let unfinished = 0;
  for await (const chunk of chunks) {
    unfinished += chunk.length;
    if (unfinished > eventBytesMax) throw new RangeError("an event is too large");
    parser.feed(decoder.decode(chunk, { stream: true }));
    if (ready.length > 0) unfinished = 0;
    yield* ready.splice(0);
  }
}
