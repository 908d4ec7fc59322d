import { describe, expect, test } from "vitest";
import { storedReference } from "../roots/given-root.ts";
import { systemRecord } from "../testing/system-records.ts";
import { namedRoots, type RootReference, rootChanges, shownReference } from "./root-reference.ts";

const reference: RootReference = {
  type: "key-protect",
  instanceId: "manager",
  rootKey: "key",
  secret: { sealed: "c2VhbGVk" },
  name: "key-protect manager/key",
};

describe("a reference in a record", () => {
  test("is read as it was written", () => {
    const values = { instance: "i", ...rootChanges("a", { current: reference }) };
    const record = systemRecord("Instance", values);
    expect(namedRoots(record, "a")).toEqual({ current: reference, next: undefined, left: [] });
    expect(namedRoots(record, "b").current).toBeUndefined();
  });

  test.each([undefined, "{", [], 7, { type: "other" }, { type: "local", secret: { value: "x" } }])(
    "that is not valid counts as absent: %j",
    (value) => {
      const record = { root: { a: value }, rootNext: {}, rootLeft: { a: value } };
      const { current, left } = namedRoots(record, "a");
      expect(current?.secret).toBeUndefined();
      expect(left).toEqual([]);
    },
  );

  test("is shown without its secret", () => {
    const shown = shownReference(reference);
    expect(shown["secret"]).toBe("sealed");
    expect(JSON.stringify(shown)).not.toContain("c2VhbGVk");
    expect(shownReference({ ...reference, secret: { env: "HOLDFAST_ROOT_K" } })["secret"]).toBe(
      "environment variable HOLDFAST_ROOT_K",
    );
  });
});

describe("a reference that was given", () => {
  const seal = async (named: object, secret: string) => ({
    sealed: Buffer.from(`${JSON.stringify(named)} ${secret.length}`).toString("base64"),
  });

  test("is stored with its secret sealed, or named", async () => {
    const given = { type: "pkcs11", token: "t", rootKey: "k", pin: { value: "1234" } } as const;
    const stored = await storedReference(given, seal);
    expect(stored).toMatchObject({ type: "pkcs11", token: "t", rootKey: "k" });
    expect(JSON.stringify(stored)).not.toContain("1234");
    const named = await storedReference({ ...given, pin: { env: "HOLDFAST_ROOT_PIN" } }, seal);
    expect(named.secret).toEqual({ env: "HOLDFAST_ROOT_PIN" });
    expect(await storedReference({ type: "local" }, seal)).toEqual({ type: "local" });
  });
});
