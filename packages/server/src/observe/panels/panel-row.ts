declare const made: unique symbol;

/** PromQL made by the functions of `promql.ts`, so that it names only existing metrics. */
export type PromQl = string & { readonly [made]: true };

/**
 * The unit of a value: `share` is 0 to 1, `yes` is 1 or 0, `days` and `seconds` are durations. A value with the unit
 * `none` is not shown, because its labels contain all the information.
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

/** The colour of a value: good is green, and the text of every panel says what is bad. */
export type Level = "good" | "warn" | "bad";

/** One expression, and the name of its series: text that may contain `{{label}}`. */
export interface Query {
  readonly expr: PromQl;
  readonly legend: string;
}

/** A panel of a dashboard. */
export interface Panel {
  readonly title: string;
  /** One sentence for the person on call: what the panel shows, and what is bad. */
  readonly says: string;
  readonly unit: Unit;
  readonly kind: "time" | "stat" | "table";
  /** In columns, of 24. */
  readonly width: 4 | 6 | 8 | 12 | 24;
  readonly queries: readonly Query[];
  /** Levels, each with the value from which it applies; the first has no value, and applies below all others. */
  readonly levels?: readonly [readonly [Level], ...(readonly [Level, from: number])[]];
  /** For a table: the labels shown as columns, before the value. */
  readonly columns?: readonly string[];
  /** Why the panel may be empty while all is well; shown instead of "no data". */
  readonly quiet?: string;
}

/** Panels under one heading. */
export interface PanelGroup {
  readonly title: string;
  readonly panels: readonly Panel[];
}

/** What a reader can choose in a dashboard. */
export type Variable = "region" | "node" | "kmip_instance";

/** A page of panels. */
export interface Dashboard {
  /** Used in URLs and file names. */
  readonly id: string;
  readonly title: string;
  readonly says: string;
  readonly variables: readonly Variable[];
  readonly groups: readonly PanelGroup[];
}

/** Any value above 0 is bad. */
export const noneIsGood = [["good"], ["bad", 1]] as const;

/** Any value above 0 is worth a check. */
export const noneIsUsual = [["good"], ["warn", 1]] as const;

/** 1 is good. */
export const yesIsGood = [["bad"], ["good", 1]] as const;
