import { KeyRingUnavailable, SealBroken } from "@holdfast/engine";
import { expect, test } from "vitest";
import { checkRoot } from "./root-check.ts";
import { StartError } from "./start-error.ts";

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

test("one that opens the keys of another region is refused, with the instance and the mend", async () => {
  const ring = ringWith({ "id of two": new SealBroken("a wrapped key is not what was wrapped") });
  const check = checkRoot(ring, instances, "root.key");
  await expect(check).rejects.toThrow(StartError);
  await expect(check).rejects.toThrow(/root\.key does not open the keys of instance two .* copy/);
});

test.each([true, false])(
  "one that cannot tell now (refused: %s) stops no node",
  async (refused) => {
    const failure = new KeyRingUnavailable(refused, "not now");
    await checkRoot(ringWith({ "id of two": failure }), instances, "root.key");
  },
);
