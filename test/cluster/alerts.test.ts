import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";
import { faultsOf, runMatrix } from "../alerts/matrix.ts";
import { say } from "../support/load.ts";

/** The times in the rules are divided by this. */
const factor = 6;
const only = ["kill-node", "freeze-redis", "cut", "kill-region"];

const missing = ["prometheus", "prometheus-alertmanager"].filter(
  (program) => spawnSync(program, ["--version"]).error !== undefined,
);

test.skipIf(missing.length > 0)(
  `each of four faults raises its alert and no other (needs prometheus and prometheus-alertmanager; missing: ${missing.join(", ") || "none"})`,
  async () => {
    const options = { only, factor, healthyMinutes: 0, restMs: 500 };
    const report = await runMatrix(options, say, new AbortController().signal);
    // `npm run alerts` checks how soon each alert fires, on a machine that does nothing else.
    expect(faultsOf(report, { times: false })).toEqual([]);
    expect(report.outcomes.map(({ fault }) => fault)).toEqual(only);
  },
);
