import { AdminProblem } from "@holdfast/admin";
import { expect, test } from "vitest";
import { patiently } from "./patience.ts";

const tooMany = (seconds?: number) => new AdminProblem(429, { detail: "wait" }, seconds);

test("a call waits as long as the service says, and is sent again", async () => {
  const answers = [tooMany(3), tooMany(), "page"];
  const waits: number[] = [];
  const call = async () => {
    const answer = answers.shift();
    if (answer instanceof Error) throw answer;
    return answer;
  };
  expect(await patiently(call, async (ms) => waits.push(ms))).toBe("page");
  expect(waits).toEqual([3_000, 1_000]);
});

test("a call fails after a bounded time, and at once on any other refusal", async () => {
  let asked = 0;
  const always = async () => {
    asked += 1;
    throw tooMany(60);
  };
  await expect(patiently(always, async () => undefined)).rejects.toThrow("wait");
  expect(asked).toBe(11);
  const refused = async () => {
    throw new AdminProblem(403, { detail: "no" }, 1);
  };
  await expect(patiently(refused, async () => undefined)).rejects.toThrow("no");
});
