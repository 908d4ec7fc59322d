import { KeyRingUnavailable, kekData, SealBroken, StoreUnavailable } from "@holdfast/engine";
import { MemoryRootOfTrust } from "@holdfast/engine/testing";
import { describe, expect, test } from "vitest";
import { OperatorError } from "../base/operator-error.ts";
import { systemIds } from "../base/system.ts";
import { checkRoot, checkRootOfStore } from "./root-check.ts";

const instances = ["one", "two", "three"].map((name) => ({ id: `id of ${name}`, name }));

/** A key ring that fails for some instances. */
const ringWith = (failures: Readonly<Record<string, Error>>) => ({
  seal: async ({ instance }: { readonly instance: string }) => {
    const failure = failures[instance];
    if (failure !== undefined) throw failure;
    return { kekId: "k", nonce: new Uint8Array(12), ciphertext: new Uint8Array(16) };
  },
});

test("a root of trust that opens the keys of every instance is accepted", async () => {
  await checkRoot(ringWith({}), instances, "root.key");
});

test("a root key of another region is refused, and the error names the instance and how to fix it", async () => {
  const ring = ringWith({ "id of two": new SealBroken("a wrapped key does not authenticate") });
  const check = checkRoot(ring, instances, "root.key");
  await expect(check).rejects.toThrow(OperatorError);
  await expect(check).rejects.toThrow(
    /root\.key does not open the keys of instance two .* same one/,
  );
});

test.each([true, false])(
  "a root of trust that is unavailable now (refused: %s) does not stop a node",
  async (refused) => {
    const failure = new KeyRingUnavailable(refused, "not now");
    await checkRoot(ringWith({ "id of two": failure }), instances, "root.key");
  },
);

describe("the check of the own store's wraps, before contact with the other region", () => {
  const named = (name: string) => {
    const root = new MemoryRootOfTrust(systemIds);
    root.describe = async () => ({ kind: "memory", name, currentVersion: "1" });
    return root;
  };
  const [right, wrong] = [named("local 1"), named("local 2")];

  /** Keys of region a; the first one is damaged on request. */
  async function keksOf(count: number, damaged = false) {
    const entries = Array.from({ length: count }, async (_, at) => {
      const [instance, id] = ["i", `00000000-0000-4000-8000-00000000000${at}`];
      const { blob, version } = await right.wrap(new Uint8Array(32), kekData(instance, id));
      if (damaged && at === 0) blob.fill(0, blob.length - 4);
      const wrap = { region: "a", rootOfTrust: "local 1", rootKeyVersion: version, blob };
      return { instance, kek: { id, createdMs: 0, check: new Uint8Array(8), wraps: [wrap] } };
    });
    const all = await Promise.all(entries);
    return { all: async () => all };
  }

  test("refuses another root key, and says how to fix it", async () => {
    const check = checkRootOfStore(wrong, await keksOf(2), "a", "root.key");
    await expect(check).rejects.toThrow(OperatorError);
    await expect(check).rejects.toThrow(/root\.key opens no key of region a .* same one/);
  });

  test("accepts the right root key, even with damaged wraps", async () => {
    await checkRootOfStore(right, await keksOf(2), "a", "root.key");
    await checkRootOfStore(right, await keksOf(2, true), "a", "root.key");
    await checkRootOfStore(right, await keksOf(1, true), "a", "root.key");
  });

  test("accepts any root key if there is no wrap to check", async () => {
    await checkRootOfStore(wrong, await keksOf(0), "a", "root.key");
    await checkRootOfStore(wrong, await keksOf(1), "b", "root.key");
    const out = async () => Promise.reject(new StoreUnavailable("timeout", "x"));
    await checkRootOfStore(wrong, { all: out }, "a", "root.key");
  });
});
