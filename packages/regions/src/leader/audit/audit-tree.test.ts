import { generateKeyPairSync, randomUUID } from "node:crypto";
import {
  type AuditEvent,
  type Event,
  eventLeaf,
  leafHash,
  MerkleRange,
  type NoteKey,
  partitionOf,
  rawPublicKey,
  readCheckpointNote,
  readHeads,
  readLeaves,
  readRange,
  readSigned,
  signCheckpoint,
  signedAt,
  systemInstance,
} from "@holdfast/engine";
import { MemoryOwnStore, MemoryWitness } from "@holdfast/engine/testing";
import { beforeEach, describe, expect, test } from "vitest";
import { VirtualTime } from "../../testing/leader/test-leader.ts";
import { termOf } from "../../testing/leader/test-peer.ts";
import type { Duty, DutyResult } from "../duty.ts";
import { AuditChain } from "./audit-chain.ts";
import { AuditRetention } from "./audit-retention.ts";
import { type AuditSigner, AuditTree } from "./audit-tree.ts";
import { AuditWitness, type Witness } from "./audit-witness.ts";

const instance: string = randomUUID();
const partition = partitionOf(instance);

let time: VirtualTime;
let own: MemoryOwnStore;
let events: Event[];
let signer: ReturnType<typeof newSigner>;
let bytesMax: number;

beforeEach(() => {
  time = new VirtualTime();
  events = [];
  own = new MemoryOwnStore({ auditEntriesMax: 1_000_000 });
  signer = newSigner("log.example/a");
  bytesMax = 1e9;
});

function newSigner(origin: string, former: readonly string[] = []): AuditSigner & { key: NoteKey } {
  const { privateKey } = generateKeyPairSync("ed25519");
  const key: NoteKey = { name: origin, kind: "log", raw: rawPublicKey(privateKey) as Uint8Array };
  return {
    ...{ origin, former, key },
    sign: (size, root) => signCheckpoint({ origin, size, root }, privateKey),
    isSigned: (note) => {
      const read = readCheckpointNote(note);
      return read !== undefined && signedAt(read.text, read.lines, key) !== undefined;
    },
  };
}

const observe = (event: Event): number => events.push(event);
const optionsOf = () => ({ log: own.audit, timers: time, observe });

function newTree(witnesses: readonly string[] = []): AuditTree {
  return new AuditTree({ ...optionsOf(), signer, witnesses, bytesMax: async () => bytesMax });
}

const asking = (tree: AuditTree, witness: MemoryWitness) =>
  new AuditWitness({ ...optionsOf(), tree, witness });

async function append(count: number, of: string = instance): Promise<void> {
  const event: AuditEvent = {
    ...{ time: time.wallMs(), action: "a", outcome: "success" },
    ...{ initiator: "i", requestId: "r" },
  };
  await own.appendAudit(
    of,
    Array.from({ length: count }, () => event),
  );
}

/** One run of a duty, which may wait with `Timers`. */
async function run(duty: Duty, epoch = 1): Promise<DutyResult> {
  const running = duty.run(termOf(epoch));
  let over = false;
  const ended = (): void => {
    over = true;
  };
  running.then(ended, ended);
  for (let rounds = 0; !over && rounds < 10_000; rounds += 1) await time.run(0);
  return running;
}

async function chained(count: number, of: string = instance): Promise<void> {
  await append(count, of);
  const chain = new AuditChain({ ...optionsOf(), store: own });
  while ((await run(chain)).left > 0);
}

async function text(name: string): Promise<string | undefined> {
  return (await own.audit.tree.texts([name]))[0];
}

const last = async () => readSigned((await text("last")) ?? "");

/** All leaves that the store keeps, and the tree that they make. */
async function stored() {
  const baseText = await text("base");
  const tree = baseText === undefined ? MerkleRange.empty() : readRange(baseText);
  const leaves = (await own.audit.tree.runs(0, 1e6)).flatMap(({ bytes }) => {
    return readLeaves(bytes) ?? [];
  });
  for (const { hash } of leaves) tree.append(hash);
  return { leaves, tree, base: baseText === undefined ? 0 : readRange(baseText).end };
}

describe("the log over the trail", () => {
  test("has a leaf for each chained entry, then the heads, and a signed checkpoint", async () => {
    const tree = newTree();
    await chained(3);
    await chained(2, systemInstance);
    await append(1);
    expect(await run(tree)).toEqual({ done: 5, left: 0 });
    expect(await run(tree)).toEqual({ done: 0, left: 0 });
    const { leaves, tree: found } = await stored();
    const places = leaves.map((leaf) => [leaf.partition, leaf.number]);
    const own3 = [1, 2, 3].map((number) => [partition, number]);
    expect(places).toEqual([...own3, [64, 1], [64, 2], [255, 0]]);
    const range = { from: { after: 1 }, limit: 1, covered: false };
    const [entry] = await own.audit.entries(partition, range);
    expect(leaves[1]?.hash).toEqual(leafHash(eventLeaf(partition, 2, entry?.bytes ?? fail())));
    const { note, heads } = await last();
    expect(readCheckpointNote(note)).toMatchObject({ origin: "log.example/a", size: 6 });
    expect(readCheckpointNote(note)?.root).toEqual(found.root());
    expect(signer.isSigned(note)).toBe(true);
    const { head } = (await own.audit.standings())[partition] ?? fail();
    expect(readHeads(heads)?.storeId).toBe(own.storeId);
    expect(readHeads(heads)?.heads.get(partition)).toEqual({
      ...{ removed: 0, number: 3 },
      hash: Buffer.from(head.hash),
    });
  });

  test("takes a backlog in steps, and continues at another leader", async () => {
    for (const of of [instance, systemInstance]) await chained(5_000, of);
    let done = 0;
    for (let epoch = 1, left = 1; left > 0; epoch += 1) {
      const result = await run(newTree(), epoch);
      [done, left] = [done + result.done, result.left];
    }
    expect(done).toBe(10_000);
    const { leaves, tree } = await stored();
    const numbers = leaves.filter((leaf) => leaf.partition === 64).map(({ number }) => number);
    expect(numbers).toEqual(Array.from({ length: 5_000 }, (_, at) => at + 1));
    expect(readCheckpointNote((await last()).note)?.root).toEqual(tree.root());
  });

  test("takes what was just chained without reading it again, if it follows", async () => {
    const tree = newTree();
    const chained = tree.offer.bind(tree);
    const chain = new AuditChain({ ...optionsOf(), store: own, chained });
    const { entries } = own.audit;
    let reads = 0;
    own.audit.entries = (...given) => {
      reads += 1;
      return entries.apply(own.audit, given);
    };
    for (let round = 0; round < 3; round += 1) {
      await append(5);
      await run(chain);
      // Twice: the second part follows on the first one.
      await append(2, systemInstance);
      await append(1);
      await run(chain);
      reads = 0;
      expect(await run(tree)).toEqual({ done: 8, left: 0 });
      expect(reads).toBe(0);
    }
    // Another leader made a step: what was offered before does not follow.
    await append(4);
    await run(chain);
    expect(await run(newTree(), 2)).toEqual({ done: 4, left: 0 });
    await append(3);
    await run(new AuditChain({ ...optionsOf(), store: own }), 2);
    expect(await run(tree, 2)).toEqual({ done: 3, left: 0 });
    const numbers = (await stored()).leaves.filter((leaf) => leaf.partition === partition);
    expect(numbers.map(({ number }) => number)).toEqual(
      Array.from({ length: 25 }, (_, at) => at + 1),
    );
    expect(readCheckpointNote((await last()).note)?.root).toEqual((await stored()).tree.root());
  });

  test("reports an entry that changed between the chain and the log", async () => {
    await chained(3);
    own.audit.tamper(partition, 3, Buffer.of(1, 0, 0, 0, 0, 0, 0, 0));
    await run(newTree());
    expect(events).toContainEqual(expect.objectContaining({ type: "auditFault", partition }));
  });

  test("is never continued from a step that its key did not sign, or from an earlier one", async () => {
    const tree = newTree();
    await chained(3);
    await run(tree);
    const earlier = await Promise.all([text("size"), text("last")]);
    await chained(3);
    await run(tree);
    const put = ([size = "", step = ""]: readonly (string | undefined)[]) =>
      own.audit.tree.write(
        {
          fields: new Map([
            ["size", size],
            ["last", step],
          ]),
        },
        1,
      );
    const genuine = await Promise.all([text("size"), text("last")]);
    await put(earlier);
    await chained(1);
    await expect(run(tree)).rejects.toThrow("an earlier state");
    signer = newSigner("log.example/a");
    await put(genuine);
    await expect(run(newTree())).rejects.toThrow("not signed by its key");
    signer = newSigner("log.example/b");
    await expect(run(newTree())).rejects.toThrow("give all nodes of the region the same");
  });

  test("a new key begins a new log, with what the store still has", async () => {
    await chained(3);
    await run(newTree());
    signer = newSigner("log.example/b", ["log.example/a"]);
    await run(newTree());
    expect(readCheckpointNote((await last()).note)).toMatchObject({
      ...{ origin: "log.example/b", size: 4 },
    });
    expect((await stored()).leaves.length).toBe(4);
  });
});

describe("retention with a log", () => {
  const retention = (tree: AuditTree, hardMax = 1e12) => {
    const bounds = async () => ({ bytesMax: 1e12, hardMax });
    const announce = tree.announce.bind(tree);
    return new AuditRetention({
      ...optionsOf(),
      store: own,
      sinks: [],
      ageMs: 10_000,
      bounds,
      announce,
    });
  };

  test("removes only what the log states to be removed, and leaves follow", async () => {
    const tree = newTree();
    await chained(1_500);
    while ((await run(tree)).left > 0);
    await time.run(20_000);
    await chained(2);
    await run(tree);
    await run(retention(tree));
    expect((await own.audit.standings())[partition]?.base.number).toBe(1_500);
    expect(readHeads((await last()).heads)?.heads.get(partition)?.removed).toBe(1_500);
    await time.run(61_000);
    await run(tree);
    const { base, tree: found } = await stored();
    expect(base).toBe(1_502);
    expect(readCheckpointNote((await last()).note)?.root).toEqual(found.root());
  });

  test("keeps what the log cannot state, but never fills the store", async () => {
    await chained(10);
    await run(newTree());
    signer = newSigner("log.example/b");
    const tree = newTree();
    await time.run(20_000);
    await run(retention(tree));
    expect((await own.audit.standings())[partition]?.base.number).toBe(0);
    expect(events).toContainEqual(expect.objectContaining({ type: "warning" }));
    await run(retention(tree, 1));
    expect((await own.audit.standings())[partition]?.base.number).toBe(10);
  });

  test("the leaves are bounded; the tree is proven all the same", async () => {
    bytesMax = 40 * 100;
    const witness = new MemoryWitness("w1", signer.key);
    const tree = newTree(["w1"]);
    const duty = asking(tree, witness);
    for (let round = 0; round < 5; round += 1) {
      await chained(50);
      await run(tree);
      if (round === 0) await run(duty);
      await time.run(61_000);
    }
    await chained(1);
    await run(tree);
    const { base, leaves } = await stored();
    expect(base).toBeGreaterThan(100);
    expect(leaves.length).toBeLessThan(160);
    expect(await run(duty)).toMatchObject({ left: 0 });
    // Another leader knows only what the store has.
    await chained(1);
    await run(newTree(["w1"]), 2);
    await run(asking(tree, witness), 2);
    expect(witness.size).toBe(sizeOf(await last()));
  });
});

const sizeOf = ({ note }: { note: string }) => readCheckpointNote(note)?.size;

describe("witnesses", () => {
  test("each cosigns every step; the store keeps the cosigned checkpoint", async () => {
    const witness = new MemoryWitness("w1", signer.key);
    const tree = newTree(["w1"]);
    const duty = asking(tree, witness);
    expect(await run(duty)).toEqual({ done: 0, left: 0 });
    for (const count of [3, 1, 200, 7]) {
      await chained(count);
      await run(tree);
      await run(duty);
      const { note } = readSigned((await text("witness/w1")) ?? "");
      const read = readCheckpointNote(note);
      expect(read?.size).toBe(sizeOf(await last()));
      expect(signedAt(read?.text ?? "", read?.lines ?? [], witness.key)).toBeGreaterThan(0);
    }
    expect(witness.asked.length).toBe(4);
    expect(events.at(-1)).toMatchObject({ type: "auditWitness", ok: true, behind: 0, lagMs: 0 });
  });

  test("one that is out is reported with its lag, delays nothing, and catches up", async () => {
    const witness = new MemoryWitness("w1", signer.key);
    const tree = newTree(["w1"]);
    const duty = asking(tree, witness);
    witness.isOut = true;
    for (let round = 0; round < 3; round += 1) {
      await chained(2);
      await run(tree);
      await expect(run(duty)).rejects.toThrow("out");
      await time.run(4_000);
    }
    const told = { type: "auditWitness", ok: false, behind: 9 };
    expect(events).toContainEqual(expect.objectContaining({ ...told, lagMs: 8_000 }));
    witness.isOut = false;
    await run(duty);
    expect(events.at(-1)).toMatchObject({ ok: true, behind: 0, lagMs: 0 });
  });

  test("one whose answer was lost is asked again from the size that it names", async () => {
    const witness = new MemoryWitness("w1", signer.key);
    const tree = newTree(["w1"]);
    const duty = asking(tree, witness);
    for (const isDeaf of [false, true, true]) {
      await chained(3);
      await run(tree);
      witness.isDeaf = isDeaf;
      if (isDeaf) await expect(run(duty)).rejects.toThrow("closed");
      else await run(duty);
    }
    witness.isDeaf = false;
    await run(duty);
    expect(witness.size).toBe(12);
    expect(sizeOf(readSigned((await text("witness/w1")) ?? ""))).toBe(12);
  });

  test.each([
    ["while it is asked", false],
    ["after its answer was lost", true],
  ])("leaves that are removed beyond what it cosigned %s do not stop it", async (_, isDeaf) => {
    bytesMax = 40;
    const witness = new MemoryWitness("w1", signer.key);
    const tree = newTree(["w1"]);
    const grow = async () => {
      await chained(20);
      await run(tree);
      await time.run(61_000);
      await chained(20);
      await run(tree);
    };
    const meanwhile: Witness = {
      name: "w1",
      key: witness.key,
      add: async (request) => {
        const answer = await witness.add(request);
        await grow();
        if (isDeaf) throw new Error("closed");
        return answer;
      },
    };
    await chained(3);
    await run(tree);
    await run(asking(tree, witness));
    await grow();
    const asked = sizeOf(await last()) ?? 0;
    const duty = new AuditWitness({ ...optionsOf(), tree, witness: meanwhile });
    await run(duty).catch(() => undefined);
    expect(witness.size).toBe(asked);
    expect((await stored()).base).toBeGreaterThan(asked);
    // Another leader knows only what the store has.
    const next = newTree(["w1"]);
    await run(asking(next, witness), 2);
    expect(witness.size).toBe(sizeOf(await last()));
    expect(sizeOf(readSigned((await text("witness/w1")) ?? ""))).toBe(witness.size);
  });

  test("one that knows more, or another history, is a fault of the trail", async () => {
    const witness = new MemoryWitness("w1", signer.key);
    await chained(5);
    const tree = newTree(["w1"]);
    await run(tree);
    await run(asking(tree, witness));
    own = new MemoryOwnStore();
    await chained(1);
    const other = newTree(["w1"]);
    await run(other);
    const duty = asking(other, witness);
    for (let round = 0; round < 2; round += 1) {
      await expect(run(duty)).rejects.toThrow("has cosigned 6 leaves, and the store's log has 2");
    }
    await chained(9);
    await run(other);
    await expect(run(duty)).rejects.toThrow();
    const faults = events.filter(({ type }) => type === "auditFault");
    expect(faults).toMatchObject([
      { reason: "witness w1 has cosigned 6 leaves, and the store's log has 2" },
    ]);
  });

  test("an earlier last step beside a newer cosigned one is a fault of the trail", async () => {
    const witness = new MemoryWitness("w1", signer.key);
    const tree = newTree(["w1"]);
    const duty = asking(tree, witness);
    await chained(1);
    await run(tree);
    const earlier = (await text("last")) ?? fail();
    await chained(3);
    await run(tree);
    await run(duty);
    await own.audit.tree.write({ fields: new Map([["last", earlier]]) }, 1);
    const reason = "witness w1 has cosigned 6 leaves, and the store's log has 2";
    await expect(run(duty)).rejects.toThrow(reason);
    expect(events).toContainEqual(expect.objectContaining({ type: "auditFault", reason }));
  });

  test("one with another key is not believed", async () => {
    const witness = new MemoryWitness("w1", signer.key);
    const other = new MemoryWitness("w1", signer.key);
    await chained(1);
    const tree = newTree(["w1"]);
    await run(tree);
    const mixed = { name: "w1", key: other.key, add: witness.add.bind(witness) };
    const duty = new AuditWitness({ ...optionsOf(), tree, witness: mixed });
    await expect(run(duty)).rejects.toThrow("not signed by its configured key");
    expect(await text("witness/w1")).toBeUndefined();
  });
});

function fail(): never {
  throw new Error("nothing there");
}
