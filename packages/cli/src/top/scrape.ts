import type { CounterName, GaugeName, HistogramName } from "@holdfast/server";

/** The content of a node's `/metrics`, and when it was read, in ms of a monotonic clock. */
export interface Scrape {
  readonly atMs: number;
  readonly samples: readonly Sample[];
}

interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

type Where = Readonly<Record<string, string | readonly string[]>>;

const line = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/;
const label = /(\w+)="((?:[^"\\]|\\.)*)"/g;
const escapes: Readonly<Record<string, string>> = { "\\n": "\n", '\\"': '"', "\\\\": "\\" };

/** Reads Prometheus's text format; skips lines that are not valid. */
export function readScrape(text: string, atMs: number): Scrape {
  const samples = text.split("\n").flatMap((one) => {
    const [, name, inner = "", value] = line.exec(one) ?? [];
    if (
      name === undefined ||
      (!name.startsWith("holdfast_") &&
        !name.startsWith("process_") &&
        !name.startsWith("nodejs_eventloop"))
    )
      return [];
    const labels = [...inner.matchAll(label)].map(
      ([, key = "", raw = ""]) =>
        [key, raw.replace(/\\[n"\\]/g, (at) => escapes[at] ?? at)] as const,
    );
    return [{ name, labels: Object.fromEntries(labels), value: Number(value) }];
  });
  return { atMs, samples };
}

function matching(scrape: Scrape, name: string, where: Where): readonly Sample[] {
  return scrape.samples.filter(
    (one) =>
      one.name === name &&
      Object.entries(where).every(([key, wanted]) =>
        [wanted].flat().includes(one.labels[key] ?? ""),
      ),
  );
}

/** A gauge's values with their labels. */
export function gauges(scrape: Scrape, name: GaugeName, where: Where = {}): readonly Sample[] {
  return matching(scrape, name, where);
}

/** A gauge's only value; undefined if the gauge is missing. */
export function gauge(scrape: Scrape, name: GaugeName, where: Where = {}): number | undefined {
  return matching(scrape, name, where)[0]?.value;
}

/** How much a counter rises per second between two scrapes; 0 if the process restarted since. */
export function rate(
  [before, now]: readonly [Scrape, Scrape],
  name: CounterName | `${HistogramName}_count`,
  where: Where = {},
): number {
  const sum = (scrape: Scrape) =>
    matching(scrape, name, where).reduce((total, { value }) => total + value, 0);
  const seconds = (now.atMs - before.atMs) / 1000;
  return seconds > 0 ? Math.max(0, sum(now) - sum(before)) / seconds : 0;
}

/** The upper bound of the bucket that holds a quantile of all observations between the scrapes. */
export function quantile(
  share: number,
  pairs: readonly (readonly [Scrape, Scrape])[],
  name: HistogramName,
  where: Where = {},
): number | undefined {
  const counts = new Map<number, number>();
  for (const [sign, scrape] of pairs.flatMap(
    ([before, now]) =>
      [
        [-1, before],
        [1, now],
      ] as const,
  )) {
    for (const { labels, value } of matching(scrape, `${name}_bucket`, where)) {
      const le = labels["le"] === "+Inf" ? Number.POSITIVE_INFINITY : Number(labels["le"]);
      counts.set(le, (counts.get(le) ?? 0) + sign * value);
    }
  }
  const total = counts.get(Number.POSITIVE_INFINITY) ?? 0;
  if (total <= 0) return undefined;
  const buckets = [...counts].toSorted(([one], [other]) => one - other);
  return buckets.find(([, count]) => count >= share * total)?.[0];
}
