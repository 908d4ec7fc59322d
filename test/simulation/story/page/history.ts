/** A message from one place to another. */
export interface PageArrow {
  readonly from: string;
  readonly to: string;
  readonly lost: boolean;
}

/** One event in words, with the places that look different after it. */
export interface PageStep {
  readonly atMs: number;
  readonly who: string;
  readonly what: string;
  readonly why: string;
  /** False for a detail, which is listed only on request. */
  readonly main: boolean;
  readonly tone: "client" | "system" | "fault" | "repair" | "broken";
  readonly places: readonly string[];
  readonly arrows: readonly PageArrow[];
  readonly changed: Readonly<Record<string, string>>;
  /** Name of the key that it is about. */
  readonly key?: string | undefined;
  readonly acknowledged?: "shared" | "alone" | undefined;
  readonly breaks?: string | undefined;
}

/** A promise with the labels of its counter. */
interface PagePromise {
  readonly id: string;
  readonly counted: string;
  readonly short: string;
}

/** Everything that the page plays. */
export interface PageHistory {
  readonly title: string;
  readonly promises: readonly PagePromise[];
  readonly steps: readonly PageStep[];
}

/** The state of all places after a step, and the counts up to it. */
export interface Scene {
  readonly looks: ReadonlyMap<string, string>;
  readonly shared: number;
  readonly alone: number;
  /** Promise → how often it was broken. */
  readonly broken: ReadonlyMap<string, number>;
}

/** The scene after each step. */
export function scenesOf({ steps }: PageHistory): readonly Scene[] {
  const looks = new Map<string, string>();
  const broken = new Map<string, number>();
  let shared = 0;
  let alone = 0;
  return steps.map(({ changed, acknowledged, breaks }) => {
    for (const [place, look] of Object.entries(changed)) looks.set(place, look);
    if (acknowledged === "shared") shared += 1;
    if (acknowledged === "alone") alone += 1;
    if (breaks !== undefined) broken.set(breaks, (broken.get(breaks) ?? 0) + 1);
    return { looks: new Map(looks), shared, alone, broken: new Map(broken) };
  });
}
