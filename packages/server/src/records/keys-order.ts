import type { KeysOrder, SystemRecord } from "@holdfast/engine";

/** The orders about an instance's open keys, as its record has them. */
type Orders = Pick<SystemRecord<"Instance">, "shredded" | "opened">;

/** The orders to shred an instance's keys that no order has ended, by the region in which each was given. */
export function shredsInForce({ shredded, opened }: Orders): Readonly<Record<string, KeysOrder>> {
  const found = Object.entries<KeysOrder | undefined>(shredded).flatMap(([region, order]) =>
    order === undefined || opened[region]?.ends === order.id ? [] : [[region, order] as const],
  );
  return Object.fromEntries(found);
}

/** Why an instance's keys are closed, if an administrator shredded them; undefined otherwise. */
export function shreddedReason(record: Orders): string | undefined {
  const [order] = Object.values(shredsInForce(record));
  if (order === undefined) return undefined;
  const at = new Date(order.atMs).toISOString();
  return `its keys were shredded by ${order.by} at ${at}; revalidate the root of trust to open them again`;
}
