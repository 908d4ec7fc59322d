import { StoreUnavailable } from "@holdfast/engine";
import { expect, test } from "vitest";
import type { StoredValues } from "../proof/stored-values.ts";
import { deriveStorageKey, StorageKeys } from "../storage-keys/storage-keys.ts";
import { Formats, storedFormat } from "./formats.ts";

const storeId = "00112233445566778899aabbccddeeff";
const of = { storeId, region: "a", number: 1 };
const keys = new StorageKeys(storeId, [deriveStorageKey(new Uint8Array(32), of)]);
const values: Pick<StoredValues, "proves"> = { proves: () => true };
const settings = { recordFormat: 2, formatsEveryMs: 10_000, processName: "one" };

test("a node whose format is not agreed on writes nothing, and blames no record for that", async () => {
  const formats = new Formats(settings, values);
  let required = 1;
  const ask = async () => ({
    result: "noted",
    number: 0,
    rest: [Buffer.from(String(storedFormat(required))), Buffer.alloc(0), storedFormat(2)],
  });
  await formats.note(keys, "redis:1", ask);
  expect(() => formats.requireAgreed()).toThrow(
    expect.objectContaining({ name: StoreUnavailable.name, failure: "formatNotAgreed" }),
  );
  required = 2;
  await formats.note(keys, "redis:1", ask);
  expect(() => formats.requireAgreed()).not.toThrow();
});
