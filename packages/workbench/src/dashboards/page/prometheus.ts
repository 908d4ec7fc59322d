import type { Panel } from "@holdfast/server/panels";
import { named } from "./words.ts";

/** One series of a panel over time; a gap has no value. */
export interface Line {
  readonly name: string;
  readonly values: readonly (number | null)[];
}

/** Lines at common times, in seconds since the epoch. */
export interface Lines {
  readonly times: readonly number[];
  readonly lines: readonly Line[];
}

/** One series of a panel now. */
export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

type Labels = Readonly<Record<string, string>>;

interface Matrix {
  readonly result: readonly {
    readonly metric: Labels;
    readonly values: readonly (readonly [at: number, value: string])[];
  }[];
}

interface Vector {
  readonly result: readonly {
    readonly metric: Labels;
    readonly value: readonly [number, string];
  }[];
}

/** Values for `$name`, the variables of a dashboard, as regular expressions. */
export type Choices = Readonly<Record<string, string>>;

/** Scrapes are two seconds apart here, and a rate needs several. */
const rateSecondsMin = 15;
const points = 240;

async function ask<Data>(path: string, values: Readonly<Record<string, string>>): Promise<Data> {
  const answer = await fetch(`/api/v1/${path}?${new URLSearchParams(values)}`);
  const body = (await answer.json()) as { status: string; data: Data; error?: string };
  if (body.status !== "success") throw new Error(body.error ?? `HTTP ${answer.status}`);
  return body.data;
}

function filled(expression: string, choices: Choices, rateSeconds: number): string {
  return expression
    .replaceAll("$__rate_interval", `${rateSeconds}s`)
    .replaceAll(/\$(\w+)/g, (all, name: string) => {
      const value = choices[name];
      return value === undefined ? all : value.replaceAll("\\", "\\\\");
    });
}

/** A panel's lines over the last seconds. */
export async function linesOf(
  { queries }: Panel,
  choices: Choices,
  seconds: number,
): Promise<Lines> {
  const step = Math.max(2, Math.ceil(seconds / points));
  const end = Math.floor(Date.now() / 1000 / step) * step;
  const start = end - Math.floor(seconds / step) * step;
  const answers = await Promise.all(
    queries.map(async ({ expr, legend }) => {
      const query = filled(expr, choices, Math.max(rateSecondsMin, step));
      const data = await ask<Matrix>("query_range", {
        query,
        start: String(start),
        end: String(end),
        step: String(step),
      });
      return data.result.map(({ metric, values }) => ({ name: named(legend, metric), values }));
    }),
  );
  const times = Array.from({ length: (end - start) / step + 1 }, (_, at) => start + at * step);
  const lines = answers
    .flat()
    .map(({ name, values }) => {
      const at = new Map(values.map(([time, value]) => [time, Number(value)]));
      return { name, values: times.map((time) => finite(at.get(time))) };
    })
    .filter(({ values }) => values.some((value) => value !== null));
  return { times, lines };
}

function finite(value: number | undefined): number | null {
  return value !== undefined && Number.isFinite(value) ? value : null;
}

/** A panel's values now. */
export async function samplesOf({ queries }: Panel, choices: Choices): Promise<readonly Sample[]> {
  const answers = await Promise.all(
    queries.map(async ({ expr, legend }) => {
      const data = await ask<Vector>("query", { query: filled(expr, choices, rateSecondsMin) });
      return data.result.map(({ metric, value: [, text] }) => ({
        name: named(legend, metric),
        labels: metric,
        value: Number(text),
      }));
    }),
  );
  return answers.flat().filter(({ value }) => Number.isFinite(value));
}

/** The values that a label has. */
export async function valuesOf(metric: string, label: string): Promise<readonly string[]> {
  const data = await ask<Vector>("query", { query: `count by (${label}) (${metric})` });
  return data.result.flatMap(({ metric: labels }) => labels[label] ?? []).toSorted();
}
