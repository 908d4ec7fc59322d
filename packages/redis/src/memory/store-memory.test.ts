import { randomBytes, randomUUID } from "node:crypto";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Event, RootOfTrustError, type RootOfTrustFailure } from "@holdfast/engine";
import { MemoryRootOfTrust, sampleObject } from "@holdfast/engine/testing";
import { expect, test, vi } from "vitest";
import type { MemoryFile } from "../connection/options.ts";
import type { StoreTimers } from "../connection/timers.ts";
import { DiskMemoryFile } from "./memory-file.ts";
import { OlderRecords, type StoreSession } from "./older.ts";
import { StoreMemory } from "./store-memory.ts";

const storeId = "00112233445566778899aabbccddeeff";
const root = new MemoryRootOfTrust({ uuid: () => "", randomBytes: (n) => randomBytes(n) }, "tests");
const never = new Promise<never>(() => undefined);

/** Time that passes only while somebody waits for it. */
class Time {
  nowMs = 0;
  #waiting: { readonly atMs: number; readonly run: () => void }[] = [];
  readonly timers: StoreTimers = {
    after: (ms, run) => {
      const one = { atMs: this.nowMs + ms, run };
      this.#waiting.push(one);
      setImmediate(() => this.#next());
      return () => {
        this.#waiting = this.#waiting.filter((other) => other !== one);
      };
    },
    soon: (run) => {
      setImmediate(run);
    },
  };

  #next(): void {
    const [first] = this.#waiting.toSorted((a, b) => a.atMs - b.atMs);
    if (first === undefined) return;
    this.#waiting = this.#waiting.filter((other) => other !== first);
    this.nowMs = Math.max(this.nowMs, first.atMs);
    first.run();
  }
}

/** A file whose disk can hang; it answers again when `hangs` is false. */
class TestFile implements MemoryFile {
  readonly name = "store.memory";
  content: Buffer | undefined;
  hangs = false;
  #goOn: (() => void)[] = [];

  async read() {
    await this.#disk();
    return this.content && Buffer.from(this.content);
  }

  async replace(content: AsyncIterable<Buffer>) {
    const parts: Buffer[] = [];
    for await (const bytes of content) parts.push(bytes);
    await this.#disk();
    this.content = Buffer.concat(parts);
  }

  async append(bytes: Buffer) {
    await this.#disk();
    this.content = Buffer.concat([this.content ?? Buffer.alloc(0), bytes]);
  }

  async close() {
    if (this.hangs) await never;
  }

  answer() {
    this.hangs = false;
    for (const goOn of this.#goOn.splice(0)) goOn();
  }

  async #disk() {
    if (this.hangs) await new Promise<void>((resolve) => this.#goOn.push(resolve));
  }
}

function memoryOf(file: MemoryFile, time = new Time()) {
  const events: Event[] = [];
  const options = { file, node: "a1", root, randomBytes: (n: number) => randomBytes(n) };
  const context = {
    ...{ region: "a", timers: time.timers, now: () => time.nowMs },
    observe: (event: Event) => events.push(event),
  };
  const states = () =>
    events.flatMap((one) => (one.type === "rollbackMemory" ? [`${one.state}: ${one.reason}`] : []));
  const doubts = () => events.flatMap((one) => (one.type === "storeDoubt" ? [one.doubted] : []));
  return { memory: new StoreMemory(options, context), time, states, doubts };
}

/** A root of trust that refuses so many calls. */
function refusing(failure: RootOfTrustFailure, times: number) {
  let left = times;
  return {
    describe: () => root.describe(),
    unwrap: (blob: Uint8Array, data: Uint8Array) => {
      left -= 1;
      return left >= 0
        ? Promise.reject(new RootOfTrustError(failure, "no"))
        : root.unwrap(blob, data);
    },
  };
}

const object = sampleObject("i", randomUUID());

/** A file that has one record. */
async function kept(): Promise<TestFile> {
  const file = new TestFile();
  const { memory } = memoryOf(file);
  await memory.open(storeId, root);
  memory.learnWritten(3, object, 7);
  await memory.close();
  return file;
}

test.each([
  ["gone", 1],
  ["denied", 1_000],
  ["unavailable", 1_000],
] as const)(
  "a root of trust that does not open the file (%s) keeps no store closed",
  async (failure, times) => {
    const { memory, time, states } = memoryOf(await kept());
    await memory.open(storeId, refusing(failure, times));
    expect(time.nowMs).toBeLessThan(60_000);
    expect(memory.size).toBe(0);
    expect(states()[0]).toMatch(/^missing: the root of trust does not open the key/);
    memory.learnWritten(3, object, 8);
    await memory.flush();
    expect(states().at(-1)).toBe("kept: ");
  },
);

test("a root of trust that answers again soon opens the file", async () => {
  const { memory, states } = memoryOf(await kept());
  await memory.open(storeId, refusing("unavailable", 2));
  expect(memory.get(3, object.uniqueIdentifier)?.version).toBe(7);
  expect(states()).toEqual([]);
});

test("a disk that hangs at the start keeps no store closed", async () => {
  const file = await kept();
  file.hangs = true;
  const { memory, states } = memoryOf(file);
  await memory.open(storeId, root);
  expect(states()).toEqual(["missing: store.memory cannot be read: its disk does not answer"]);
});

test("a disk that hangs holds one answer back, for a second, and what was learned is written when it answers", async () => {
  const file = new TestFile();
  const { memory, time, states } = memoryOf(file);
  await memory.open(storeId, root);
  await memory.flush();
  file.hangs = true;
  memory.learnWritten(3, object, 8);
  const beganMs = time.nowMs;
  await memory.flush();
  expect(time.nowMs - beganMs).toBe(1_000);
  for (let times = 0; times < 100; times += 1) await memory.flush();
  expect(time.nowMs - beganMs).toBe(1_000);
  time.nowMs += 10_000;
  await memory.flush();
  expect(states().at(-1)).toBe("failed: store.memory cannot be written: its disk does not answer");
  // More than may wait for the disk.
  const header = Buffer.alloc(74, 1);
  const many = 150_000;
  for (let times = 0; times < many; times += 1) memory.learn(4, randomBytes(16), header);
  memory.noteCovered(4, many);
  file.answer();
  await vi.waitUntil(() => states().at(-1) === "kept: ", 60_000);
  await memory.flush();
  await vi.waitUntil(() => (file.content?.length ?? 0) > many * 32, 60_000);
  await memory.close();
  const { memory: again } = memoryOf(file);
  await again.open(storeId, root);
  expect(again.size).toBe(many + 1);
  expect(again.covered(4)).toBe(many);
  expect(again.get(3, object.uniqueIdentifier)?.version).toBe(8);
});

const numbers = (of3: number) => Array.from({ length: 65 }, (_, at) => (at === 3 ? of3 : 0));

/** What a node that starts with the file has. */
async function restarted(file: TestFile, id = storeId) {
  const again = memoryOf(file);
  await again.memory.open(id, root);
  return again;
}

test("no answer of Redis makes a record older", async () => {
  const { memory } = memoryOf(await kept());
  await memory.open(storeId, root);
  const events: Event[] = [];
  const older = new OlderRecords(
    memory,
    (event) => events.push(event),
    () => 0,
  );
  const lost = new Error("Command timed out");
  const connection = { address: "a:1", batch: async () => [{ error: lost }] };
  const reading: StoreSession["reading"] = (work) => work({ connection } as never);
  const session = { storeId, storageKeys: {}, reading } as StoreSession;
  expect(older.seems(3, object.uniqueIdentifier, null)).toBe(true);
  const confirmed = older.confirm(session, 3, [object.uniqueIdentifier]);
  await expect(confirmed).rejects.toMatchObject({ failure: "timeout" });
  expect(events).toEqual([]);
});

test("a store with lower numbers than covered ones is doubted, also after a restart and with higher ones", async () => {
  const file = new TestFile();
  const { memory } = await restarted(file);
  memory.learnWritten(3, object, 7);
  memory.noteCovered(3, 20);
  memory.compareNumbers(numbers(20), true);
  expect(memory.doubted).toBe(false);
  await memory.close();
  const { memory: next, doubts } = await restarted(file);
  // At a primary that was replaced there is no full barrier.
  next.compareNumbers(numbers(19), false);
  expect(next.doubted).toBe(true);
  next.compareNumbers(numbers(20), false);
  expect([next.doubted, ...doubts()]).toEqual([false]);
  next.compareNumbers(numbers(19), true);
  expect(next.doubted).toBe(true);
  expect(doubts()).toEqual([true]);
  // What is not remembered is not learned from such a store.
  const other = sampleObject("i", randomUUID());
  next.learnWritten(3, other, 1);
  next.learnWritten(3, object, 8);
  await next.close();
  const { memory: last, doubts: told } = await restarted(file);
  last.compareNumbers(numbers(30), true);
  expect(told()).toEqual([true]);
  expect(last.get(3, other.uniqueIdentifier)).toBeUndefined();
  expect(last.get(3, object.uniqueIdentifier)?.version).toBe(8);
  last.endDoubt(numbers(5));
  expect(told()).toEqual([true, false]);
  await last.close();
  const { memory: after } = await restarted(file);
  after.compareNumbers(numbers(5), true);
  expect(after.doubted).toBe(false);
  after.compareNumbers(numbers(Number.NaN), true);
  expect(after.doubted).toBe(true);
});

test("orders are carried out once: of a record, of the store, and after a restart", async () => {
  const file = new TestFile();
  const { memory } = await restarted(file);
  const others = Array.from({ length: 50 }, () => sampleObject("i", randomUUID()));
  for (const [at, one] of others.entries()) memory.learnWritten(at % 65, one, 7);
  memory.noteCovered(3, 20);
  memory.compareNumbers(numbers(1), true);
  const [first] = others;
  const record = { number: 5, record: first?.uniqueIdentifier };
  expect(memory.accept([record])).toBe(true);
  expect(memory.get(0, record.record ?? "")).toBeUndefined();
  expect(memory.size).toBe(49);
  expect([...memory.remembered(4)].flatMap(({ ids }) => ids).toSorted()).toEqual(
    others
      .slice(1)
      .map(({ uniqueIdentifier }) => uniqueIdentifier)
      .toSorted(),
  );
  expect(memory.doubted).toBe(true);
  await memory.close();
  const { memory: next } = await restarted(file);
  expect(next.size).toBe(49);
  expect(next.accept([record])).toBe(false);
  const whole = { number: 6, record: undefined };
  expect(next.accept([record, whole])).toBe(true);
  expect([next.size, next.doubted, next.covered(3)]).toEqual([0, false, 0]);
  next.learnWritten(3, object, 1);
  await next.close();
  const { memory: last } = await restarted(file);
  expect(last.accept([whole])).toBe(false);
  expect([last.size, last.doubted]).toEqual([1, false]);
});

test("a store can be closed while its disk hangs", async () => {
  const file = await kept();
  const { memory } = memoryOf(file);
  await memory.open(storeId, root);
  await memory.flush();
  file.hangs = true;
  memory.learnWritten(3, object, 8);
  await memory.close();
});

test("what a process left that ended while it wrote the file is removed", async () => {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-memory-"));
  try {
    for (const name of ["m.17.new", "m.4242.new", "m.other.new", "n.17.new"]) {
      await writeFile(join(folder, name), "x");
    }
    const file = new DiskMemoryFile(join(folder, "m"));
    await file.replace(
      (async function* () {
        yield Buffer.from("content");
      })(),
    );
    await file.close();
    expect((await readdir(folder)).toSorted()).toEqual(["m", "m.other.new", "n.17.new"]);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("which storage keys count is remembered, appended or written anew, and begins anew with another store", async () => {
  const file = new TestFile();
  const check = new Uint8Array(16).fill(7);
  const { memory } = memoryOf(file);
  await memory.open(storeId, root);
  expect(memory.keys).toBeUndefined();
  memory.noteKeys({ step: 3, check });
  await memory.flush();
  memory.noteKeys({ step: 5, check });
  // An earlier step teaches nothing.
  memory.noteKeys({ step: 4, check: new Uint8Array(16) });
  await memory.close();
  const again = memoryOf(file).memory;
  await again.open(storeId, root);
  expect(again.keys).toMatchObject({ step: 5, check });
  await again.open("ff".repeat(16), root);
  expect(again.keys).toBeUndefined();
  await again.close();
  const other = memoryOf(file).memory;
  await other.open("ff".repeat(16), root);
  expect(other.keys).toBeUndefined();
});

test("which storage keys count stays remembered when an operator accepts the whole store", async () => {
  const file = new TestFile();
  const keys = { step: 5, check: new Uint8Array(16).fill(7) };
  const { memory } = await restarted(file);
  memory.noteKeys(keys);
  expect(memory.accept([{ number: 1, record: undefined }])).toBe(true);
  expect(memory.keys).toMatchObject(keys);
  await memory.close();
  const { memory: again } = await restarted(file);
  expect(again.keys).toMatchObject(keys);
});
