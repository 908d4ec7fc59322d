import { expect, test } from "vitest";
import { ReplicaSet } from "./replica-set.ts";

test.each<[string, readonly string[], number, readonly string[], string]>([
  ["one is gone", ["r:1", "r:2"], 0, ["r:2"], "r:1 not connected"],
  ["all are gone", ["r:1", "r:2"], 0, [], "r:1, r:2 not connected"],
  ["all are connected", ["r:1", "r:2"], 0, ["r:1", "r:2"], "too late from one of r:1, r:2"],
  ["too few were ever seen", ["r:1"], 2, ["r:1"], "1 of 2 replicas were ever seen"],
  ["one was promoted", ["own:1", "r:1"], 0, [], "r:1 not connected"],
])("says which replica a barrier lacks: %s", (_what, known, least, connected, words) => {
  const replicas = new ReplicaSet("own:1", least);
  replicas.load(known, "1");
  expect(replicas.lacking(connected)).toBe(words);
});
