import { timingSafeEqual } from "node:crypto";
import { type Ids, type Observer, RootOfTrustError, StoreUnavailable } from "@holdfast/engine";
import type { Connection } from "../connection/connection.ts";
import { sysKeys } from "../connection/keys.ts";
import type { StoreSettings } from "../connection/options.ts";
import {
  type KeyEntries,
  type KeyEntry,
  type ReadKeyEntry,
  readKeyEntries,
  soundKeyEntries,
} from "./key-entry.ts";
import { isLinked, provesNote, stepInNote, writeKeyNote } from "./key-note.ts";
import {
  KeyEntryDamaged,
  type KeyOpener,
  notOriginal,
  type OpenedKey,
  openFailure,
  openStorageKey,
} from "./key-opening.ts";
import {
  deriveStorageKey,
  keySteps,
  type StorageKey,
  StorageKeys,
  storageKeyBytes,
} from "./storage-keys.ts";

/** How long a root of trust may take to open a storage key. */
const openMs = 15_000;
/** Numbers of storage keys have 2 bytes. */
const numberMax = 65_535;

/**
 * A storage key that is open, and the entry that was last seen to open to it, with the version of the root key that it
 * opened with, whatever version its text names.
 */
export interface HeldKey {
  readonly key: StorageKey;
  readonly entry: ReadKeyEntry;
}

interface Held {
  readonly keys: StorageKeys;
  readonly byNumber: Map<number, HeldKey>;
}

/** What a node remembers of a store's keys: the step, and the check value of the newest key then. */
export interface RememberedKeys {
  readonly step: number;
  readonly check: Uint8Array;
}

/**
 * Opens the storage keys of a store, and keeps them with their entries: a fail-over needs no root of trust, and a node
 * that runs needs no entry in Redis.
 */
export class HeldKeys {
  readonly #settings: Pick<StoreSettings, "region" | "root" | "timers">;
  readonly #observe: Observer;
  #held: Held | undefined;
  /** The step that the store showed when its keys were opened first. */
  #shown = 0;
  /** A note that does not prove itself, and was reported. */
  #ignored: string | undefined;
  #isOpen: boolean | undefined;
  #stop: (() => void) | undefined;
  #closed = false;

  constructor(settings: Pick<StoreSettings, "region" | "root" | "timers">, observe: Observer) {
    this.#settings = settings;
    this.#observe = observe;
  }

  /**
   * The keys of the store on this connection. Rejects with `keyClosed` if the root of trust does not open one now, and
   * with `unsafe` if it never will. Where keys of this store are held, what is wrong with an entry or the note is only
   * reported. What the store says may still be lost in a fail-over, so the last step is taken only by `follow`.
   */
  async open(connection: Connection, storeId: string): Promise<StorageKeys> {
    const found = readKeyEntries(await connection.call("hgetall", sysKeys.keys), storeId);
    const held = this.#held?.keys.storeId === storeId ? this.#held : undefined;
    if (held === undefined) {
      const { entries, step } = soundKeyEntries(found, storeId, connection.address);
      const byNumber = await this.#openAll(entries, step);
      refuseUnproven(byNumber, found.note, step);
      const keys = new StorageKeys(storeId, keysOf(byNumber), step - 1, step);
      this.#held = { keys, byNumber };
      this.#shown = step;
      this.report(found);
      this.#say(true, "");
      return keys;
    }
    this.report(found);
    if (await this.#openNext(found, held)) this.#say(true, "");
    return held.keys;
  }

  /**
   * Whether keys must be opened (`open`) to follow this note of the held keys' store. Throws where this node cannot go on
   * before: it was away, and what is made with a key that it has not would look damaged.
   */
  meet(note: string): boolean {
    const held = this.#held;
    const step = stepInNote(note);
    if (held === undefined || step === undefined || note === this.#ignored) return false;
    if (step <= held.keys.step || this.#canFollow(note, step)) return false;
    if (keySteps.newest(step - 1) <= keySteps.newest(held.keys.step)) return true;
    throw new StoreUnavailable("noLease", "the storage key was rotated meanwhile");
  }

  /** Takes the step of a note that a full barrier covers, if it proves itself by a key that is open; says whether it did. */
  follow(note: string): boolean {
    const step = stepInNote(note);
    if (this.#held === undefined || step === undefined) return false;
    if (step <= this.#held.keys.step || !this.#canFollow(note, step)) return false;
    this.#held.keys.follow(keysOf(this.#held.byNumber), step);
    return true;
  }

  /**
   * Refuses a store whose newest key, or step, is not what a node remembers of it, or follows from that by links of keys:
   * it is an earlier store, or somebody else's.
   */
  refuseOlder(remembered: RememberedKeys | undefined, address: string): void {
    const held = this.#held;
    if (remembered === undefined || held === undefined) return;
    const { step, check } = remembered;
    const number = keySteps.newest(step);
    const known = held.byNumber.get(number);
    const refuse = (why: string): never => {
      // What is held is not this node's store: the next session begins anew.
      this.#held = undefined;
      throw new StoreUnavailable(
        "unsafe",
        `Redis ${address}: ${why}, as this node remembers: docs/storage-key.md says what to do`,
      );
    };
    const shown = Math.max(this.#shown, held.keys.step);
    if (shown < step) refuse("{sys}:keys is older than it was");
    if (known === undefined || !timingSafeEqual(known.key.check, check)) {
      refuse(`storage key ${number} is not the one that it was, or cannot be opened`);
    }
    for (let next = number + 1; next <= keySteps.newest(shown); next += 1) {
      const entry = held.byNumber.get(next)?.entry;
      if (entry && isLinked(held.byNumber.get(next - 1)?.key, entry)) continue;
      refuse(`storage key ${next} does not follow from storage key ${next - 1}`);
    }
  }

  /** Looks again at a note that was not followed: what was missing or damaged may be back. */
  lookAgain(): void {
    this.#ignored = undefined;
  }

  /** The note as it must be in the store; undefined where none are held. */
  note(storeId: string): string | undefined {
    const keys = this.#held?.keys;
    if (keys?.storeId !== storeId) return undefined;
    const newest = this.#held?.byNumber.get(keySteps.newest(keys.step))?.key;
    return newest && writeKeyNote(newest, keys.step);
  }

  /** What is wrong with the note; undefined where it is as it must be, or says a later step. */
  noteFault({ note }: KeyEntries): string | undefined {
    const held = this.#held;
    if (held === undefined) return undefined;
    const step = stepInNote(note);
    const fault = (what: string) => `${what} in {sys}:keys, which says which storage keys count`;
    if (step === undefined) return fault("the note is missing or damaged");
    if (step < held.keys.step) return fault("an older note is");
    if (note === this.#ignored) return fault("the note does not prove itself");
    const isUnproven = step === held.keys.step && !this.#canFollow(note, step);
    return isUnproven ? fault("the note does not prove itself") : undefined;
  }

  /** The keys of a store that are held, by their numbers; without one that a fail-over may still take back. */
  of(storeId: string): ReadonlyMap<number, HeldKey> {
    if (this.#held?.keys.storeId !== storeId) return new Map();
    const { keys, byNumber } = this.#held;
    const newest = keySteps.newest(keys.step);
    return new Map([...byNumber].filter(([number]) => number <= newest));
  }

  /** Keeps an entry that was seen to open to the key that is held. */
  keep(entry: ReadKeyEntry): void {
    const held = this.of(entry.storeId).get(entry.number);
    if (held !== undefined) this.#held?.byNumber.set(entry.number, { ...held, entry });
  }

  /** Warns of everything in `{sys}:keys` that is not as the keys that are held. */
  report(found: KeyEntries): void {
    for (const { number, reason } of found.faults) if (number === undefined) this.#warn(reason);
    const newest = keySteps.newest(stepInNote(found.note) ?? this.#held?.keys.step ?? 0);
    for (const { number } of [...found.entries, ...found.faults]) {
      if (Number(number) <= newest || number === undefined) continue;
      this.#warn(`storage key ${number} in {sys}:keys is not one that counts`);
    }
    for (const fault of this.faults(found)) this.#warn(fault);
  }

  /** What is wrong in `{sys}:keys`, so that a node that starts would refuse the store. */
  faults(found: KeyEntries): string[] {
    const note = this.noteFault(found);
    const entries = faultsOf(found, this.of(this.#held?.keys.storeId ?? ""));
    return note === undefined ? entries : [...entries, note];
  }

  /** The root of trust, each call of which ends after a bounded time. */
  get opener(): KeyOpener {
    const { root } = this.#settings;
    return {
      unwrap: (blob, data) =>
        this.#inTime(root.unwrap(blob, data), ({ plaintext }) => plaintext.fill(0)),
      describe: () => this.#inTime(root.describe()),
    };
  }

  /** Ends what is under way. */
  close(): void {
    this.#closed = true;
    this.#stop?.();
  }

  /** Opens every key of a store; of keys that count no more, those that open. */
  async #openAll(entries: readonly ReadKeyEntry[], step: number): Promise<Map<number, HeldKey>> {
    const byNumber = new Map<number, HeldKey>();
    for (const entry of entries) {
      const counts = entry.number >= keySteps.oldest(step);
      const opened = await this.#open(entry).catch((error: StoreUnavailable) => {
        if (counts || error.failure !== "unsafe") throw error;
        this.#warn(error.message);
      });
      if (opened !== undefined) byNumber.set(entry.number, heldKey(entry, opened));
    }
    return byNumber;
  }

  /**
   * Opens the keys of a later step. False where a root of trust that is closed keeps them from being opened, and the step
   * before needs none of them.
   */
  async #openNext(found: KeyEntries, { keys, byNumber }: Held): Promise<boolean> {
    const step = stepInNote(found.note);
    if (step === undefined || step <= keys.step || found.note === this.#ignored) return true;
    const newest = keySteps.newest(step);
    const own = keySteps.newest(keys.step);
    const entries = found.entries.filter(({ number }) => number > own && number <= newest);
    // Only who has the key before it can make a link, so a root of trust is asked for nothing else.
    const isNext = entries.some((entry) => isLinked(byNumber.get(own)?.key, entry));
    if (newest > own && (!isNext || entries.length < newest - own)) return this.#ignore(found.note);
    const opened = await this.#openAfter(entries, byNumber);
    if (opened instanceof StoreUnavailable) {
      if (opened.failure !== "keyClosed") return this.#ignore(found.note);
      if (keySteps.newest(step - 1) > own) throw opened;
      return false;
    }
    const isProven = provesNote(opened.get(newest)?.key, found.note);
    if (!isProven || !links(opened, own + 1, newest)) return this.#ignore(found.note);
    // Another session may have followed meanwhile.
    if (this.#held?.keys !== keys) return true;
    this.#held = { keys, byNumber: opened };
    keys.follow(keysOf(opened), step - 1);
    return true;
  }

  /** The keys that are open, and those of these entries; or why one does not open. */
  async #openAfter(
    entries: readonly ReadKeyEntry[],
    byNumber: ReadonlyMap<number, HeldKey>,
  ): Promise<Map<number, HeldKey> | StoreUnavailable> {
    const opened = new Map(byNumber);
    for (const entry of entries) {
      const known = byNumber.get(entry.number);
      if (known !== undefined && isOriginal(known, entry)) continue;
      const made = await this.#open(entry).catch((error: StoreUnavailable) => error);
      if (made instanceof StoreUnavailable) return made;
      opened.set(entry.number, heldKey(entry, made));
    }
    return opened;
  }

  /** Does not follow a note that does not prove itself, or whose keys are not there. */
  #ignore(note: string): true {
    this.#ignored = note;
    this.#warn("{sys}:keys names storage keys that do not prove themselves: they do not count");
    return true;
  }

  #canFollow(note: string, step: number): boolean {
    const { oldest, newest } = keySteps;
    const byNumber = this.#held?.byNumber;
    if (byNumber === undefined || !provesNote(byNumber.get(newest(step))?.key, note)) return false;
    return links(byNumber, oldest(step) + 1, newest(step));
  }

  async #open(entry: KeyEntry): Promise<OpenedKey> {
    const { region } = this.#settings;
    const { opener } = this;
    try {
      return await openStorageKey(entry, region, opener);
    } catch (error) {
      const failure = await openFailure(error, entry, opener);
      if (failure.failure === "keyClosed") this.#say(false, failure.message);
      throw failure;
    }
  }

  #inTime<Answer>(call: Promise<Answer>, dropLate?: (late: Answer) => void): Promise<Answer> {
    let isOver = false;
    return new Promise((resolve, reject) => {
      const give = (why: string) => () => {
        isOver = true;
        reject(new RootOfTrustError("unavailable", why));
      };
      const cancel = this.#settings.timers.after(
        openMs,
        give(`it has not answered within ${openMs} ms`),
        true,
      );
      this.#stop = give("the store is closing");
      if (this.#closed) this.#stop();
      call
        .then((answer) => {
          if (isOver) dropLate?.(answer);
          resolve(answer);
        }, reject)
        .finally(cancel);
    });
  }

  #warn(message: string): void {
    this.#observe({ type: "warning", message });
  }

  #say(isOpen: boolean, reason: string): void {
    if (this.#isOpen === isOpen || this.#closed) return;
    this.#isOpen = isOpen;
    this.#observe({ type: "storageKey", state: isOpen ? "open" : "closed", reason });
  }
}

/**
 * Opens no key of the store, and needs no root of trust: for readers of what they believe without a MAC. Its only key is a
 * random one, so no record proves itself.
 */
export class NoKeys extends HeldKeys {
  readonly #ids: Pick<Ids, "randomBytes">;

  constructor(settings: StoreSettings, ids: Pick<Ids, "randomBytes">) {
    super(settings, settings.observe);
    this.#ids = ids;
  }

  override async open(_: Connection, storeId: string): Promise<StorageKeys> {
    const number = numberMax;
    const key = deriveStorageKey(this.#ids.randomBytes(storageKeyBytes), {
      ...{ storeId, region: "", number },
    });
    // No rotation waits for a reader that checks no MAC.
    return new StorageKeys(storeId, [key], keySteps.only(number));
  }
}

/** What is wrong with the entries of keys that are held. */
function faultsOf({ entries, faults }: KeyEntries, held: ReadonlyMap<number, HeldKey>): string[] {
  const ofHeld = faults.filter(({ number }) => number === "" || held.has(Number(number)));
  const all = ofHeld.map(({ reason }) => reason);
  for (const [number, own] of held) {
    const entry = entries.find((one) => one.number === number);
    if (entry !== undefined && isOriginal(own, entry)) continue;
    if (faults.some((fault) => fault.number === String(number))) continue;
    all.push(entry === undefined ? missing(number) : notOriginal(number));
  }
  return all;
}

function heldKey(entry: ReadKeyEntry, { key, version }: OpenedKey): HeldKey {
  return { key, entry: { ...entry, rootKeyVersion: version } };
}

function keysOf(byNumber: ReadonlyMap<number, HeldKey>): StorageKey[] {
  return [...byNumber.values()].map(({ key }) => key);
}

/** Whether each of these keys is linked to the one before it, where that one is open. */
function links(byNumber: ReadonlyMap<number, HeldKey>, from: number, to: number): boolean {
  for (let number = from; number <= to; number += 1) {
    const entry = byNumber.get(number)?.entry;
    if (entry === undefined || !isLinked(byNumber.get(number - 1)?.key, entry)) return false;
  }
  return true;
}

/** Refuses a start with a note that does not prove itself, or with counting keys of which one is not linked. */
function refuseUnproven(byNumber: ReadonlyMap<number, HeldKey>, note: string, step: number): void {
  const { oldest, newest } = keySteps;
  const isProven = provesNote(byNumber.get(newest(step))?.key, note);
  if (isProven && links(byNumber, oldest(step) + 1, newest(step))) return;
  throw new KeyEntryDamaged(
    "what {sys}:keys says of which storage keys count does not prove itself: docs/storage-key.md says what to do",
  );
}

/** Whether an entry is of this key, with the link that was seen to open with it. */
export function isOriginal({ key, entry }: HeldKey, { check, link }: KeyEntry): boolean {
  return timingSafeEqual(key.check, check) && Buffer.from(entry.link).equals(link);
}

function missing(number: number): string {
  return `storage key ${number} is missing in {sys}:keys`;
}
