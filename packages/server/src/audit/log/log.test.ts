import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import {
  type AuditStanding,
  headsHash,
  headsLeaf,
  leafHash,
  MerkleRange,
  partitionOf,
  readCheckpointNote,
  readLeaves,
  readRange,
  readSigned,
  rootFromInclusion,
  treeOfHeads,
  writeHeads,
  writeLeaves,
  writeNoteKey,
  writeRange,
  writeSigned,
} from "@holdfast/engine";
import { MemoryOwnStore, MemoryWitness } from "@holdfast/engine/testing";
import {
  AuditChain,
  AuditTree,
  AuditWitness,
  chainPoint,
  type Duty,
  type Witness,
} from "@holdfast/regions";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { systemClock } from "../../base/system.ts";
import { partitionName } from "../verify/findings.ts";
import type { LogTrust } from "../verify/verify-log.ts";
import { verifyStore } from "../verify/verify-store.ts";
import { initLogKey, type LogKey, readLogKey } from "./log-key.ts";
import { proveEvent, writeProof } from "./prove.ts";
import { HttpWitness } from "./witness-client.ts";

const folder = mkdtempSync(join(tmpdir(), "holdfast-log-"));
afterAll(() => rm(folder, { recursive: true }));

const settingsOf = (name: string) => ({ keyFile: join(folder, name), name: "log.example/a" });

describe("a witness over HTTP", () => {
  let answer: (request: IncomingMessage, response: ServerResponse) => unknown;
  let witness: HttpWitness;
  const server = createServer((request, response) => void answer(request, response));
  const key = new MemoryWitness("w1").key;
  const none = new AbortController().signal;
  const ask = () => witness.add({ old: 3, proof: [Buffer.alloc(32)], note: "a note\n" }, none);

  beforeAll(async () => {
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const url = `http://127.0.0.1:${port}/wit/`;
    witness = new HttpWitness({ name: "w1", url, key: writeNoteKey(key), ca: undefined });
  });
  afterAll(() => void server.close());

  test("gets the request in the form of C2SP", async () => {
    let got: unknown;
    answer = async (request, response) => {
      got = { method: request.method, url: request.url, body: await text(request) };
      response.end("lines");
    };
    expect(await ask()).toEqual({ lines: "lines" });
    const body = `old 3\n${Buffer.alloc(32).toString("base64")}\n\na note\n`;
    expect(got).toEqual({ method: "POST", url: "/wit/add-checkpoint", body });
  });

  test.each([
    [409, "17\n", { size: 17 }],
    [422, "", { disagrees: expect.stringContaining("another history") }],
  ])("that answers %d is understood", async (status, body, expected) => {
    answer = (_, response) => response.writeHead(status).end(body);
    expect(await ask()).toEqual(expected);
  });

  test.each([
    [409, "017\n", "without its size"],
    [409, "", "without its size"],
    [403, "", "does not know this log or its key"],
    [404, "", "does not know this log or its key"],
    [301, "", "answered 301"],
    [500, "a secret", /answered 500$/],
    [200, "x".repeat(20_000), "too long"],
  ])("that answers %d wrongly is an error", async (status, body, says) => {
    answer = (_, response) => response.writeHead(status).end(body);
    await expect(ask()).rejects.toThrow(says);
  });

  test("that closes the connection, or is not there, is an error", async () => {
    answer = (request) => request.socket.destroy();
    await expect(ask()).rejects.toThrow(/^witness http:/);
    const url = "http://127.0.0.1:1";
    witness = new HttpWitness({ name: "w1", url, key: writeNoteKey(key), ca: undefined });
    await expect(ask()).rejects.toThrow("ECONNREFUSED");
  });
});

describe("proofs and checks", () => {
  const instance: string = randomUUID();
  const partition = partitionOf(instance);
  let own: MemoryOwnStore;
  let log: LogKey;
  let witness: MemoryWitness;
  let trust: LogTrust;
  let bytesMax: number;

  beforeEach(() => {
    const settings = settingsOf(`${randomUUID()}.pem`);
    initLogKey(settings);
    log = readLogKey(settings);
    own = new MemoryOwnStore();
    witness = new MemoryWitness("w1", log.key);
    trust = { key: log.key, witnesses: [witness], clock: systemClock };
    bytesMax = 1e9;
  });

  const context = { epoch: 1, signal: new AbortController().signal, active: () => true };

  async function step(count: number, isAsked = true): Promise<AuditTree> {
    const fixed = { action: "kmip-key.read", initiator: "i", requestId: "r" };
    const event = { time: 1, outcome: "success", ...fixed } as const;
    await own.appendAudit(
      instance,
      Array.from({ length: count }, () => event),
    );
    const options = { log: own.audit, timers: systemClock, observe: () => undefined };
    const size = async () => bytesMax;
    const tree = new AuditTree({
      ...{ ...options, signer: log.signer, witnesses: ["w1"], bytesMax: size },
    });
    const duties: Duty[] = [new AuditChain({ ...options, store: own }), tree];
    if (isAsked) duties.push(new AuditWitness({ ...options, tree, witness }));
    for (const duty of duties) await duty.run(context);
    return tree;
  }

  const idOf = (number: number) => `${own.storeId}-${partition}-${number}-o`;
  const prove = (number: number) => proveEvent(own.audit, trust, idOf(number));

  test("each event is proven, also when older leaves are gone", async () => {
    bytesMax = 40 * 10;
    for (const count of [1, 7, 2, 5, 4]) await step(count);
    const proven: number[] = [];
    for (let number = 1; number <= 19; number += 1) {
      const found = await prove(number).catch(() => undefined);
      if (found === undefined) continue;
      proven.push(number);
      const [head = "", ...rest] = found.proof.split("\n\n");
      const [, index = "", ...path] = head.split("\n");
      const note = readCheckpointNote(rest.join("\n\n"));
      const hashes = path.map((hash) => Buffer.from(hash, "base64"));
      const at = Number(index.slice("index ".length));
      const size = note?.size ?? 0;
      expect(rootFromInclusion(at, size, leafHash(found.leaf), hashes)).toEqual(note?.root);
      expect(note?.lines.length).toBe(2);
      expect(found.lines.at(-1)).toMatch(/^cosigned by w1 at 20/);
    }
    expect(proven.length).toBeLessThan(19);
    const message = expect.stringContaining("does not keep the leaf of event");
    await expect(prove(1)).rejects.toMatchObject({ exit: "wrong", message });
    expect(proven).toEqual(Array.from(proven, (_, at) => 20 - proven.length + at));
    expect((await verifyStore(own.audit, trust)).findings).toEqual([]);
  });

  test("what is not proven is refused with one line that says why", async () => {
    await step(3);
    await step(1, false);
    await expect(prove(4)).rejects.toThrow("no witness has cosigned event");
    await expect(prove(9)).rejects.toThrow("does not have event");
    const ask = (event: string) => proveEvent(own.audit, trust, event);
    await expect(ask("a-1-1-o")).rejects.toThrow("of another store");
    for (const bad of ["", "x", `${own.storeId}-129-1-o`, `${own.storeId}-1-1-x`]) {
      await expect(ask(bad)).rejects.toThrow("is not the id of an event");
    }
    own.audit.tamper(partition, 2, Buffer.of(1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0));
    await expect(prove(2)).rejects.toThrow("is not the one that was cosigned");
    trust = { ...trust, witnesses: [] };
    const message = expect.stringContaining("audit.log.witnesses names no witness");
    await expect(prove(3)).rejects.toMatchObject({ exit: "wrong", message });
  });

  test.each(["", ".tlog-proof"])(
    "a proof is written whole or not at all if FILE%s is there",
    (end) => {
      const out = join(folder, randomUUID());
      const there = `${out}${end}`;
      const proof = { leaf: Buffer.of(1), proof: "a proof", lines: [] };
      writeFileSync(there, "kept");
      expect(() => writeProof(proof, out)).toThrow(`--out ${out}: EEXIST`);
      expect(readFileSync(there, "utf8")).toBe("kept");
      rmSync(there);
      expect(readFileSync(writeProof(proof, out), "utf8")).toBe("a proof");
      expect(readFileSync(out)).toEqual(Buffer.of(1));
    },
  );

  test("what is not witnessed is counted; a witness that is out is a note", async () => {
    await step(3);
    await step(2, false);
    expect(await verifyStore(own.audit, trust)).toMatchObject({ unwitnessed: 2, findings: [] });
    witness.isOut = true;
    const { notes, findings } = await verifyStore(own.audit, trust);
    expect(findings).toEqual([]);
    expect(notes.join("\n")).toContain("witness w1 cannot be asked");
    const alone = await verifyStore(own.audit, { ...trust, witnesses: [] });
    expect(alone.notes.join("\n")).toContain("no witness has cosigned any of them");
    expect(alone.unwitnessed).toBe(5);
  });

  test("a witness that neither answers nor is shown to have cosigned is a fault, and nothing is witnessed", async () => {
    await step(4, false);
    witness.isOut = true;
    const { findings, unwitnessed } = await verifyStore(own.audit, trust);
    expect(findings).toEqual([
      "log: witness w1 cannot be asked, and the store shows nothing that it cosigned: out",
    ]);
    expect(unwitnessed).toBe(4);
    // Its answer is enough, but only what the store shows counts as witnessed.
    witness.isOut = false;
    expect(await verifyStore(own.audit, trust)).toMatchObject({ findings: [], unwitnessed: 4 });
  });

  test("a witness's answer counts only if its key signed this checkpoint just now", async () => {
    await step(3);
    const { name, key } = witness;
    const answering = (add: Witness["add"]) => findings({ witnesses: [{ name, key, add }] });
    const unsigned = "log: witness w1 answers without a signature by its configured key";
    expect(await answering(async () => ({ lines: "nonsense" }))).toBe(unsigned);
    expect(await answering(async () => ({ lines: "" }))).toBe(unsigned);
    const other = new MemoryWitness("w1", log.key);
    expect(await answering((request) => other.add({ ...request, old: 0 }))).toBe(unsigned);
    const add = witness.add.bind(witness);
    expect(await answering(add)).toBe("");
    for (const seconds of [1_000, Math.floor(Date.now() / 1000) - 400, Number.MAX_SAFE_INTEGER]) {
      witness.seconds = () => seconds;
      expect(await answering(add)).toContain("somebody repeats an old one, or a clock is wrong");
    }
  });

  test("a kept checkpoint or proof shows without a witness that the end was removed", async () => {
    await step(3);
    const { proof } = await prove(1);
    const alone = { ...trust, witnesses: [], kept: proof };
    expect((await verifyStore(own.audit, alone)).findings).toEqual([]);
    await step(5);
    expect((await verifyStore(own.audit, alone)).findings).toEqual([]);
    own.audit.empty();
    await step(1, false);
    expect((await verifyStore(own.audit, alone)).findings).toEqual([
      expect.stringContaining("given checkpoint has 4 leaves, and the store's log 2"),
    ]);
    await step(9, false);
    expect((await verifyStore(own.audit, { ...alone, kept: "no note" })).findings).toEqual([
      expect.stringContaining("is not signed by the log's key"),
    ]);
  });

  const text = async (name: string) => (await own.audit.tree.texts([name]))[0] ?? "";
  const put = (...fields: readonly (readonly [string, string])[]) =>
    own.audit.tree.write({ fields: new Map(fields) }, 1);
  const findings = async (more: Partial<LogTrust> = {}) =>
    (await verifyStore(own.audit, { ...trust, ...more })).findings.join("\n");
  /** What somebody makes the store say of the partition. */
  const say = (forged: Partial<AuditStanding>): void => {
    const real = own.audit.standings.bind(own.audit);
    own.audit.standings = async () =>
      (await real()).map((each, at) => (at === partition ? { ...each, ...forged } : each));
  };

  test("a cosigned end that was cut off is found, also beside an earlier last step", async () => {
    await step(3);
    const earlier = await text("last");
    const { head } = (await own.audit.standings())[partition] ?? {};
    await step(5);
    const newest = await text("last");
    await put(["last", earlier]);
    const says = "cosigned 10 leaves, and the store's log has 4";
    expect(await findings()).toBe(
      `log: witness w1 ${says}: the end of the trail was removed, or put back`,
    );
    for (let number = 4; number <= 8; number += 1) own.audit.tamper(partition, number, undefined);
    say({ last: 3, ...(head && { head }) });
    expect(await findings()).toContain(says);
    expect(await findings()).toContain("entry 4 to 8: in the log, and not in the store: removed");
    await put(["last", newest]);
    expect(await findings()).toContain("entry 4 to 8: in the log, and not in the store: removed");
  });

  test("what a witness cosigned is no fault while its answer is lost, as long as the store has it", async () => {
    await step(3);
    witness.isDeaf = true;
    await expect(step(2)).rejects.toThrow("closed");
    witness.isDeaf = false;
    expect(await verifyStore(own.audit, trust)).toMatchObject({ findings: [], unwitnessed: 0 });
    const asked = await text("asked/w1");
    await put(["asked/w1", await text("witness/w1")]);
    const says = "witness w1 has cosigned 7 leaves, and the store knows of 4";
    expect(await findings()).toContain(says);
    // Another history of that size, which only the log's key signed.
    const { before, heads } = readSigned(asked);
    const other = MerkleRange.empty();
    while (other.end < before.end) other.append(leafHash(Buffer.of(1)));
    await put(["asked/w1", forgedStep(other, heads)]);
    expect(await findings()).toContain("differs");
  });

  /** A last step that only the log's key signed, over these leaves. */
  function forgedStep(before: MerkleRange, heads: string): string {
    const tree = treeOfHeads({ before, heads, note: "" });
    return writeSigned({ before, heads, note: log.signer.sign(tree.end, tree.root()) });
  }

  /** As retention does it, with or without stating it. */
  async function remove(tree: AuditTree | undefined, number: number): Promise<void> {
    await tree?.announce(partition, number, context);
    let { base } = (await own.audit.standings())[partition] as AuditStanding;
    const range = { from: { after: base.number }, limit: number - base.number, covered: false };
    for (const entry of await own.audit.entries(partition, range)) base = chainPoint(base, entry);
    await own.audit.trim(partition, base, 1);
  }

  async function change(number: number): Promise<void> {
    const range = { from: { after: number - 1 }, limit: 1, covered: false };
    const bytes = Buffer.from((await own.audit.entries(partition, range))[0]?.bytes ?? []);
    bytes[7] = (bytes[7] ?? 0) ^ 1;
    own.audit.tamper(partition, number, bytes);
  }

  test("a changed entry is found after retention, although the chain before it was removed", async () => {
    const tree = await step(8);
    const { base } = (await own.audit.standings())[partition] as AuditStanding;
    await remove(tree, 2);
    await step(1);
    expect(await findings()).toBe("");
    await change(5);
    const says = "entry 5: not the one that is in the log: changed or reordered";
    expect(await findings()).toContain(says);
    say({ base, dropped: 2 });
    expect(await findings()).toContain(says);
    // Also without the leaves.
    bytesMax = 0;
    await step(1);
    expect(await findings()).toBe(
      `${partitionName(partition)}: entry among 3 to 10: cannot be checked: the chain's point before them was removed`,
    );
  });

  test("what is removed during the check is a fault, unless the log states it", async () => {
    const tree = await step(9);
    const { entries } = own.audit;
    const during = (work: () => Promise<void>): void => {
      own.audit.entries = async (...given) => {
        own.audit.entries = entries;
        await work();
        return own.audit.entries(...given);
      };
    };
    during(() => remove(tree, 3));
    expect(await findings()).toBe("");
    during(() => remove(undefined, 5));
    expect(await findings()).toContain("entry 4 to 5: missing: removed");
  });

  test("leaves that do not lead to what was cosigned are found, although older ones were folded", async () => {
    bytesMax = 40 * 4;
    await step(3);
    const early = await text("witness/w1");
    await step(2);
    const [run] = await own.audit.tree.runs(4, 1);
    const since = MerkleRange.empty(4);
    for (const { hash } of readLeaves(run?.bytes ?? Buffer.of()) ?? []) since.append(hash);
    for (const count of [2, 2]) await step(count);
    expect(readRange(await text("base")).end).toBe(since.end);
    expect(await findings()).toBe("");
    const newest = await text("witness/w1");
    witness.isOut = true;
    await put(["witness/w1", early]);
    const says = "witness w1 cosigned (4 leaves) is not the beginning of the leaves";
    expect(await findings()).toContain(says);
    // As for a witness that was out: the store keeps the range since.
    await put(["witness/w1", writeSigned({ ...readSigned(early), since })]);
    expect(await findings()).toBe("");
    const other = MerkleRange.empty(4);
    while (other.end < since.end) other.append(leafHash(Buffer.of(1)));
    await put(["witness/w1", writeSigned({ ...readSigned(early), since: other })]);
    expect(await findings()).toContain(says);
    // With the log's key, too.
    await put(["witness/w1", newest]);
    const { before, heads } = readSigned(newest);
    const forged = MerkleRange.empty();
    while (forged.end < before.end + 3) forged.append(leafHash(Buffer.of(1)));
    await put(["last", forgedStep(forged, heads)], ["base", writeRange(forged)]);
    expect(await findings()).toContain("cosigned (13 leaves) is not the beginning of the leaves");
  });

  test("a head that only the log's key signed does not replace the one that a witness cosigned", async () => {
    await step(5);
    await change(2);
    let { base } = (await own.audit.standings())[partition] as AuditStanding;
    const range = { from: { after: 0 }, limit: 5, covered: false };
    for (const entry of await own.audit.entries(partition, range)) base = chainPoint(base, entry);
    say({ head: base });
    const heads = writeHeads({
      storeId: own.storeId ?? "",
      heads: new Map([[partition, { removed: 0, number: 5, hash: base.hash }]]),
    });
    await put(["last", forgedStep(treeOfHeads(readSigned(await text("last"))), heads)]);
    const bytes = writeLeaves([{ partition: headsLeaf, number: 0, hash: headsHash(heads) }]);
    await own.audit.tree.write({ leaves: { first: 6, bytes }, fields: new Map() }, 1);
    expect((await verifyStore(own.audit, trust)).findings).toEqual([
      expect.stringContaining("entry 2: not the one that is in the log"),
      expect.stringContaining("entry among 1 to 5: not what was chained"),
    ]);
  });

  test("an invalid range of removed leaves is found, and hides nothing", async () => {
    await step(3);
    const { proof } = await prove(1);
    await step(2);
    const base = (begin: number, end: number) => {
      const range = MerkleRange.empty(begin);
      while (range.end < end) range.append(leafHash(Buffer.of(1)));
      return writeRange(range);
    };
    for (const [begin, end] of [
      [9_999, 9_999],
      [0, 7],
      [0, 9],
      [1, 4],
    ] as const) {
      await put(["base", base(begin, end)]);
      expect(await findings()).toContain("the range of its removed leaves is not one: changed");
    }
    await put(["base", base(0, 4)]);
    expect(await findings()).toContain("the first 7 leaves in the store are not those");
    // Somebody empties the log, a leader begins anew with the same key, and the range is a right one.
    own.audit.empty();
    await step(9, false);
    const { before, heads } = readSigned(await text("last"));
    const bytes = writeLeaves([{ partition: headsLeaf, number: 0, hash: headsHash(heads) }]);
    const fields = new Map([["base", writeRange(before)]]);
    await own.audit.tree.write({ keepFrom: 9, leaves: { first: 9, bytes }, fields }, 1);
    expect(await findings({ witnesses: [] })).toBe("");
    expect(await findings({ witnesses: [], kept: proof })).toBe(
      "log: the given checkpoint (4 leaves) cannot be compared, since older leaves were folded: give one of at least 9 leaves",
    );
  });

  test("a kept proof that is older than the leaves is a fault, unless a witness cosigned it and a later step", async () => {
    bytesMax = 40 * 4;
    await step(3);
    const { proof } = await prove(1);
    for (const count of [2, 2, 2]) await step(count);
    const says = "(4 leaves) cannot be compared, since older leaves were folded";
    const { notes, findings: none } = await verifyStore(own.audit, { ...trust, kept: proof });
    expect(none).toEqual([]);
    expect(notes.join("\n")).toContain(`${says}; witness w1 cosigned it`);
    expect(await findings({ kept: proof, witnesses: [] })).toContain(
      `${says}: give one of at least`,
    );
  });

  test("a store without its log, or with one of another key, is a fault", async () => {
    await step(3);
    const key = { ...log.key, name: "log.example/other" };
    expect((await verifyStore(own.audit, { ...trust, key })).findings).toContainEqual(
      expect.stringContaining("not log.example/other"),
    );
    const standings = own.audit.standings.bind(own.audit);
    // First it is gone during the check, then before.
    own.audit.standings = async () => {
      await own.audit.tree.write({ anew: true, fields: new Map() }, 1);
      return await standings();
    };
    expect(await findings()).toContain("not in the store");
    expect(await findings()).toContain("not in the store");
  });
});
