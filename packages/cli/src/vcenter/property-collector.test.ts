import { expect, test } from "vitest";
import { objectsOf } from "./property-collector.ts";

const object = (value: string) => ({
  obj: { type: "VirtualMachine", value },
  propSet: [{ name: "name", val: { _typeName: "string", _value: value } }],
});

/** The names that a vCenter lists which answers with these pages. */
async function namesIn(...pages: readonly unknown[]): Promise<readonly unknown[]> {
  const left = [...pages];
  const reference = { type: "X", value: "x" };
  const content = { viewManager: reference, rootFolder: reference, propertyCollector: reference };
  const call = (_: unknown, method: string) =>
    Promise.resolve(method.includes("RetrieveProperties") ? left.shift() : reference);
  const names: unknown[] = [];
  for await (const { values } of objectsOf({ content, call } as never, "VirtualMachine", [])) {
    names.push(values["name"]);
  }
  return names;
}

test("a list has all its pages, and may be empty", async () => {
  expect(await namesIn({ objects: [object("a")], token: "1" }, { objects: [object("b")] })).toEqual(
    ["a", "b"],
  );
  expect(await namesIn(undefined)).toEqual([]);
  expect(await namesIn({ objects: [object("a")], token: "" })).toEqual(["a"]);
});

test.each([[undefined], [{}], [{ objects: null }], ["text"], [[]]])(
  "a list whose next page is %j does not pass for a whole one",
  async (page) => {
    await expect(namesIn({ objects: [object("a")], token: "1" }, page)).rejects.toThrow(
      "vCenter did not send all of its list of VirtualMachine",
    );
  },
);

test("a first page without objects is not an empty list", async () => {
  await expect(namesIn({})).rejects.toThrow("did not send all");
});
