import { createHash } from "node:crypto";

/** The part of the product that a fault is planted in. */
export const faultKinds = ["protocol", "script", "engine", "duty", "deletion", "access"] as const;
export type FaultKind = (typeof faultKinds)[number];

/** One fault: a single edit of the source that breaks a rule and still compiles. */
export interface PlantedFault {
  readonly name: string;
  readonly kind: FaultKind;
  readonly file: string;
  /** Occurs exactly once in the file. */
  readonly find: string;
  readonly replace: string;
  /** What no longer holds. */
  readonly rule: string;
  /** The promises of docs/guarantees.md that it breaks, by the words that they begin with. */
  readonly promises?: readonly string[];
  /** Test files that should find it, the cheapest first. */
  readonly tests: readonly string[];
  /** Whether the simulator should find it; by default only faults of the protocol and of scripts. */
  readonly simulated?: boolean;
  /** Why histories do not show it, although its code runs there: another rule still keeps each promise to clients. */
  readonly unseen?: string;
  /** What (`--focus`) all histories of the simulator alone have, where by chance too few have it. */
  readonly focus?: string;
  /** How long chaos should take to find it; it is not run unless given. */
  readonly chaosMinutes?: number;
}

/** Whether the simulator should find a fault. */
export function isSimulated({ kind, simulated, unseen }: PlantedFault): boolean {
  return simulated ?? (unseen === undefined && (kind === "protocol" || kind === "script"));
}

/** Changes with the edit: results of another edit under the same name do not count. */
export function fingerprintOf({ file, find, replace }: PlantedFault): string {
  const edit = [file, find, replace].join("\0");
  return createHash("sha256").update(edit).digest("hex").slice(0, 12);
}

/** The source with the fault in it; throws if its place is missing or there are several. */
export function planted(source: string, { name, file, find, replace }: PlantedFault): string {
  const places = source.split(find).length - 1;
  if (places !== 1) {
    throw new RangeError(`${name}: its text occurs ${places} times in ${file}: it must occur once`);
  }
  // A function, since "$" in a text would have a meaning.
  return source.replace(find, () => replace);
}
