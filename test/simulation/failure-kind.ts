/** Parts of a violation's message that differ between histories, each with its replacement. */
const details: readonly (readonly [RegExp, string])[] = [
  [/ \{.*\}/g, ""],
  [/(?<=no order explains).*/g, ""],
  [/: \w+ \w* at \w+ \(store .*/g, ""],
  [/ acknowledged (shared|alone in [ab+]+) at \d+ ms,/g, ""],
  [/\bn\d+(,n\d+)*\b/g, "text"],
  [/\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b[0-9a-f]{8}\b/g, "id"],
  [/\b[ab](\d|:[\w-]+)?\b/g, "place"],
  [/\d+/g, "0"],
];

/** The kind of a failure: the violation's message without keys, places and times. */
export function failureKind(message: string): string {
  return details.reduce((text, [detail, by]) => text.replaceAll(detail, by), message);
}
