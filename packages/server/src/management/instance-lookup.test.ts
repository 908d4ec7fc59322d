import { makeRecord } from "@holdfast/engine";
import { expect, test } from "vitest";
import { instanceRecordId } from "../records/records.ts";
import { TestView } from "../testing/system-records.ts";
import { InstanceLookup } from "./instance-lookup.ts";

const deleted = "11111111-2222-4333-8444-555555555555";
const living = "66666666-7777-4888-9999-aaaaaaaaaaaa";
const now = { us: 1_000_000, region: "a" };

test("the identifier of a deleted instance does not find another instance with that name", async () => {
  const view = new TestView();
  const made = (instance: string, name: string) =>
    makeRecord(
      "Instance",
      instanceRecordId(instance),
      { instance, name, status: "Installed" },
      now,
    );
  const gone = { ...made(deleted, "gone"), facts: { destroyed: { time: 1, region: "a" } } };
  view.take([gone, made(living, deleted)]);
  const lookup = new InstanceLookup({ view, declared: () => [] });
  await expect(lookup.find(deleted)).rejects.toThrow("instance not found");
  expect((await lookup.find(living)).id).toBe(living);
});
