import { generateKeyPairSync } from "node:crypto";
import { headsHash, MerkleRange, signCheckpoint, writeHeads, writeSigned } from "@holdfast/engine";
import { expect, test } from "vitest";
import { logChecks } from "./log-checks.ts";
import type { SystemSources } from "./sources.ts";

const { privateKey } = generateKeyPairSync("ed25519");

/** A step of the log with so many leaves; undefined for none. */
function step(size: number): string | undefined {
  if (size === 0) return undefined;
  const heads = writeHeads({ storeId: "store", heads: new Map() });
  const tree = MerkleRange.empty();
  for (let leaf = 1; leaf < size; leaf += 1) tree.append(headsHash("x"));
  const before = tree.copy();
  tree.append(headsHash(heads));
  const note = signCheckpoint({ origin: "log.example", size, root: tree.root() }, privateKey);
  return writeSigned({ before, heads, note });
}

async function states(names: readonly string[], ...reads: readonly (readonly number[])[]) {
  const left = [...reads];
  const witnesses = names.map((name) => ({ name }));
  const sources = {
    config: { audit: { log: { witnesses } } },
    auditTree: { texts: async () => (left.shift() ?? []).map(step) },
    sleep: async () => undefined,
  };
  const checks = await logChecks(sources as unknown as SystemSources);
  expect(left).toEqual([]);
  return checks.map(({ state, detail }) => `${state}: ${detail}`);
}

test("says of each witness whether it cosigns the log, and waits for one that is a step behind", async () => {
  expect(await states(["w1"], [5, 5])).toEqual(["ok: witness w1 cosigns it"]);
  expect(await states(["w1", "w2"], [5, 3, 0], [7, 7, 0])).toEqual([
    "ok: witness w1 cosigns it",
    "warning: witness w2 has cosigned 0 of 5 leaves, and no more in 7 s",
  ]);
  expect(await states(["w1"], [3, 5])).toEqual([
    "warning: witness w1 has cosigned 5 leaves, and the store's log has 3",
  ]);
  expect(await states(["w1"], [0, 0])).toEqual(["warning: no leader has begun it"]);
  expect(await states([])).toEqual(["ok: the configuration names no witness"]);
});
