/** The protocol versions that Holdfast supports, oldest first. */
export const versions = ["1.0", "1.1", "1.2", "1.3", "1.4", "2.0", "2.1"] as const;
export type Version = (typeof versions)[number];

/**
 * Behaves like a version that has every row, whatever its `since` and `until` are: for values at
 * rest, which any version may have set. It is not one of `versions` and never appears on the wire.
 */
export const atRest = "at rest" as Version;

const ordinals: Readonly<Record<Version | "at rest", number>> = {
  "1.0": 0,
  "1.1": 1,
  "1.2": 2,
  "1.3": 3,
  "1.4": 4,
  "2.0": 5,
  "2.1": 6,
  "at rest": 7,
};

/** Position of a version among `versions`. */
export function ordinal(version: Version): number {
  return ordinals[version];
}

/** True when `version` is `since` or newer, and not newer than `until`. */
export function within(version: Version, since?: Version, until?: Version): boolean {
  const at = ordinals[version];
  if (version === atRest) return true;
  return (
    (since === undefined || at >= ordinals[since]) && (until === undefined || at <= ordinals[until])
  );
}

/** True for 1.x, which sends attributes by name in Template-Attributes. */
export function isVersion1(version: Version): boolean {
  return ordinals[version] < ordinals["2.0"];
}
