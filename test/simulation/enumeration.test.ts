import { describe, expect, test } from "vitest";
import { enumerate } from "./enumeration.ts";
import { plans } from "./plans.ts";

/** Large plans are enumerated only in part, unless SIMULATION_STATES is larger (`--enumerate`). */
const partMax = Number(process.env["SIMULATION_STATES"] ?? 800);
const longMs = 600_000;

describe("Destroy, Activate, a leader, a cut and a read in every order", () => {
  test.each(plans)(
    "break no promise: $name",
    async ({ plan, large }) => {
      const found = await enumerate(plan, large ? { statesMax: partMax } : {});
      const { states, interleavings, executions } = found;
      const size = `${states} states, ${interleavings} interleavings, ${executions} executions`;
      process.stdout.write(`${JSON.stringify(plan)}: ${size}${found.cutShort ? ", a part" : ""}\n`);
      expect(found.failure, found.trace.join("\n")).toBeUndefined();
      expect(found.cutShort && !large).toBe(false);
    },
    longMs,
  );

  test("reveal a Destroy without agreement", async () => {
    const flaw = "Destroy with preferred instead of agreement";
    const plan = {
      destroyer: "a",
      activator: "b",
      leader: "b",
      reader: "b",
      cut: true,
      slow: true,
    } as const;
    const { failure, states, trace } = await enumerate(plan, { flaw });
    expect(String(failure)).toContain("destroyed while active");
    process.stdout.write(`found "${flaw}" after ${states} states:\n  ${trace.join("\n  ")}\n`);
  });
});
