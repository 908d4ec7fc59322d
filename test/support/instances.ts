import { randomUUID } from "node:crypto";
import { instanceRecord, systemInstance, withFields } from "@holdfast/engine";
import { openStore } from "./redis-store.ts";
import type { TwoRegions } from "./two-regions.ts";

/** Lays the records of an instance that is Installed into the stores of both regions. */
export async function layInstance(
  both: TwoRegions,
  name: string,
): Promise<{ readonly id: string }> {
  const id = randomUUID();
  const now = { us: Date.now() * 1000, region: "a" };
  const after = withFields(
    instanceRecord({ instance: id, name }, now),
    { status: "Installed", createdMs: String(Date.now()) },
    now,
  );
  for (const region of both.regions) {
    await using opened = await openStore({
      address: region.redis.primary.address,
      region: region.name,
    });
    await opened.store.commit(systemInstance, [{ kind: "create", after }], []);
    await opened.store.install(id);
  }
  return { id };
}
