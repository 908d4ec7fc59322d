import { expect, test } from "vitest";
import { termOf } from "../testing/leader/test-peer.ts";
import { AgreeFormat } from "./agree-format.ts";

type State = "up" | "down" | "retired";

/** A duty of a release that reads and writes format 2, in a region whose nodes read `common`. */
function world(common: number, theirs: number, state: State = "up") {
  const required: number[] = [];
  const store = {
    formats: () => ({ required: required.at(-1) ?? 1, common }),
    requireFormat: async (format: number) => required.push(format) > 0,
  };
  const hello = async () => {
    if (state === "down") throw new Error("cannot be reached");
    return { recordFormat: theirs } as never;
  };
  const duty = new AgreeFormat({ store, peers: [{ state: () => state, hello }], newest: 2 });
  return { required, run: () => duty.run(termOf(1)) };
}

test.each<[string, number, number, State, number[]]>([
  ["every node of both regions reads it", 2, 2, "up", [2]],
  ["every node reads a newer one too", 3, 3, "up", [2]],
  ["a node of this region does not read it", 1, 2, "up", []],
  ["a node of the other region does not read it", 2, 1, "up", []],
  ["the other region does not say what it reads", 2, 0, "up", []],
  ["the other region is retired", 2, 0, "retired", [2]],
])(
  "a new format is required once it is read everywhere: %s",
  async (_, common, theirs, state, is) => {
    const { required, run } = world(common, theirs, state);
    await run();
    await run();
    expect(required).toEqual(is);
  },
);

test("nothing is required while the other region cannot be asked", async () => {
  const { required, run } = world(2, 2, "down");
  await expect(run()).rejects.toThrow("cannot be reached");
  expect(required).toEqual([]);
});
