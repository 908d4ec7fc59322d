import { randomUUID } from "node:crypto";
import { type KekEntry, kekRecord, type ManagedObject, systemInstance } from "@holdfast/engine";
import { MemoryOwnStore, MemoryRootOfTrust } from "@holdfast/engine/testing";
import type { PushOutcome } from "@holdfast/regions";
import { beforeEach, expect, test } from "vitest";
import { systemIds } from "../base/system.ts";
import { adopt, adoptableOf } from "./root-adopt.ts";

const lost = "local lost";
const name = "local new";
const root = new MemoryRootOfTrust(systemIds, name);

let own: MemoryOwnStore;
/** What the other region got. */
let pushed: ManagedObject[];
/** How many at once. */
let most: number;
let outcome: PushOutcome;
let result: "moved" | "raced";

beforeEach(() => {
  own = new MemoryOwnStore();
  [pushed, most] = [[], 0];
  outcome = "durable";
  result = "moved";
});

/** A KEK that a root key has wrapped for region a, in the store. */
async function kekUnder(rootOfTrust: string): Promise<KekEntry> {
  const wrap = { region: "a", rootOfTrust, rootKeyVersion: "1", blob: new Uint8Array(60) };
  const kek = { id: randomUUID(), createdMs: 1, check: new Uint8Array(8), wraps: [wrap] };
  const entry = { instance: "i", kek };
  const after = kekRecord(entry, false, { us: 1, region: "a" });
  await own.commit(systemInstance, [{ kind: "create", after }], []);
  return entry;
}

const adoptable = (entries: readonly KekEntry[]) => adoptableOf(own, "a", entries, { lost, name });

async function adopted(entries: readonly KekEntry[]): Promise<void> {
  const ring = { rewrap: async () => result };
  const push = async (objects: readonly ManagedObject[]) => {
    pushed.push(...objects);
    most = Math.max(most, objects.length);
    return objects.map(() => outcome);
  };
  await adopt(await adoptable(entries), { ring, root, own, peer: { region: "b", push } });
}

test("the other region gets the keys of this run, and those of an earlier one that may have failed", async () => {
  const [one, two] = [await kekUnder(lost), await kekUnder(name)];
  await adopted([one, two]);
  expect(pushed.map((record) => record.uniqueIdentifier).toSorted()).toEqual(
    [one.kek.id, two.kek.id].toSorted(),
  );
});

test("many keys go to the other region in several pushes", async () => {
  const keks: KekEntry[] = [];
  for (let made = 0; made < 300; made += 1) keks.push(await kekUnder(lost));
  await adopted(keks);
  expect(new Set(pushed.map((record) => record.uniqueIdentifier)).size).toBe(300);
  expect(most).toBe(256);
});

test("a repeat gives the keys to the other region again, and a wrong name is refused", async () => {
  const done = await kekUnder(name);
  await adopted([done]);
  expect(pushed.map((record) => record.uniqueIdentifier)).toEqual([done.kek.id]);
  const other = await kekUnder("local other");
  await expect(adoptable([done, other])).rejects.toThrow(
    `--lost ${lost}: no key of region a is under it; there are keys under ${name}, local other`,
  );
  await expect(adoptable([])).rejects.toThrow("there are keys under none");
});

test("a key that was changed meanwhile ends the command, to be given again", async () => {
  const kek = await kekUnder(lost);
  result = "raced";
  await expect(adopted([kek])).rejects.toMatchObject({
    message: expect.stringMatching(/ was changed meanwhile, .* run this again$/),
    exit: "again",
  });
  expect(pushed).toEqual([]);
});

test.each(["reserved", "refused", "quarantined", "unread"] as const)(
  "a key that the other region did not take (%s) ends the command, to be given again",
  async (told) => {
    const kek = await kekUnder(lost);
    outcome = told;
    await expect(adopted([kek])).rejects.toMatchObject({
      message: expect.stringContaining(`${kek.kek.id} has its new wrap here, and region b did not`),
      exit: "again",
    });
  },
);
