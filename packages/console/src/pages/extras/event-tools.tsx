import { AdminProblem } from "@holdfast/admin/errors";
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { call } from "../../base/api.ts";
import { save } from "../../parts/copy.tsx";
import { Failure, Notice } from "../../parts/notices.tsx";

/** A browser holds the whole file in memory until it is saved. */
const exportMax = 50_000;
const pageSize = 500;

/** Saves the events that fit the filters as a file: one event in JSON on each line, as the service gives them. */
export function Export({ query }: { query: Readonly<Record<string, string>> }) {
  const read = useSignal(0);
  const ending = useSignal<AbortController | undefined>(undefined);
  const said = useSignal("");
  const error = useSignal<unknown>(undefined);
  const at = JSON.stringify(query);
  // A page that is left saves nothing.
  useEffect(() => () => ending.peek()?.abort(), [at]);
  const run = async () => {
    const own = new AbortController();
    ending.value = own;
    [read.value, said.value, error.value] = [0, "", undefined];
    try {
      const { lines, isWhole, missing } = await linesOf(query, own.signal, (count) => {
        read.value = count;
      });
      save(lines, "holdfast-events.ndjson");
      const bound = isWhole ? "" : " These are the newest: there are more. Narrow the filters.";
      said.value = `${lines.length.toLocaleString("en")} events saved.${bound}${missing}`;
    } catch (reason) {
      if (own.signal.aborted) said.value = "Nothing was saved.";
      else error.value = reason;
    } finally {
      ending.value = undefined;
    }
  };
  return (
    <section aria-label="Export" class="toolbar">
      {ending.value === undefined ? (
        <button type="button" class="btn btn-sm" onClick={() => void run()}>
          Export what fits the filters
        </button>
      ) : (
        <>
          <progress value={read.value} max={exportMax} aria-label="Events read" />
          <span>{read.value.toLocaleString("en")} events read</span>
          <button type="button" class="btn btn-sm" onClick={() => ending.value?.abort()}>
            Stop
          </button>
        </>
      )}
      {said.value === "" ? null : <Notice tone="info">{said.value}</Notice>}
      {error.value === undefined ? null : <Failure error={error.value} again={() => void run()} />}
    </section>
  );
}

/** Reads page after page, at most `exportMax` events, the newest first. */
async function linesOf(
  query: Readonly<Record<string, string>>,
  signal: AbortSignal,
  progress: (count: number) => void,
) {
  const lines: string[] = [];
  const missing = new Set<string>();
  let cursor: string | undefined;
  do {
    const page = await patiently(signal, () =>
      call("listEvents", { query: { ...query, limit: pageSize, cursor } as never }, { signal }),
    );
    for (const event of page.items) lines.push(`${JSON.stringify(event)}\n`);
    for (const { region, reason } of page.missing ?? []) {
      missing.add(` The events of region ${region} are missing: ${reason}.`);
    }
    ({ next: cursor } = page);
    progress(lines.length);
  } while (cursor !== undefined && lines.length < exportMax && !signal.aborted);
  signal.throwIfAborted();
  return { lines, isWhole: cursor === undefined, missing: [...missing].join("") };
}

/** Waits as long as the service says, where it was asked too often. */
async function patiently<Answer>(signal: AbortSignal, ask: () => Promise<Answer>): Promise<Answer> {
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      const seconds = error instanceof AdminProblem ? error.retryAfterSeconds : undefined;
      if (seconds === undefined || signal.aborted) throw error;
      await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    }
  }
}
