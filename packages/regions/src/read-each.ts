import { type OwnStore, type OwnStoredObject, StoreUnavailable } from "@holdfast/engine";

/** A copy of the own store, "none", or that it does not decode. */
export type OwnCopy = OwnStoredObject | "damaged" | undefined;

/** Reads as `OwnStore.read` does, but one record that does not decode does not hide the others. */
export async function readEach(
  own: OwnStore,
  instance: string,
  ids: readonly string[],
): Promise<readonly OwnCopy[]> {
  if (ids.length === 0) return [];
  try {
    return await own.read(instance, ids);
  } catch (error) {
    if (!isCorrupt(error)) throw error;
  }
  return await Promise.all(
    ids.map(async (id) => {
      try {
        const [copy] = await own.read(instance, [id]);
        return copy;
      } catch (error) {
        if (isCorrupt(error)) return "damaged";
        throw error;
      }
    }),
  );
}

/** Whether a store failed since a record of it does not decode. */
export function isCorrupt(error: unknown): boolean {
  return error instanceof StoreUnavailable && error.failure === "corrupt";
}
