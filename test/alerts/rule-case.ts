/** One test of an alert with promtool: the scraped series, and the alert that must follow. */
export interface RuleCase {
  readonly alert: string;
  /** What is special about this case, if an alert has several. */
  readonly name?: string;
  /** Series → values in promtool's notation, one every 15 s. */
  readonly input: Readonly<Record<string, string>>;
  /** When the condition becomes true, in seconds. */
  readonly trueAt: number;
  /** For how many seconds it must then hold until the alert fires, as the rule file promises. */
  readonly after: number;
  /** A later time, in seconds, at which it must still fire. */
  readonly stillAt?: number;
  /** All labels but `alertname`. */
  readonly labels: Readonly<Record<string, string>>;
  readonly summary: string;
}

/** How many seconds all is healthy at first. */
export const beforeS = 300;
/** The first scrape after `beforeS`. */
export const faultS = beforeS + 15;

/** Severity labels. */
export const warning = { severity: "warning" };
export const critical = { severity: "critical" };
/** Labels of node a1. */
export const target = { job: "holdfast", instance: "a1", region: "a" };

/** Healthy for 300 s, and another value from then on. */
export function turns(well: string | number, ill: string | number): string {
  return `${well}x20 ${ill}x200`;
}

/** As `turns`, but two scrapes fail, the later one at `missingS`. */
export function missing(well: string | number, ill: string | number): string {
  return `${well}x20 ${ill}x9 stale stale ${ill}x190`;
}
export const missingS = faultS + 11 * 15;

/** A series of node a1. */
export function of(name: string, labels: Readonly<Record<string, string>> = {}): string {
  const all = Object.entries({ ...target, ...labels });
  return `${name}{${all.map(([label, value]) => `${label}="${value}"`).join(",")}}`;
}

/** A histogram's buckets: observations are first fast, later slow (between `under` and `le`). */
export function slows(
  name: string,
  labels: Readonly<Record<string, string>>,
  [under, le]: readonly [under: string, le: string],
): Readonly<Record<string, string>> {
  return {
    [of(`${name}_bucket`, { ...labels, le: under })]: "0+10x20 200x200",
    [of(`${name}_bucket`, { ...labels, le })]: "0+10x220",
    [of(`${name}_bucket`, { ...labels, le: "+Inf" })]: "0+10x220",
  };
}

/** A counter that rises once. */
export const counted = "0x20 1x200";
/** A gauge that is 1 all the time. */
export const known = turns(1, 1);
