import {
  type ManagedObject,
  type Observer,
  partitionCount,
  RootOfTrustError,
  recordDigest,
  StoreUnavailable,
  writeUuid,
} from "@holdfast/engine";
import type { MemoryOptions } from "../connection/options.ts";
import { type StoreTimers, sleep } from "../connection/timers.ts";
import { factsOf } from "../proof/record-proof.ts";
import type { RememberedKeys } from "../storage-keys/held-keys.ts";
import type { KeyOpener } from "../storage-keys/key-opening.ts";
import { type Acceptance, numberMax } from "./acceptance.ts";
import {
  BlockWriter,
  coveredRow,
  fileKeyBytes,
  keysRow,
  type MemoryRow,
  readBlocks,
  readHeader,
  recordRows,
  storeRow,
  trustRow,
  writeHeader,
} from "./memory-blocks.ts";
import {
  compared,
  MemoryTable,
  metIn,
  type Relation,
  type Remembered,
  readRow,
  rowOf,
} from "./memory-table.ts";

interface Context {
  readonly region: string;
  readonly observe: Observer;
  readonly timers: StoreTimers;
  /** Monotonic time. */
  readonly now: () => number;
}

/** Rows that the table has, and the file has not yet. */
interface Pending {
  rows: Buffer[];
  bytes: number;
}

/** A file this much larger than its content is written anew. */
const growthMax = 1 << 20;
/** How long the file may fail before it is tried again. */
const retryMs = 10_000;
/** How long an answer waits for the file at most, and none for a write that took longer: a disk may hang. */
const waitMs = 1_000;
/** How long a start waits for the file, and for the root of trust to open it, before it begins anew. */
const openMs = 20_000;
const openAgainMs = 2_000;
/** More bytes of rows do not wait for the file: it is written anew. */
const pendingMax = 1 << 22;
/** Stores that are named in the file: more than a region ever has. */
const storesMax = 1_000;
const blocksAtOnce = 4;
/** Bytes of a rewritten file between which other work runs. */
const sliceBytes = 1 << 18;

/**
 * What this node remembers of the records of its region's store, in memory and in an encrypted file: so it notices if an
 * older state of a record, or of the whole store, is put back (docs/design-trust.md, "Rollback"). It is told only what a full
 * barrier covers, since a fail-over may take back everything else.
 */
export class StoreMemory {
  readonly #options: MemoryOptions;
  readonly #context: Context;
  readonly #table: MemoryTable;
  readonly #scratch = Buffer.alloc(16);
  readonly #covered = new Array<number>(partitionCount + 1).fill(0);
  /** Every store that the file has named; the last one is the present one. */
  #stores: string[] = [];
  /** Which storage keys counted last. */
  #keys: RememberedKeys | undefined;
  /** The number of the last order of an operator that was carried out. */
  #accepted = 0;
  #doubted = false;
  #suspected = false;
  #toldDoubt = false;
  #loaded = false;
  #pending: Pending = { rows: [], bytes: 0 };
  /** Seals what is appended; none until the file was written by this process. */
  #writer: BlockWriter | undefined;
  #fileBytes = 0;
  #failedMs: number | undefined;
  /** Whether rows were dropped that the file has not. */
  #isShort = false;
  #isClosed = false;
  #under: Promise<void> | undefined;
  /** When the write under way began. */
  #beganMs = 0;
  #next: Promise<void> | undefined;
  #state: string | undefined;

  constructor(options: MemoryOptions, context: Context) {
    this.#options = options;
    this.#context = context;
    this.#table = new MemoryTable(Buffer.from(options.randomBytes(4)).readInt32LE());
  }

  /** Whether the file is only read, as by a command. */
  get readOnly(): boolean {
    return this.#options.readOnly === true;
  }

  /** How many records are remembered. */
  get size(): number {
    return this.#table.size;
  }

  /**
   * Reads the file, once, and begins with this store. Rejects with `unsafe` where the file is another region's, or holds something else. A file that
   * cannot be used counts as missing, after a bounded time: the store's own keys are open by now, and it must be served.
   */
  async open(storeId: string, opener: KeyOpener): Promise<void> {
    if (!this.#loaded) {
      await this.#load(opener);
      this.#loaded = true;
    }
    const last = this.#stores.at(-1);
    if (last === storeId) return this.#tellDoubt("since before it was started");
    if (last !== undefined) {
      const message = `the memory of ${this.#options.file.name} is of store ${last}: it begins anew with store ${storeId}`;
      this.#context.observe({ type: "warning", message });
    }
    this.#begin(storeId);
    this.#add(storeRow(storeId));
    this.#tellDoubt("another store");
  }

  /**
   * Whether the store may be an older one: one of its change numbers was lower than a covered one, and nothing has ended
   * this doubt since. Meanwhile no record is learned that is not remembered.
   */
  get doubted(): boolean {
    return this.#doubted || this.#suspected;
  }

  /** The number of the last order of an operator that this memory has carried out. */
  get accepted(): number {
    return this.#accepted;
  }

  /**
   * Doubts the store if one of its change numbers, those of all partitions, is lower than a covered one: for this session, and
   * for good if a full barrier covers them. A primary that was replaced has no such barrier.
   */
  compareNumbers(numbers: readonly number[], isCovered: boolean): void {
    const partition = numbers.findIndex((number, at) => !(number >= this.covered(at)));
    this.#suspected = partition !== -1 && !isCovered;
    if (partition === -1 || !isCovered || this.#doubted) return;
    this.#doubted = true;
    this.#add(trustRow(this.#accepted, true));
    this.#tellDoubt(
      `partition ${partition} has change number ${numbers[partition]}, and ${this.covered(partition)} was covered`,
    );
  }

  /** Ends a doubt: everything that is remembered is in the store, whose present numbers count from now on. */
  endDoubt(numbers: readonly number[]): void {
    this.#covered.fill(0);
    for (const [partition, number] of numbers.entries()) this.noteCovered(partition, number);
    this.#doubted = false;
    this.#isShort = true;
    this.#tellDoubt("the store has everything that this node remembers");
  }

  /** Carries out orders that it has not carried out yet; false without any. A full barrier must cover them. */
  accept(orders: readonly Acceptance[]): boolean {
    const fresh = orders.filter(({ number }) => number > this.#accepted);
    for (const { number, record } of fresh) {
      this.#accepted = Math.max(this.#accepted, number);
      if (record === undefined) this.#begin(this.#stores.at(-1) ?? "");
      else if (writeUuid(record, this.#scratch, 0)) {
        for (const partition of this.#covered.keys()) this.#table.forget(partition, this.#scratch);
      }
    }
    if (fresh.length === 0) return false;
    this.#isShort = true;
    this.#tellDoubt("an operator has accepted the store");
    return true;
  }

  /** The identifiers of everything that is remembered, so many of one partition at most at once. */
  remembered(most: number): ReturnType<MemoryTable["identifiers"]> {
    return this.#table.identifiers(most);
  }

  /** What is remembered of a record; valid until something is learned. */
  get(partition: number, identifier: string): Remembered | undefined {
    return writeUuid(identifier, this.#scratch, 0)
      ? this.#table.get(partition, this.#scratch)
      : undefined;
  }

  /** How a value of a record, whose header proves itself, relates to what is remembered; null where it is missing. */
  relation(partition: number, identifier: string, value: Buffer | null): Relation {
    return compared(value, this.get(partition, identifier));
  }

  /** Remembers a record by its header, which proves itself and which a full barrier covers. */
  learn(partition: number, identifier: Buffer, header: Buffer): Relation {
    return this.#learn(partition, identifier, metIn(header));
  }

  /** Remembers a record that this node has written, and which a full barrier covers. */
  learnWritten(partition: number, object: ManagedObject, version: number): void {
    const identifier = Buffer.alloc(16);
    if (!writeUuid(object.uniqueIdentifier, identifier, 0)) return;
    const tag = Buffer.from(recordDigest(object).slice(0, 16), "hex");
    this.#learn(partition, identifier, { version, facts: factsOf(object), tag });
  }

  /** Up to which change number a partition of the store was covered. */
  covered(partition: number): number {
    return this.#covered[partition] ?? 0;
  }

  /** Notes that a partition was covered up to a change number. */
  noteCovered(partition: number, number: number): void {
    if (number <= this.covered(partition) || !(number <= numberMax)) return;
    this.#covered[partition] = number;
    this.#add(coveredRow(partition, number));
  }

  /** What is remembered of the store's keys. */
  get keys(): RememberedKeys | undefined {
    return this.#keys;
  }

  /** Notes which storage keys count, as a full barrier covers. */
  noteKeys(keys: RememberedKeys): void {
    if (keys.step <= (this.#keys?.step ?? 0)) return;
    this.#keys = keys;
    this.#add(keysRow(keys));
  }

  /** Resolves when the file has everything, when that failed, or after a bounded time; never rejects. */
  async flush(): Promise<void> {
    const tookMs = this.#under === undefined ? 0 : this.#context.now() - this.#beganMs;
    if (tookMs < waitMs) return await this.#atMost(waitMs, this.#flushed());
    if (tookMs < retryMs) return;
    this.#say("failed", `${this.#options.file.name} cannot be written: its disk does not answer`);
  }

  /** Writes what is left, and closes the file. */
  async close(): Promise<void> {
    await this.flush();
    this.#isClosed = true;
    // A write that is still under way opens the file.
    const closed = Promise.resolve(this.#under).then(() => this.#options.file.close());
    await this.#atMost(waitMs, closed).catch(() => undefined);
  }

  /** The answer, or undefined after so many milliseconds. */
  #atMost<Answer>(ms: number, answer: Promise<Answer>): Promise<Answer | undefined> {
    const over = new AbortController();
    const late = sleep(this.#context.timers, ms, { signal: over.signal, background: true });
    return Promise.race([answer, late.then(() => undefined)]).finally(() => over.abort());
  }

  #learn(partition: number, identifier: Buffer, met: Remembered): Relation {
    // A store that may be older proves nothing about what is not remembered.
    if (this.doubted && this.#table.get(partition, identifier) === undefined) return "newer";
    const relation = this.#table.learn(partition, identifier, met);
    if (relation === "newer") this.#add(...recordRows(rowOf(partition, identifier, met)));
    return relation;
  }

  #begin(storeId: string): void {
    // A store that is accepted keeps its keys: this node runs with them, and does not note them again.
    if (storeId !== this.#stores.at(-1)) this.#keys = undefined;
    this.#stores = [...this.#stores.filter((one) => one !== storeId), storeId].slice(-storesMax);
    this.#table.clear();
    this.#covered.fill(0);
    this.#doubted = false;
    this.#suspected = false;
  }

  #tellDoubt(reason: string): void {
    if (this.#doubted === this.#toldDoubt) return;
    this.#toldDoubt = this.#doubted;
    this.#context.observe({ type: "storeDoubt", doubted: this.#doubted, reason });
  }

  /** While the file fails, nothing waits for it: it is written anew from the table. */
  #add(...rows: Buffer[]): void {
    if (this.#writer === undefined && this.#under === undefined) return;
    for (const row of rows) {
      this.#pending.rows.push(row);
      this.#pending.bytes += row.length;
    }
    if (this.#pending.bytes <= pendingMax) return;
    this.#pending = { rows: [], bytes: 0 };
    this.#isShort = true;
  }

  async #load(opener: KeyOpener): Promise<void> {
    const { file } = this.#options;
    let bytes: Buffer | undefined;
    try {
      const read = file.read().then((content) => ({ content }));
      const answer = await this.#atMost(openMs, read);
      if (answer === undefined) throw new Error("its disk does not answer");
      bytes = answer.content;
    } catch (error) {
      this.#say("missing", `${file.name} cannot be read: ${reasonOf(error)}`);
      return;
    }
    if (bytes === undefined) {
      this.#say("missing", `there is no ${file.name}: the memory begins anew`);
      return;
    }
    const found = readHeader(bytes);
    if (found === "damaged") return this.#say("missing", `the header of ${file.name} is damaged`);
    const { region } = this.#context;
    const refused = (says: string) => new StoreUnavailable("unsafe", `${file.name} is ${says}`);
    if (found === undefined) {
      throw refused("not a memory file: name another one in store.memoryFile, or move it away");
    }
    const { header, length } = found;
    if (header.region !== region) {
      const whose = `the memory of region ${header.region}, not of region ${region}`;
      throw refused(`${whose}: give the node its own store.memoryFile`);
    }
    const key = await this.#openKey(header.wrap, opener);
    if (key !== undefined) await this.#read(key, bytes, length);
  }

  /**
   * The file's key. The root of trust may have another root key by now, or no more the version that wrapped this one, so one
   * that does not open it counts only as a lost file.
   */
  async #openKey(wrap: Uint8Array, opener: KeyOpener): Promise<Buffer | undefined> {
    const { region, timers, now } = this.#context;
    const beganMs = now();
    let reason = "it is of another length";
    for (let isAgain = true; isAgain; ) {
      try {
        const { plaintext } = await opener.unwrap(wrap, keyData(region));
        if (plaintext.length === fileKeyBytes) return Buffer.from(plaintext);
        isAgain = false;
      } catch (error) {
        reason = reasonOf(error);
        const mayPass = error instanceof RootOfTrustError && error.failure !== "gone";
        isAgain = mayPass && now() - beganMs + openAgainMs < openMs;
      }
      if (isAgain) await sleep(timers, openAgainMs, { background: true });
    }
    const { name } = this.#options.file;
    this.#say("missing", `the root of trust does not open the key of ${name} (${reason})`);
    return undefined;
  }

  async #read(key: Buffer, bytes: Buffer, headerLength: number): Promise<void> {
    const { timers } = this.#context;
    let blocks = 0;
    for (const block of readBlocks(key, bytes, headerLength)) {
      if (block === "torn") break;
      if (block === "damaged") {
        const { name } = this.#options.file;
        this.#say("missing", `${name} is damaged: what follows the damage is not remembered`);
        break;
      }
      for (const row of block) this.#take(row);
      blocks += 1;
      if (blocks % blocksAtOnce === 0) await new Promise<void>((resolve) => timers.soon(resolve));
    }
    key.fill(0);
  }

  #take(row: MemoryRow): void {
    if (row.kind === "store") this.#begin(row.storeId);
    else if (row.kind === "keys") this.#keys = row;
    else if (row.kind === "trust") {
      this.#accepted = Math.max(this.#accepted, row.accepted);
      this.#doubted = row.doubted;
    } else if (row.kind === "covered") {
      if (row.partition > partitionCount) return;
      this.#covered[row.partition] = Math.max(this.covered(row.partition), row.number);
    } else {
      const record = readRow(row.row);
      if (record) this.#table.learn(record.partition, record.identifier, record.met);
    }
  }

  /** One write at a time; who comes meanwhile waits for the next one. */
  #flushed(): Promise<void> {
    this.#next ??= (this.#under ?? Promise.resolve()).then(() => {
      this.#next = undefined;
      this.#beganMs = this.#context.now();
      this.#under = this.#write().finally(() => {
        this.#under = undefined;
      });
      return this.#under;
    });
    return this.#next;
  }

  async #write(): Promise<void> {
    const { file } = this.#options;
    if (!this.#loaded || this.#isClosed || this.readOnly) return;
    try {
      const content = this.size * rowOf(0, this.#scratch, nothing).length;
      const isGrown = this.#fileBytes > 2 * content + growthMax;
      if (this.#writer === undefined || this.#isShort || isGrown) {
        if (this.#failedMs !== undefined && this.#context.now() - this.#failedMs < retryMs) return;
        await this.#rewrite();
      } else if (this.#pending.rows.length > 0) {
        const { rows } = this.#pending;
        this.#pending = { rows: [], bytes: 0 };
        const blocks = this.#writer.write(rows);
        await file.append(blocks);
        this.#fileBytes += blocks.length;
      } else return;
      this.#failedMs = undefined;
      this.#say("kept", "");
    } catch (error) {
      this.#writer = undefined;
      this.#failedMs = this.#context.now();
      this.#pending = { rows: [], bytes: 0 };
      this.#say("failed", `${file.name} cannot be written: ${reasonOf(error)}`);
    }
  }

  /** Writes the whole file with a new key; rows that are added meanwhile are appended later. */
  async #rewrite(): Promise<void> {
    const { file, node, root, randomBytes: random } = this.#options;
    const { region } = this.#context;
    const key = Buffer.from(random(fileKeyBytes));
    const { name: rootOfTrust } = await root.describe();
    const { blob: wrap } = await root.wrap(key, keyData(region));
    const header = writeHeader({ region, node, rootOfTrust, wrap });
    const writer = new BlockWriter(key, header, random);
    this.#pending = { rows: [], bytes: 0 };
    this.#isShort = false;
    let bytes = header.length;
    const table = this.#slices();
    await file.replace(
      (async function* () {
        yield header;
        for await (const rows of table) {
          const blocks = writer.write(rows);
          bytes += blocks.length;
          yield blocks;
        }
      })(),
    );
    this.#fileBytes = bytes;
    this.#writer = writer;
  }

  async *#slices(): AsyncGenerator<readonly Buffer[]> {
    const { timers } = this.#context;
    const first = [...this.#stores.map(storeRow), trustRow(this.#accepted, this.#doubted)];
    if (this.#keys !== undefined) first.push(keysRow(this.#keys));
    // The numbers go last: they say that what they cover is in the file.
    const covered = this.#covered.map((number, partition) => coveredRow(partition, number));
    yield first;
    let rows: Buffer[] = [];
    let bytes = 0;
    for (const slice of this.#table.slices()) {
      rows.push(...recordRows(slice));
      bytes += slice.length;
      if (bytes < sliceBytes) continue;
      yield rows;
      rows = [];
      bytes = 0;
      await new Promise<void>((resolve) => timers.soon(resolve));
    }
    yield [...rows, ...covered];
  }

  #say(state: "kept" | "missing" | "failed", reason: string): void {
    if (this.#state === `${state} ${reason}`) return;
    this.#state = `${state} ${reason}`;
    this.#context.observe({ type: "rollbackMemory", state, reason });
  }
}

const nothing: Remembered = { version: 0, facts: 0, tag: Buffer.alloc(8) };

/** What the key of a memory file is bound to. */
function keyData(region: string): Uint8Array {
  return Buffer.from(["holdfast-memory-file", region].join("\0"));
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
