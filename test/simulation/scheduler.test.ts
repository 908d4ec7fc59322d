import { expect, test } from "vitest";
import { Violation } from "./checker.ts";
import { Scheduler } from "./scheduler.ts";

test("a history ends with a violation where each request makes two more", async () => {
  const scheduler = new Scheduler();
  const request = (): void => {
    for (let more = 0; more < 2; more += 1) scheduler.after(1, request);
  };
  request();
  await expect(scheduler.run(1_000)).rejects.toThrow(Violation);
});
