/** Names that mean little to a person, in words. */
const inWords: Readonly<Record<string, string>> = {
  id: "ID",
  csr: "Certificate signing request",
  pem: "Certificate",
  kek: "Key-encryption key",
  keks: "Key-encryption keys",
  apiKey: "API key",
  sha1: "SHA-1",
  sha256: "SHA-256",
  mend: "What to do",
  told: "Reported",
  inUse: "Identifiers in use",
};

/** `createdAfter` as `Created after`. */
export function words(name: string): string {
  const known = inWords[name];
  if (known !== undefined) return known;
  const spaced = name.replaceAll(/([a-z\d])([A-Z])/g, (_, end: string, start: string) =>
    [end, start.toLowerCase()].join(" "),
  );
  return spaced.charAt(0).toUpperCase() + spaced.slice(1);
}

/** The heading of a column: `CREATED-BY` as `Created by`. */
export function headingText(heading: string): string {
  const lower = heading.toLowerCase();
  return inWords[lower] ?? words(lower.replaceAll("-", " "));
}

/** How long ago a time is, or how far ahead, in the largest unit. */
export function ageText(time: string, nowMs: number): string {
  const seconds = Math.round((nowMs - Date.parse(time)) / 1000);
  if (Number.isNaN(seconds)) return "";
  const size = Math.abs(seconds);
  const [unit, name] = units.find(([each]) => size >= each) ?? [1, "second"];
  const count = Math.floor(size / unit);
  const text = `${count} ${name}${count === 1 ? "" : "s"}`;
  return seconds >= 0 ? `${text} ago` : `in ${text}`;
}

const units: readonly (readonly [number, string])[] = [
  [86_400, "day"],
  [3600, "hour"],
  [60, "minute"],
  [1, "second"],
];

/** Whether a text is a point in time of the API. */
export function isTime(value: unknown): value is string {
  return typeof value === "string" && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/.test(value);
}

/** A point in time, to the second: `2026-11-25 20:12:09 UTC`. */
export function timeText(time: string): string {
  return time.replace(/^(\S{10})T(\d\d:\d\d:\d\d).*$/, "$1 $2 UTC");
}

/** A value on one line: regions and counts as `a: applied, b: pending`. */
export function valueText(value: unknown): string {
  if (value === undefined || value === null) return "";
  if (isTime(value)) return timeText(value);
  if (Array.isArray(value)) return value.map(valueText).join(", ");
  if (typeof value !== "object") return value === "PreActive" ? "Pre-Active" : String(value);
  return Object.entries(value)
    .map(([name, each]) => `${name === "PreActive" ? "Pre-Active" : name}: ${statusText(each)}`)
    .join(", ");
}

function statusText(value: unknown): string {
  const { status, state } = (value ?? {}) as Readonly<Record<string, unknown>>;
  return valueText(status ?? state ?? value);
}

/** The value at a path such as `target.name` in an item. */
export function valueAt(item: unknown, path: string): unknown {
  return path
    .split(".")
    .reduce<unknown>(
      (value, step) => (value as Readonly<Record<string, unknown>> | null | undefined)?.[step],
      item,
    );
}

/** The common name in a subject such as `CN=vcenter, O=Example`, as a name that the service takes. */
export function commonNameOf(subject: string): string {
  const [, text = ""] = /(?:^|[,\n])\s*CN\s*=\s*((?:\\.|[^,\n])*)/i.exec(subject) ?? [];
  const plain = text.replaceAll(/\\(.)/g, "$1");
  const name = plain.replaceAll(/[^A-Za-z0-9 ._-]+/g, "-").slice(0, 64);
  return name.replaceAll(/^[^A-Za-z0-9]+|[^A-Za-z0-9]+$/g, "") || "vcenter";
}

/** A fingerprint as vCenter shows it: in capitals, with colons. */
export function withColons(hex: string): string {
  return hex.toUpperCase().replaceAll(/(..)(?=.)/g, "$1:");
}

/** A value in the format of its column; `colons` is for fingerprints. */
export function formatted(value: unknown, format: string | undefined): unknown {
  return format === "colons" && typeof value === "string" ? withColons(value) : value;
}

/**
 * Names and values of a text with `name=value` on each line. A line of another form is a name without a value, which the service
 * judges; of two lines with one name the last counts.
 */
export function pairsIn(text: string): Readonly<Record<string, string>> {
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  return Object.fromEntries(
    lines.map((line) => {
      const [name = "", ...value] = line.split("=");
      return [name.trim(), value.join("=").trim()] as const;
    }),
  );
}
