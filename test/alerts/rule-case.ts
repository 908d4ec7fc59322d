/** One alert as promtool tries it: what Prometheus has scraped, and what must follow from it. */
export interface RuleCase {
  readonly alert: string;
  /** What is special about it, where an alert is tried in several ways. */
  readonly name?: string;
  /** Series → values in promtool's notation, one every 15 s. */
  readonly input: Readonly<Record<string, string>>;
  /** When the condition becomes true, in seconds. */
  readonly trueAt: number;
  /** For how many seconds it must then be true until the alert fires: what the file promises. */
  readonly after: number;
  /** All labels but `alertname`. */
  readonly labels: Readonly<Record<string, string>>;
  readonly summary: string;
}

/** How long all is well at first. */
export const beforeS = 300;
/** The first scrape after `beforeS`. */
export const faultS = beforeS + 15;

/** Labels of severity. */
export const warning = { severity: "warning" };
export const critical = { severity: "critical" };
/** Labels of node a1. */
export const target = { job: "holdfast", instance: "a1", region: "a" };

/** Well for 300 s, and something else from then on. */
export function turns(well: string | number, ill: string | number): string {
  return `${well}x20 ${ill}x200`;
}

/** A series of node a1. */
export function of(name: string, labels: Readonly<Record<string, string>> = {}): string {
  const all = Object.entries({ ...target, ...labels });
  return `${name}{${all.map(([label, value]) => `${label}="${value}"`).join(",")}}`;
}

/** The buckets of a histogram whose observations are quick first and slow, between `under` and `le`, later. */
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
