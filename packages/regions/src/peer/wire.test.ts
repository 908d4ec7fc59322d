import { encodeRecord, makeRecord, markedIdentifier } from "@holdfast/engine";
import { expect, test } from "vitest";
import { readableObjects } from "./wire.ts";

test("a record that another region shows, but that is not taken, is named", () => {
  const id = markedIdentifier("Region", "6f1f0e9e-3f0f-4b8a-8f5c-2a8d8f4c1a00");
  const values = { region: "a", generation: 0, retired: 0 };
  const made = (us: number) => encodeRecord(makeRecord("Region", id, values, { us, region: "a" }));
  const good = readableObjects([made(1)]);
  expect(good.objects.map(({ uniqueIdentifier }) => uniqueIdentifier)).toEqual([id]);
  // The time of its change is beyond the year 2112.
  expect(readableObjects([made(2 ** 52 + 1), new Uint8Array([1, 2, 3])])).toEqual({
    objects: [],
    damaged: [id, "(not readable here)"],
    unknown: [],
  });
});
