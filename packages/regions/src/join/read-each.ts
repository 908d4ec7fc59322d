import { isCorrupt, type OwnStore, type OwnStoredObject, StoreUnavailable } from "@holdfast/engine";

/**
 * A copy in the own store; "damaged" if it does not decode, "unknown" if this node does not know
 * its format, undefined if there is none.
 */
export type OwnCopy = OwnStoredObject | "damaged" | "unknown" | undefined;

/** Reads as `OwnStore.read` does, but one record that cannot be read does not hide the others. */
export async function readEach(
  own: Pick<OwnStore, "read">,
  instance: string,
  ids: readonly string[],
): Promise<readonly OwnCopy[]> {
  if (ids.length === 0) return [];
  try {
    return await own.read(instance, ids);
  } catch (error) {
    unreadable(error);
  }
  return await Promise.all(
    ids.map(async (id) => {
      try {
        const [copy] = await own.read(instance, [id]);
        return copy;
      } catch (error) {
        return unreadable(error);
      }
    }),
  );
}

/**
 * The own record is intact, and only a newer node can read it: no other copy may be answered in its
 * place.
 */
export function unknownFormat(): StoreUnavailable {
  const message = "the own record is of a format that this node does not know: upgrade this node";
  return new StoreUnavailable("unknownFormat", message);
}

/** What a failed read says about a record; throws where it says nothing about it. */
function unreadable(error: unknown): "damaged" | "unknown" {
  if (isCorrupt(error)) return "damaged";
  if (error instanceof StoreUnavailable && error.failure === "unknownFormat") return "unknown";
  throw error;
}
