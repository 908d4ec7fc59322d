import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type AuditEvent,
  chainHash,
  decodeAudit,
  encodeAudit,
  partitionOf,
  systemInstance,
} from "@holdfast/engine";
import { MemoryOwnStore } from "@holdfast/engine/testing";
import { AuditChain, AuditRetention, AuditShip, type Duty } from "@holdfast/regions";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { systemClock as timers } from "../../base/system.ts";
import { type CadfSettings, renderCadf } from "../cadf.ts";
import { FileSink } from "../sinks/file-sink.ts";
import { verifyFiles } from "./verify-files.ts";
import { verifyStore } from "./verify-store.ts";

const cadf: CadfSettings = { region: "a", account: "acme", names: "current" };
const instance: string = randomUUID();
const partition = partitionOf(instance);

let own: MemoryOwnStore;
let folder: string;
let file: string;

beforeEach(async () => {
  own = new MemoryOwnStore({ auditEntriesMax: 1_024 });
  folder = await mkdtemp(join(tmpdir(), "holdfast-audit-"));
  file = join(folder, "audit.jsonl");
});
afterEach(() => rm(folder, { recursive: true }));

const observe = (): void => undefined;
let requests = 0;

function eventsOf(requestId: string): readonly AuditEvent[] {
  const action = { time: 1_795_000_000_000, action: "kmip-key.create", initiator: "i", requestId };
  return [
    { ...action, outcome: "pending" },
    { ...action, outcome: "success" },
  ];
}

async function append(count: number, of = instance): Promise<void> {
  for (let at = 0; at < count; at += 1) {
    requests += 1;
    await own.appendAudit(of, eventsOf(`r${requests}`));
  }
}

async function run(duty: Duty): Promise<void> {
  const signal = new AbortController().signal;
  while ((await duty.run({ epoch: 1, signal, active: () => true })).left > 0);
}

const chain = () => run(new AuditChain({ log: own.audit, store: own, timers, observe }));
const retain = () =>
  run(
    new AuditRetention({
      store: own,
      ...{ log: own.audit, timers, observe, sinks: [], ageMs: 1e15 },
      bounds: async () => ({ bytesMax: 2_000 + 64 * 10, hardMax: 1e15 }),
    }),
  );

/** Ships what is chained into a file, as a leader of that epoch does. */
async function ship(path = file, bytesMax = 1e9): Promise<void> {
  const options = { path, bytesMax, ageMs: 1e12, filesMax: 100, clock: timers };
  await using sink = new FileSink(options, cadf);
  await run(new AuditShip({ log: own.audit, store: own, sink, timers, observe }));
}

async function entry(number: number): Promise<Uint8Array> {
  const range = { from: { after: number - 1 }, limit: 1, covered: false };
  return (await own.audit.entries(partition, range))[0]?.bytes ?? new Uint8Array();
}

describe("the check of the store", () => {
  const verify = () => verifyStore(own.audit);

  test("finds no fault after retention, at the hard bound, and in entries that are not chained", async () => {
    await append(600);
    await append(3, systemInstance);
    await chain();
    await append(2);
    expect(await verify()).toMatchObject({ entries: 605, unchained: 2, findings: [] });
    await retain();
    const retained = await verify();
    expect(retained.findings).toEqual([]);
    expect(retained.notes).toEqual([expect.stringMatching(/removed by retention$/)]);
    expect(retained.entries).toBeLessThan(100);
    await append(2_000);
    await chain();
    const bounded = await verify();
    expect(bounded.findings).toEqual([]);
    expect(bounded.entries).toBeGreaterThan(1_000);
  });

  test.each([
    ["changed", () => eventsOf("another")],
    ["removed", () => undefined],
  ])("finds an event that was %s, at any place", async (_name, forged) => {
    await append(600);
    await chain();
    for (const number of [1, 100, 256, 257, 599, 600]) {
      const kept = await entry(number);
      const events = forged();
      own.audit.tamper(partition, number, events && encodeAudit(instance, events)[0]);
      const { findings } = await verify();
      expect({ number, findings: findings.length }).toEqual({
        number,
        findings: expect.toSatisfy((n) => n > 0),
      });
      own.audit.tamper(partition, number, kept);
    }
    // All entries are back in their places.
    expect((await verify()).findings).toEqual([]);
  });

  test.each([599, 0])(
    "finds that the end was cut off, and the count set back to %i",
    async (last) => {
      await append(600);
      await chain();
      const standings = await own.audit.standings();
      own.audit.standings = async () =>
        standings.map((standing, at) => (at === partition ? { ...standing, last } : standing));
      expect((await verify()).findings).toEqual([
        expect.stringMatching(new RegExp(`entry ${last === 0 ? "1 to 600" : "600"}: .*removed`)),
      ]);
    },
  );

  test("finds two entries that changed places, and reports each fault once", async () => {
    await append(1_000);
    await chain();
    const [one, other] = [await entry(300), await entry(301)];
    own.audit.tamper(partition, 300, other);
    own.audit.tamper(partition, 301, one);
    own.audit.tamper(partition, 900, Buffer.of(9, 9));
    const { findings } = await verify();
    expect(findings).toEqual([
      expect.stringMatching(/entry among 257 to 512: not what was chained/),
      expect.stringMatching(/entry 900: does not decode/),
      expect.stringMatching(/entry among 769 to 1000: not what was chained/),
    ]);
  });
});

describe("the check of files", () => {
  const verify = (...more: string[]) => verifyFiles([file, ...more]);
  const lines = async (path = file) => (await readFile(path, "utf8")).trimEnd().split("\n");
  const rewrite = (all: readonly string[], path = file) => writeFile(path, `${all.join("\n")}\n`);

  test("finds no fault in rotated files, in files of two leaders, and in lines that were sent again", async () => {
    const other = join(folder, "other.jsonl");
    await append(30);
    await append(5, systemInstance);
    await chain();
    await ship(file, 20_000);
    await append(10);
    await chain();
    await ship(other);
    await append(10);
    await chain();
    await ship(file, 20_000);
    const verdict = await verify(other);
    expect(verdict).toMatchObject({ events: 110, findings: [], notes: [] });
    expect(verdict.files).toBeGreaterThan(2);
    // As from a leader that could not record what it had shipped.
    await rewrite([...(await lines()), ...(await lines())]);
    expect((await verify(other)).findings).toEqual([]);
    expect((await verifyFiles([other])).notes).toHaveLength(1);
    expect((await verify()).findings).toHaveLength(1);
  });

  test.each<[string, (all: string[]) => string[]]>([
    ["a line was removed", (all) => all.toSpliced(21, 1)],
    ["an entry was removed", (all) => all.toSpliced(20, 2)],
    ["two lines changed places", (all) => all.with(20, all[21] ?? "").with(21, all[20] ?? "")],
    [
      "two entries changed places",
      (all) => [...all.slice(0, 20), ...all.slice(22, 24), ...all.slice(20, 22), ...all.slice(24)],
    ],
    [
      "an outcome was changed",
      (all) => all.with(21, (all[21] ?? "").replace('"success"', '"failure"')),
    ],
    [
      "a time was changed",
      (all) => all.with(21, (all[21] ?? "").replace('"eventTime":"2', '"eventTime":"1')),
    ],
    [
      "a region was changed",
      (all) =>
        all.with(
          21,
          (all[21] ?? "")
            .replaceAll('"region":"a"', '"region":"b"')
            .replaceAll(":vmware-solutions:a:", ":vmware-solutions:b:"),
        ),
    ],
    [
      "an event was added",
      (all) => all.toSpliced(20, 0, (all[20] ?? "").replace('"number":', '"number":9')),
    ],
    [
      "an account is invalid",
      (all) => all.with(21, (all[21] ?? "").replace(/(logSourceCRN":"[^"]*:a\/)acme/, "$1%zz")),
    ],
    [
      "a field has another value before its own",
      (all) => all.with(21, (all[21] ?? "").replace("{", '{"outcome":"failure",')),
    ],
    [
      "a line has far too much",
      (all) => all.with(21, (all[21] ?? "").replace("{", `{"outcome":"${"\\n".repeat(2e7)}",`)),
    ],
    ["a line is cut", (all) => all.with(21, (all[21] ?? "").slice(0, 90))],
    ["a line has lost its proof", (all) => all.with(21, '{"action":"x"}')],
  ])("finds that %s", async (_name, change) => {
    await append(40);
    await chain();
    await ship();
    await rewrite(change(await lines()));
    expect((await verify()).findings.length).toBeGreaterThan(0);
  });

  /** What somebody makes of an entry's line: its number and its hash, and the lines that another entry would have. */
  function forgedLines(
    real: string | undefined,
    [entry = Buffer.of()]: readonly Buffer[],
  ): string[] {
    const { holdfast } = JSON.parse(real ?? "");
    const { store: storeId, partition, number } = holdfast;
    return renderCadf(decodeAudit(entry), { storeId, partition, number }, cadf).map((event) => {
      return JSON.stringify({
        ...event,
        holdfast: { ...holdfast, entry: entry.toString("base64") },
      });
    });
  }

  test.each<[string, (all: string[], forged: readonly string[]) => string[]]>([
    ["all of its lines", (all, forged) => all.toSpliced(2, 2, ...forged)],
    ["the line of its outcome only", (all, forged) => all.with(3, forged[1] ?? "")],
    ["lines that look as if sent again", (all, forged) => [...all, ...forged]],
  ])("finds an entry that says something else in %s", async (_name, change) => {
    await append(4);
    await chain();
    await ship();
    const all = await lines();
    await rewrite(change(all, forgedLines(all[2], encodeAudit(instance, eventsOf("forged")))));
    expect((await verify()).findings[0]).toMatch(/number 2: (does not follow|occurs twice)/);
  });

  test("finds another chain and a missing end by comparing with the store", async () => {
    await append(300);
    await chain();
    await ship();
    const against = { log: own.audit, region: "a", account: "acme" };
    expect((await verifyFiles([file], against)).findings).toEqual([]);
    const all = await lines();
    await rewrite(all.slice(0, -2));
    expect((await verify()).findings).toEqual([]);
    expect((await verifyFiles([file], against)).findings).toEqual([
      expect.stringContaining("are in no file: removed"),
    ]);
    const other = new MemoryOwnStore();
    for (let at = 0; at < 300; at += 1) await other.appendAudit(instance, eventsOf("forged"));
    own = other;
    await chain();
    await rm(file);
    await ship();
    expect((await verify()).findings).toEqual([]);
    expect((await verifyFiles([file], against)).findings).toEqual([
      expect.stringContaining("another chain than the store"),
    ]);
  });

  test("takes lines whose JSON is spaced and escaped otherwise", async () => {
    await append(2);
    await chain();
    await ship();
    const spaced = (await lines()).map((line) =>
      line.replaceAll(',"', ' , "').replaceAll("/", "\\/"),
    );
    await rewrite(spaced);
    expect(await verify()).toMatchObject({ events: 4, findings: [] });
  });

  test("takes the line of a damaged entry only as the sink wrote it", async () => {
    await append(2);
    own.audit.tamper(partition, 2, Buffer.of(9, 9));
    await chain();
    await ship();
    expect((await verify()).findings).toEqual([]);
    const all = await lines();
    const changed = (all[2] ?? "").replace('"outcome":"failure"', '"outcome":"success"');
    await rewrite(all.with(2, changed));
    expect((await verify()).findings).toEqual([expect.stringContaining(":3: number 2: does not")]);
  });

  test("finds a forged end by comparing with the store, although the store has more by now", async () => {
    await append(10);
    await chain();
    await ship();
    const all = await lines();
    await append(1);
    await chain();
    const [entry = Buffer.of()] = encodeAudit(instance, eventsOf("forged"));
    const before = Buffer.from(JSON.parse(all[17] ?? "").holdfast.hash, "hex");
    const hash = Buffer.from(chainHash(before, 10, entry)).toString("hex");
    const forged = forgedLines(all[18], [entry]).map((line) => {
      const event = JSON.parse(line);
      return JSON.stringify({ ...event, holdfast: { ...event.holdfast, hash } });
    });
    await rewrite([...all.slice(0, 18), ...forged]);
    expect((await verify()).findings).toEqual([]);
    const against = { log: own.audit, region: "a", account: "acme" };
    expect((await verifyFiles([file], against)).findings).toEqual([
      expect.stringContaining("number 10: the files have another chain than the store"),
    ]);
  });

  test("finds no fault in files to which a leader ships meanwhile", async () => {
    await append(3);
    await chain();
    await ship();
    const sinkPoints = own.audit.sinkPoints.bind(own.audit);
    const log = Object.assign(own.audit, {
      sinkPoints: async (sink: string) => {
        Object.assign(log, { sinkPoints });
        await append(3);
        await chain();
        await ship();
        return await sinkPoints(sink);
      },
    });
    const against = { log, region: "a", account: "acme" };
    expect(await verifyFiles([file], against)).toMatchObject({ findings: [], events: 12 });
  });

  test("finds no fault in files that are rotated while others are read, and reads a pipe to its end", async () => {
    own = new MemoryOwnStore({ auditEntriesMax: 10_000 });
    await append(20);
    await chain();
    const long = join(folder, "long.jsonl");
    await ship(long);
    await append(3);
    await chain();
    await ship();
    const pipe = join(folder, "pipe");
    execFileSync("mkfifo", [pipe]);
    const against = { log: own.audit, region: "a", account: "acme" };
    const checked = verifyFiles([file, pipe], against);
    // The file before it was opened then.
    const writer = await open(pipe, "w");
    for (let rotation = 0; rotation < 4; rotation += 1) {
      await append(1);
      await chain();
      await ship(file, 1);
    }
    await writer.writeFile(await readFile(long));
    await writer.close();
    expect(await checked).toMatchObject({ findings: [], files: expect.toSatisfy((n) => n > 2) });
  });

  test("takes a last line without its end for half of one", async () => {
    await append(3);
    await chain();
    await ship();
    const all = await readFile(file, "utf8");
    await writeFile(file, all.slice(0, -1));
    expect(await verify()).toMatchObject({ findings: [], events: 6 });
    await writeFile(file, all.slice(0, -90));
    expect((await verify()).findings[0]).toContain("audit.jsonl:6: ");
  });

  test("finds no fault in entries that the store gave up before shipping if an event reports it", async () => {
    await append(5);
    await chain();
    await ship();
    for (let round = 0; round < 8; round += 1) {
      await append(250);
      await chain();
    }
    await ship();
    await chain();
    await ship();
    const { findings, notes } = await verify();
    expect(findings).toEqual([]);
    expect(notes).toEqual([expect.stringMatching(/number 6 to \d+: given up by the store/)]);
  });

  test("does not believe an event about given up entries that follows on nothing", async () => {
    await append(9);
    await append(3, systemInstance);
    await chain();
    await ship();
    const all = await lines();
    const ofSystem = all.findIndex((line) => line.includes('"partition":64'));
    const told = { partition, from: 4, to: 6 };
    const event = { ...eventsOf("r")[0], action: "audit.drop", outcome: "failure", detail: told };
    const forged = forgedLines(
      all[ofSystem + 2],
      encodeAudit(systemInstance, [event as AuditEvent]),
    );
    await rewrite([
      ...[...all.slice(0, 6), ...all.slice(12, ofSystem)],
      ...[...forged, ...all.slice(ofSystem + 4)],
    ]);
    const against = { log: own.audit, region: "a", account: "acme" };
    expect((await verifyFiles([file], against)).findings).toEqual([
      expect.stringMatching(/number 4 to 6: missing: removed/),
    ]);
  });

  test("reports a file that does not exist", async () => {
    await expect(verify()).rejects.toThrow("--file");
    await expect(verifyFiles([join(folder, "no", "file")])).rejects.toThrow("--file");
  });
});
