import { objectItem } from "@holdfast/kmip";
import { expect, test } from "vitest";
import { attributeSet } from "../testing/test-attributes.ts";
import { type TestItem, testEngine } from "../testing/test-engine.ts";

const responseBytesMax = 1 << 20;

test("answers of one instance that are built at the same time are refused before they take a node's memory, and others' are not", async () => {
  const engine = await testEngine({ responseBytesMax });
  const object = objectItem("OpaqueObject", {
    opaqueDataType: 0x80000001,
    opaqueDataValue: new Uint8Array(200_000),
  });
  const register = { objectType: "OpaqueObject", attributes: attributeSet({}), object };
  const { uniqueIdentifier } = await engine.ask("2.1", "Register", register);
  const gets = new Array<TestItem>(5).fill(["Get", { uniqueIdentifier }]);
  const query: TestItem = ["Query", { queryFunctions: ["QueryOperations", "QueryObjects"] }];
  const failures = async (items: readonly TestItem[], instance: string) => {
    const client = { ...engine.client, instance };
    const answer = await engine.sendAs(client, "2.1", items);
    return answer.items.flatMap(({ reason, message }) =>
      reason === undefined ? [] : [`${reason}: ${message}`],
    );
  };
  const many = Promise.all(Array.from({ length: 20 }, () => failures(gets, "i")));
  const other = failures(new Array<TestItem>(200).fill(query), "j");
  const refused = (await many).flat();
  expect(new Set(refused)).toEqual(
    new Set([
      "GeneralFailure: too many large answers at the same time: try again, with fewer items in a batch",
    ]),
  );
  expect(20 - refused.length).toBeGreaterThan(3);
  expect(await other).toEqual([]);
  // All of it was given back.
  for (let at = 0; at < 20; at++) expect(await failures(gets, "i")).toEqual([]);
});
