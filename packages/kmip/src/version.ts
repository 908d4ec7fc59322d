/** The protocol versions that Holdfast speaks, oldest first. */
export const versions = ["1.0", "1.1", "1.2", "1.3", "1.4", "2.0", "2.1"] as const;
export type Version = (typeof versions)[number];

const ordinals: Readonly<Record<Version, number>> = {
  "1.0": 0,
  "1.1": 1,
  "1.2": 2,
  "1.3": 3,
  "1.4": 4,
  "2.0": 5,
  "2.1": 6,
};

/** Position of a version among `versions`. */
export function ordinal(version: Version): number {
  return ordinals[version];
}

/** True when `version` is `since` or newer, and not newer than `until`. */
export function within(version: Version, since?: Version, until?: Version): boolean {
  const at = ordinals[version];
  return (
    (since === undefined || at >= ordinals[since]) && (until === undefined || at <= ordinals[until])
  );
}

/** True for 1.x, where attributes travel by name in Template-Attributes. */
export function isVersion1(version: Version): boolean {
  return ordinals[version] < ordinals["2.0"];
}
