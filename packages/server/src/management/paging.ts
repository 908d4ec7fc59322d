/** One page of a list that is in the order of `placeOf`, and where the next begins. */
export function pageBy<Item>(
  items: readonly Item[],
  placeOf: (item: Item) => string,
  { limit, cursor }: { readonly limit: number; readonly cursor?: string | undefined },
): { readonly items: readonly Item[]; readonly next: { readonly next?: string } } {
  const rest = cursor === undefined ? items : items.filter((item) => placeOf(item) > cursor);
  const page = rest.slice(0, limit);
  const last = page.at(-1);
  const more = last !== undefined && rest.length > page.length;
  return { items: page, next: more ? { next: placeOf(last) } : {} };
}
