import { type InstanceKeyRing, SealBroken } from "@holdfast/engine";
import { afterEach, expect, test } from "vitest";
import { StoreInMemory } from "../testing/memory-regions.ts";
import type { Parts } from "./node-parts.ts";
import type { Regions } from "./node-regions.ts";
import { openInstances } from "./node-start.ts";
import type { Tenants } from "./node-tenants.ts";

const opened = new AsyncDisposableStack();
afterEach(() => opened.disposeAsync());

/** Starts with a key that the configured root key does not open. */
function start(own: StoreInMemory, hasPeer: boolean) {
  const parts = {
    config: {
      region: "a",
      peer: hasPeer ? {} : undefined,
      rootOfTrust: { type: "local", local: { file: "root.key" } },
      store: { address: { host: "127.0.0.1", port: 6379 } },
    },
    configFile: "holdfast.yaml",
    observe: () => undefined,
    opened,
  } as unknown as Parts;
  const instances = [
    { id: "i", name: "demo", certificates: [], authorities: [], users: new Map() },
  ];
  const keyRing = {
    seal: async () => Promise.reject(new SealBroken("made under another root key")),
  } as unknown as InstanceKeyRing;
  const known = Object.assign(own, {
    install: (instance: string) => own.instances.install(instance),
  });
  const regions = { own: known, store: own } as unknown as Regions;
  return openInstances(parts, regions, keyRing, { instances } as unknown as Tenants);
}

test("a root key that opens no key ends a start, except while the other region fills the store", async () => {
  const own = new StoreInMemory("one");
  const refusal = /^rootOfTrust\.\S+: .* does not open the keys of instance demo .*root adopt/;
  await start(own, true);
  await expect(start(own, false)).rejects.toThrow(refusal);
  await own.setLevel(1, await own.newEpoch());
  await expect(start(own, true)).rejects.toThrow(refusal);
});
