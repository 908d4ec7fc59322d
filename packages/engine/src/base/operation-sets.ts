import { type ImplementedOperation, operationRow, operations } from "@holdfast/kmip";

/** The operations that the engine carries out. */
export const implementedOperations = Object.keys(operations).filter(
  (name) => operationRow(name as ImplementedOperation)?.request !== undefined,
) as readonly ImplementedOperation[];

/** Sets of operations by name; a limit names these, and single operations. */
const sets: Readonly<Record<string, readonly ImplementedOperation[]>> = {
  all: implementedOperations,
  /** The operations of vCenter and ESXi other than Query and Discover Versions (docs/vsphere-compatibility.md). */
  vsphere: ["Create", "Get", "GetAttributes", "AddAttribute", "Activate"],
  "read-only": implementedOperations.filter((name) => !operations[name].changes),
};

/** The names of the sets of operations. */
export const operationSets = ["all", "vsphere", "read-only"] as const;

/** A limit is read once, not for each request. */
const allowed = new WeakMap<readonly string[], ReadonlySet<string>>();

/**
 * The operations that a limit allows in addition to those that need no Credential; undefined = all. A word that this
 * release does not know allows nothing.
 */
export function allowedOperations(
  limit: readonly string[] | undefined,
): ReadonlySet<string> | undefined {
  if (limit === undefined || limit.includes("all")) return undefined;
  const read = allowed.get(limit) ?? readLimit(limit);
  allowed.set(limit, read);
  return read;
}

function readLimit(limit: readonly string[]): ReadonlySet<string> {
  const known: readonly string[] = implementedOperations;
  return new Set(
    limit.flatMap((word): readonly string[] =>
      Object.hasOwn(sets, word) ? (sets[word] ?? []) : known.filter((name) => name === word),
    ),
  );
}

/** The limit that allows what all of these limits allow; undefined = all. */
export function commonLimit(
  limits: readonly (readonly string[] | undefined)[],
): readonly string[] | undefined {
  const [first, ...others] = new Set(limits.filter((limit) => allowedOperations(limit)));
  if (others.length === 0) return first;
  return implementedOperations.filter((name) =>
    [first, ...others].every((limit) => allowedOperations(limit)?.has(name)),
  );
}
