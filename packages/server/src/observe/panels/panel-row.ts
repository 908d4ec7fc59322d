declare const made: unique symbol;

/** PromQL that the functions of `promql.ts` made, so that it names only metrics that exist. */
export type PromQl = string & { readonly [made]: true };

/**
 * What a value is of; `share` is 0 to 1, `yes` is 1 or 0, `days` and `seconds` are spans of time, `none` is not shown:
 * the labels say it all.
 */
export type Unit =
  | "count"
  | "perSecond"
  | "seconds"
  | "days"
  | "bytes"
  | "bytesPerSecond"
  | "share"
  | "yes"
  | "none";

/** How a value looks: good is green, and every panel says in words what is bad. */
export type Level = "good" | "warn" | "bad";

/** One expression, and how its series are called: text with `{{label}}` in it. */
export interface Query {
  readonly expr: PromQl;
  readonly legend: string;
}

/** A panel of a dashboard. */
export interface Panel {
  readonly title: string;
  /** One sentence for somebody who was woken up: what it is, and what is bad. */
  readonly says: string;
  readonly unit: Unit;
  readonly kind: "time" | "stat" | "table";
  /** Of 24 columns. */
  readonly width: 4 | 6 | 8 | 12 | 24;
  readonly queries: readonly Query[];
  /** From which value on which level holds; the first has none, it holds below all others. */
  readonly levels?: readonly [readonly [Level], ...(readonly [Level, from: number])[]];
  /** Of a table: the labels that are columns, before the value. */
  readonly columns?: readonly string[];
  /** Why it may be empty while all is well; it says so instead of "no data". */
  readonly quiet?: string;
}

/** Panels under one heading. */
export interface PanelGroup {
  readonly title: string;
  readonly panels: readonly Panel[];
}

/** What a reader chooses in a dashboard. */
export type Variable = "region" | "node" | "kmip_instance";

/** A page of panels. */
export interface Dashboard {
  /** In addresses and file names. */
  readonly id: string;
  readonly title: string;
  readonly says: string;
  readonly variables: readonly Variable[];
  readonly groups: readonly PanelGroup[];
}

/** Anything is bad. */
export const noneIsGood = [["good"], ["bad", 1]] as const;

/** Anything is worth a look. */
export const noneIsUsual = [["good"], ["warn", 1]] as const;

/** 1 is good. */
export const yesIsGood = [["bad"], ["good", 1]] as const;
