import { expect, test } from "vitest";
import type { CommandLine, Connection, Outcome } from "../connection/connection.ts";
import { loadScripts } from "../connection/scripts.ts";
import { nodeTimers } from "../connection/timers.ts";
import { CoveredNumbers } from "./covered.ts";
import { GroupCommit } from "./group-commit.ts";
import { LeaseKeeper } from "./lease-keeper.ts";
import { ReplicaSet } from "./replica-set.ts";

const storeId = "00112233445566778899aabbccddeeff";
const scripts = loadScripts();
const address = "a:1";
const settings = { markerMs: 1, barrierTimeoutMs: 60_000, sliceMs: 1_000 };
const marked = ["committed", 0, Buffer.from(storeId, "hex"), "1", "0", "", "1", ""];

/** The group commit with a Redis that refuses notes of what is covered; `notes` are those that it was sent. */
function refusingNotes() {
  const notes: CommandLine[] = [];
  const answers = new Map<unknown, unknown>([
    [scripts.marker.sha, marked],
    [scripts.commit.sha, ["committed", 7]],
    [scripts["note-covered"].sha, ["notInitialised"]],
    ["waitaof", [1, 0]],
    ["role", ["master", 0, []]],
  ]);
  let destroy: (reason: string) => void = () => undefined;
  const closed = new Promise<string>((resolve) => {
    destroy = resolve;
  });
  const connection = {
    address,
    closed,
    destroy,
    batch: async (lines: readonly CommandLine[]): Promise<readonly Outcome[]> => {
      notes.push(...lines.filter(([, sha]) => sha === scripts["note-covered"].sha));
      return lines.map(([name, sha]) => ({ value: answers.get(name === "evalsha" ? sha : name) }));
    },
  } as Partial<Connection> as Connection;
  const clock = { monotonicMs: () => performance.now(), wallMs: () => Date.now() };
  const rules = { storeLeaseMs: 60_000, promotion: "nobody", sentinels: 0 } as const;
  const nothing = () => undefined;
  const replicas = new ReplicaSet(address, 0);
  replicas.load([], "1");
  const covered = new CoveredNumbers();
  const lease = new LeaseKeeper(rules, clock, nothing, nodeTimers);
  const told = { observe: nothing, onReplicas: nothing, nudge: nothing, onTime: nothing };
  const keys = { checkFormat: nothing, meetKeys: nothing, followKeys: nothing };
  const parts = { connection, number: 1, storeId, scripts, replicas, covered, lease };
  const groupCommit = new GroupCommit({ ...parts, ...told, ...keys, timers: nodeTimers }, settings);
  const commit = (written?: () => void) =>
    groupCommit.submit(scripts.commit, 3, Array(12).fill("k"), [Buffer.alloc(0)], { written });
  return { groupCommit, notes, commit };
}

test.each([
  ["alone", false],
  ["in a batch", true],
])("a refused note of what is covered ends the group commit: %s", async (_, inBatch) => {
  const { groupCommit, notes, commit } = refusingNotes();
  let next: Promise<unknown> | undefined;
  // What waits when the barrier comes back takes the note along.
  const submitNext = () => {
    next = commit().catch((error: unknown) => error);
  };
  expect(await commit(inBatch ? submitNext : undefined)).toMatchObject({ number: 7 });
  const failure = await groupCommit.ended;
  expect(failure).toMatchObject({
    failure: "notInitialised",
    message: `this node began with store ${storeId}, but Redis ${address} holds no store; restore the data of ${storeId}`,
  });
  expect(await next).toBe(inBatch ? failure : undefined);
  const asked = ["{p03}:head", Buffer.from(storeId, "hex"), "7"];
  expect(notes.map((line) => line.slice(3))).toEqual([asked]);
});
