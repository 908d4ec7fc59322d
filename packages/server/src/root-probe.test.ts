import { RootOfTrustError } from "@holdfast/engine";
import { expect, test } from "vitest";
import { RootProbe } from "./root-probe.ts";

test.each<[string, () => Promise<void>, string]>([
  ["works", async () => undefined, "ok "],
  [
    "refuses",
    async () => {
      throw new RootOfTrustError("disabled", "the key is disabled");
    },
    "refused the key is disabled",
  ],
  [
    "cannot be reached",
    async () => {
      throw new RootOfTrustError("unavailable", "time-out");
    },
    "unreachable time-out",
  ],
  [
    "has a fault",
    async () => {
      throw new TypeError("x");
    },
    "unreachable x",
  ],
])("a root of trust that %s", async (_name, probe, expected) => {
  const told: string[] = [];
  const one = new RootProbe(
    { probe },
    { rootOfTrust: (state, reason) => void told.push(`${state} ${reason}`) },
  );
  const fault = await one.run();
  one.close();
  expect(told).toEqual([expected]);
  expect(fault === undefined).toBe(expected === "ok ");
});
