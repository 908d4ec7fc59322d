import { expect, test } from "vitest";
import { pairsIn } from "./text.ts";

test("reads a name and a value on each line, and leaves out no line that was typed", () => {
  expect(pairsIn(" group = finance \n\nurl=a=b\nsite=")).toEqual({
    group: "finance",
    url: "a=b",
    site: "",
  });
  expect(pairsIn("group: finance\n=a\nsite")).toEqual({ "group: finance": "", "": "a", site: "" });
  expect(pairsIn(" \n")).toEqual({});
});
