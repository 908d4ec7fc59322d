import { expect, test } from "vitest";
import { type ConditionResult, until } from "./until.ts";

test("until waits for the value true only", async () => {
  const answers: ConditionResult[] = [false, "not yet", new Error("busy"), true];
  await until("the last", () => answers.shift() ?? false);
  expect(answers).toEqual([]);
});

test.each<[string, ConditionResult, string]>([
  ["nothing", false, "not within 0 ms: a state"],
  ["a value", "Configuring", "not within 0 ms: a state; last: Configuring"],
  ["an error", new TypeError("busy"), "not within 0 ms: a state; last: TypeError: busy"],
])("an error tells %s that was seen last", async (_, answer, message) => {
  await expect(until("a state", () => answer, 0)).rejects.toThrow(new Error(message));
});

test("an error has 30 lines at most", async () => {
  const late = until("a state", () => "line\n".repeat(100), 0);
  await expect(late).rejects.toThrow(/^(.*\n){29}line$/);
});

test("an error of the condition ends the wait", async () => {
  const broken = until("a state", () => Promise.reject(new Error("broken")));
  await expect(broken).rejects.toThrow("broken");
});
