import { expect, test } from "vitest";
import { longMs } from "./first-failure.ts";
import { runHistory } from "./history.ts";

const histories = 40;
const begun = / storage key: \d+$/;

test(
  `${histories} histories in which storage keys are rotated break no promise, and each begins a rotation`,
  async () => {
    let third = 0;
    for (let seed = 1; seed <= histories; seed += 1) {
      const { failure, lines } = await runHistory(seed, { focus: "storage keys rotated" });
      expect(failure, `seed ${seed}`).toBeUndefined();
      const rotations = lines.filter((line) => begun.test(line));
      expect(rotations.length, `seed ${seed}`).toBeGreaterThan(0);
      third += rotations.filter((line) => line.endsWith(" 3")).length;
    }
    // A second rotation of one store begins only once the first one has ended.
    expect(third).toBeGreaterThan(5);
  },
  longMs,
);
