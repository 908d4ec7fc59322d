import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";
import { faultsOf, runMatrix } from "../alerts/matrix.ts";
import { say } from "../support/load.ts";

/** Times are that many times shorter than shipped. */
const factor = 4;
const only = ["kill-node", "freeze-redis", "cut", "kill-locks", "kill-region"];

const missing = ["prometheus", "prometheus-alertmanager"].some(
  (program) => spawnSync(program, ["--version"]).error !== undefined,
);

test.skipIf(missing)(
  "each of five faults raises its alert and no other (needs Prometheus: sudo apt-get install -y --no-install-recommends prometheus prometheus-alertmanager)",
  async () => {
    const options = { only, factor, healthyMinutes: 0.5 };
    const report = await runMatrix(options, say, new AbortController().signal);
    // After how many seconds each comes is judged by `npm run alerts`, on a machine that does nothing else.
    expect(faultsOf(report, { times: false })).toEqual([]);
    expect(report.outcomes.map(({ fault }) => fault)).toEqual(only);
  },
);
