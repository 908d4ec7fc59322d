import type { PlantedFault } from "../fault.ts";

const storageKey = "test/cluster/storage-key.test.ts";

/** Faults in how a node keeps and checks the storage key of its store. */
export const storageKeyFaults: readonly PlantedFault[] = [
  {
    name: "storage-key-is-not-checked",
    kind: "protocol",
    file: "packages/redis/src/storage-keys/key-opening.ts",
    find: "if (timingSafeEqual(key.check, entry.check)) return;",
    replace: "if (key.check.length === entry.check.length) return;",
    rule: "a store is used only with the storage key that it was made with",
    promises: ["A node uses a store only with the storage key"],
    tests: [storageKey],
    simulated: false,
  },
  {
    name: "storage-key-wrap-is-not-counted",
    kind: "protocol",
    file: "packages/server/src/roots/storage-key-wraps.ts",
    find: "if (!isOwn || rootKeyVersion !== currentVersion) stale += 1;",
    replace: "if (!isOwn) stale += 1;",
    rule: "a storage key under an old version of the root key is reported, so that nobody deletes that version",
    tests: ["packages/server/src/roots/storage-key-wraps.test.ts"],
    simulated: false,
  },
  {
    name: "storage-key-is-missing-unseen",
    kind: "protocol",
    file: "packages/redis/src/records/key-wraps.ts",
    find: "const faults = keys.faults(found);",
    replace: "const faults: string[] = [];",
    rule: "a check of the storage key reports that its entry in Redis is missing: the next start would fail",
    tests: [storageKey],
    simulated: false,
  },
  {
    name: "storage-key-check-passes-unseen",
    kind: "protocol",
    file: "packages/server/src/admin/system/region-checks.ts",
    find: "if (faults.length > 0) {",
    replace: "if (faults.length > 99) {",
    rule: "`doctor` is not green while a restart of the nodes would lose the store",
    tests: ["packages/server/src/roots/storage-key-wraps.test.ts"],
    simulated: false,
  },
  {
    name: "storage-key-wrap-is-not-kept",
    kind: "protocol",
    file: "packages/redis/src/records/key-wraps.ts",
    find: "keys.keep(opened);",
    replace: "",
    rule: "every node keeps the present wrap of the storage key, not one under a version that may be deleted",
    tests: [storageKey],
    simulated: false,
  },
  {
    name: "storage-key-is-opened-at-each-session",
    kind: "protocol",
    file: "packages/redis/src/storage-keys/held-keys.ts",
    find: "this.#held?.keys.storeId === storeId ?",
    replace: "this.#held?.keys.storeId !== storeId ?",
    rule: "a fail-over needs no root of trust",
    promises: ["A node uses a store only with the storage key"],
    tests: [storageKey],
    simulated: false,
  },
];
