/** A limit to KMIP operations as a record keeps it: undefined, not the set `all`, if there is none. */
export function limitOf(given: readonly string[] | undefined): readonly string[] | undefined {
  return given?.includes("all") === true ? undefined : given && [...new Set(given)].toSorted();
}

/** A limit in an audit event. */
export function limitText(limit: readonly string[] | undefined): string {
  return limit?.join(" ") ?? "all";
}
