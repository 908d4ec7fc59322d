import type { SystemRecord } from "@holdfast/engine";

/** Why an instance's keys are closed, if an administrator shredded them; undefined otherwise. */
export function shreddedReason(
  { keys }: Pick<SystemRecord<"Instance">, "keys">,
  region: string,
): string | undefined {
  const last = keys[region];
  if (last?.keys !== "shredded") return undefined;
  const at = new Date(last.atMs).toISOString();
  return `its keys were shredded by ${last.by} at ${at}; revalidate the root of trust to open them again`;
}
