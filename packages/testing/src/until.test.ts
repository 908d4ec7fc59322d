import { expect, test } from "vitest";
import { answerOf, type ConditionResult, until } from "./until.ts";

test("until waits for the value true and no other", async () => {
  const answers: ConditionResult[] = [false, "not yet", new Error("busy"), true];
  await until("the last", () => answers.shift() ?? false);
  expect(answers).toEqual([]);
});

test.each<[string, ConditionResult, string]>([
  ["nothing", false, "not within 0 ms: a state"],
  ["a value", "Configuring", "not within 0 ms: a state; last: Configuring"],
  ["an error", new TypeError("busy"), "not within 0 ms: a state; last: TypeError: busy"],
])("a timeout reports the last result: %s", async (_, answer, message) => {
  await expect(until("a state", () => answer, 0)).rejects.toThrow(new Error(message));
});

test("the error of a timeout has at most 30 lines", async () => {
  const late = until("a state", () => "line\n".repeat(100), 0);
  await expect(late).rejects.toThrow(/^(.*\n){29}line$/);
});

test("an error of the condition ends the wait", async () => {
  const broken = until("a state", () => Promise.reject(new Error("broken")));
  await expect(broken).rejects.toThrow("broken");
});

test("answerOf asks again after an error that passes, and ends at any other", async () => {
  const errors = ["busy", "busy", "broken"];
  const ask = async () => {
    const message = errors.shift();
    if (message !== undefined) throw new Error(message);
    return "an answer";
  };
  const passes = (error: unknown) => String(error) === "Error: busy";
  await expect(answerOf("a state", ask, passes)).rejects.toThrow("broken");
  await expect(answerOf("a state", ask, passes)).resolves.toBe("an answer");
});
