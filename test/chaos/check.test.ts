import { expect, test } from "vitest";
import { calm } from "./calm.ts";
import { checkAll, lookAt } from "./check.ts";
import type { Endpoint } from "./clients.ts";
import { History } from "./history.ts";

test("objects of an endpoint that nobody can reach are missing, and the run is judged all the same", async () => {
  const history = new History();
  history.created("k", { node: "a1", region: "a", beganMs: 0, endedMs: 1 });
  const target = { host: "127.0.0.1", port: 1, ca: "", certificate: "", key: "" };
  const endpoint: Endpoint = { node: "b2", region: "b", target };
  await lookAt([endpoint], history, [...history.entries.values()]);
  expect(history.judge(calm)).toEqual([]);
  await checkAll([endpoint], history);
  const found = history.judge(calm);
  expect(found).toEqual([{ kind: "missing", text: expect.stringMatching(/^1 objects at b2: /) }]);
});
