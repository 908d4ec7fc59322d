import { describe, expect, test } from "vitest";
import { makePrevious } from "../../scripts/build/previous.ts";
import { reportLines, violationsOf } from "../chaos/report.ts";
import { runChaos } from "../chaos/run.ts";
import { say } from "../support/load.ts";

const previous = await makePrevious();
const other = typeof previous === "string" ? undefined : previous.program;
const why = typeof previous === "string" ? previous : previous.commit.slice(0, 8);
/** The run goes on until it has done these; a busy machine takes longer. */
const atLeast = { steps: 4, shared: 51 };
const minutes = 0.5;

describe.skipIf(other === undefined)(`needs the version before this one (${why}): it`, () => {
  test("runs with this one on the same data, and nothing is lost while nodes change to it and back", {
    timeout: 1_200_000,
  }, async () => {
    const shape = { minutes, seed: 1, json: undefined, wanMs: 10, workers: 4 };
    const options = { ...shape, only: ["replace-node"], other, atLeast };
    const report = await runChaos(options, say, new AbortController().signal);
    for (const line of reportLines(report)) say(line);
    expect(violationsOf(report)).toEqual([]);
    expect(report.acknowledgedShared).toBeGreaterThanOrEqual(atLeast.shared);
    expect(report.faults["replace-node"]).toBeGreaterThanOrEqual(atLeast.steps);
  });
});
