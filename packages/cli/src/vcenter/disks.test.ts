import { expect, test } from "vitest";
import { rekeySpec } from "./disks.ts";

const crypto = { _typeName: "CryptoSpecShallowRecrypt", newKeyId: { keyId: "new" } };
const isOld = (key: unknown) => key === "old";
const parent = { keyId: "old" };

test("a machine's disk says only of old keys what becomes of them, and all parts are of its type", () => {
  const _typeName = "VirtualDeviceConfigSpecBackingSpec";
  const spec = (backing: unknown) => rekeySpec(_typeName, backing, crypto, isOld);
  expect(spec({ keyId: "old", parent: {} })).toEqual({ _typeName, crypto });
  expect(spec({ keyId: "other", parent })).toEqual({ _typeName, parent: { _typeName, crypto } });
});

test("a first-class disk says of each key down to the last old one what becomes of it, and all parts are of its type", () => {
  const _typeName = "DiskCryptoSpec";
  const kept = { _typeName: "CryptoSpecNoOp" };
  const spec = (backing: unknown) => rekeySpec(_typeName, backing, crypto, isOld);
  const below = { _typeName, crypto };
  expect(spec({ keyId: "old", parent })).toEqual({ _typeName, crypto, parent: below });
  expect(spec({ parent: { keyId: "other", parent } })).toEqual({
    ...{ _typeName, crypto: kept },
    parent: { _typeName, crypto: kept, parent: below },
  });
});
