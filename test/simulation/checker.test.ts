import { expect, test } from "vitest";
import { Checker } from "./checker.ts";

test("a change may be in one region alone if it was asked for while the other one was retired, and not later", () => {
  const checker = new Checker(["a", "b"]);
  expect(checker.mayBeAlone(100)).toBe(false);
  checker.retire("b", () => undefined);
  expect(checker.mayBeAlone(100)).toBe(true);
  checker.rejoined("b", 300, 400);
  expect(checker.mayBeAlone(350)).toBe(true);
  expect(checker.mayBeAlone(401)).toBe(false);
});

test("the same while nodes of a region use different stores", () => {
  const checker = new Checker(["a", "b"]);
  checker.doubt("a");
  checker.retire("b", () => undefined);
  checker.rejoined("b", 300, 400);
  expect(checker.mayBeAlone(450)).toBe(true);
  checker.trust("a", 500);
  expect(checker.mayBeAlone(450)).toBe(true);
  expect(checker.mayBeAlone(501)).toBe(false);
});
