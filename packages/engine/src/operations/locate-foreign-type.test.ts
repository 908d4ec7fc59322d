import { expect, test } from "vitest";
import { sampleObject } from "../testing/conformance/managed-object-conformance.ts";
import { aesKey } from "../testing/test-attributes.ts";
import { is, LabelledObjects } from "../testing/test-locate.ts";

test("an object of an unknown type makes no search fail", async () => {
  const objects = await LabelledObjects.make();
  await objects.add("key", aesKey());
  const { engine } = objects;
  const { instance } = engine.client;
  const odd = { ...sampleObject(instance, "00000000-0000-4000-8000-000000000077"), objectType: 77 };
  const outcome = await engine.store.commit(instance, [{ kind: "create", after: odd }], []);
  expect(outcome.kind).toBe("committed");
  const { labels } = await objects.locate("2.1", [is("State", "PreActive")]);
  expect(labels).toEqual(["key"]);
});
