import { timingSafeEqual } from "node:crypto";
import { type Ids, StoreUnavailable, sysPartition } from "@holdfast/engine";
import type { Argument } from "../connection/command-line.ts";
import {
  allPartitions,
  allTrails,
  identifierIn,
  partitionKeys,
  sysKeys,
} from "../connection/keys.ts";
import {
  headerAt,
  readPartitionHead,
  readRecordHeader,
  recordHeaderLength,
} from "../connection/record-header.ts";
import { type Reply, readByteFields, readPairs } from "../connection/replies.ts";
import type { ScriptName } from "../connection/scripts.ts";
import { sleep } from "../connection/timers.ts";
import { acceptedPlace } from "../memory/acceptance.ts";
import {
  factBits,
  openRecord,
  proveBytes,
  provenVersion,
  type RecordPlace,
} from "../proof/record-proof.ts";
import { type FoundValue, split } from "../proof/stored-values.ts";
import { Answers } from "../session/answers.ts";
import { requiredFormatPlace } from "../session/formats.ts";
import type { PrimarySession, StoreContext } from "../session/primary-session.ts";
import type { PrimarySessions } from "../session/primary-sessions.ts";
import {
  keysMax,
  type ReadKeyEntry,
  readKeyEntries,
  writeKeyEntry,
} from "../storage-keys/key-entry.ts";
import { isLinked, stepInNote, writeKeyNote } from "../storage-keys/key-note.ts";
import { keyFailure, openStorageKey } from "../storage-keys/key-opening.ts";
import {
  deriveStorageKey,
  keySteps,
  type StorageKey,
  type StorageKeys,
  storageKeyBytes,
} from "../storage-keys/storage-keys.ts";
import { proveValue, type ValuePlace, valueProofLength } from "../storage-keys/value-proof.ts";
import { type KeyWrapper, wrapStorageKey } from "./key-wraps.ts";
import { reachedPlace } from "./leader-records.ts";

/** What a rotation has done in one call, and whether it is under way. */
export interface RotationProgress {
  /** Records and values that came under the new key. */
  readonly done: number;
  /** Records that an older key has proven, as last counted; undefined before they were. */
  readonly left: number | undefined;
  readonly isUnderWay: boolean;
}

/** Which storage keys of a store count. */
export interface StorageKeyState {
  /** The number with which everything new is made. */
  readonly number: number;
  /** When its key was made, in milliseconds since the epoch; 0 for the key of `store init`. */
  readonly madeMs: number;
  /** What a rotation that is under way waits for; undefined without one. */
  readonly rotation: "opening" | "switching" | "replacing" | undefined;
  /** Records under an older number, as last counted by the node that replaces them; undefined where this node does not. */
  readonly left: number | undefined;
}

/** Records whose proofs one script replaces: every other client waits while it runs. */
const recordsPerScript = 256;
/** The same for sealed records, whose bodies are read too. */
const sealedPerScript = 32;
const valuesAtOnce = 256;
/** Between two scripts other work runs. */
const pauseMs = 5;
const none = Buffer.alloc(0);
const { head } = partitionKeys(sysPartition);
const recordPrefixes: ReadonlyMap<string, number> = new Map(
  allPartitions.map(({ record }, partition) => [record, partition]),
);

/** A record that an older storage key has proven. */
interface OlderRecord {
  readonly key: Buffer;
  readonly place: RecordPlace;
  readonly header: Buffer;
  readonly isSealed: boolean;
}

/**
 * Rotates the key of a store (docs/storage-key.md), in steps (`keySteps`) that each follow the one before when every node
 * that was heard lately follows it. What is between the steps is found in the store, so another leader continues it.
 */
export class KeyRotation {
  readonly #context: StoreContext;
  readonly #sessions: PrimarySessions;
  readonly #answers: Answers;
  #left: number | undefined;

  constructor(context: StoreContext, sessions: PrimarySessions) {
    this.#context = context;
    this.#sessions = sessions;
    this.#answers = new Answers(context, sessions);
  }

  /** See `RedisStore.storageKeyState`. */
  readonly storageKeyState = async (): Promise<StorageKeyState> => {
    const session = this.#sessions.now("read") ?? (await this.#sessions.require("read"));
    const { step, newest } = session.storageKeys;
    const entry = this.#context.keys.of(session.storeId).get(newest.number)?.entry;
    const rotation = ([undefined, "opening", "switching"] as const)[step % 3];
    const isFenced = rotation === "switching" && (await this.#isFenced(session));
    return {
      ...{ number: newest.number, madeMs: entry?.madeMs ?? 0 },
      rotation: isFenced ? "replacing" : rotation,
      left: step % 3 === 0 ? 0 : this.#left,
    };
  };

  /** See `RedisStore.rotateStorageKey`. */
  readonly rotateStorageKey = async (
    root: KeyWrapper,
    randomBytes: Ids["randomBytes"],
  ): Promise<number | undefined> => {
    const session = await this.#session();
    const { keys } = this.#context;
    const { storageKeys, storeId } = session;
    const { newest: before, step } = storageKeys;
    const number = before.number + 1;
    if (step !== keySteps.only(before.number)) return undefined;
    if (number > keysMax) {
      throw new StoreUnavailable(
        "unsafe",
        `this store has had ${before.number} storage keys, which is the most: a new store (docs/storage-key.md, "If it is lost") begins anew`,
      );
    }
    const answer = await session.reading(async ({ connection }) => {
      // Finds a missing permission before anything begins (`#walk`).
      await connection.call("scan", "0", "count", "1");
      return await connection.call("hgetall", sysKeys.keys);
    });
    const found = readKeyEntries(answer, storeId);
    // Another order may have begun one meanwhile, which this node follows already.
    const isOther = found.note !== keys.note(storeId) || (stepInNote(found.note) ?? step) !== step;
    if (isOther) return undefined;
    await refuseOtherRoot(
      root,
      found.entries.find((one) => one.number === before.number),
    );
    const text = readPairs(answer).get(String(number)) ?? "";
    const made = await this.#newKey(
      before,
      found.entries.find((one) => one.number === number),
      {
        ...{ number, storeId, root, ids: { randomBytes } },
      },
    );
    const args = [...this.#stepArgs(session, found.note, made.note, 0), String(number), text];
    const { result } = await this.#submit(
      session,
      "key-step",
      [sysKeys.formats, sysKeys.keys],
      [...args, made.text],
    );
    return result === "committed" ? number : undefined;
  };

  /** See `RedisStore.continueRotation`. */
  readonly continueRotation = async (active: () => boolean): Promise<RotationProgress> => {
    const session = await this.#session();
    const { step } = session.storageKeys;
    if (step % 3 === 0) {
      this.#left = undefined;
      return { done: 0, left: 0, isUnderWay: false };
    }
    const heads = allPartitions.map((partition) => partition.head);
    if (step % 3 === 1) await this.#step(session, step, step + 1);
    else if (await this.#isFenced(session)) return await this.#replace(session, step, active);
    else await this.#step(session, step, step, heads);
    return { done: 0, left: this.#left, isUnderWay: true };
  };

  /** A new key, or the one that a rotation made whose note was lost: other nodes may have opened it. */
  async #newKey(
    before: StorageKey,
    entry: ReadKeyEntry | undefined,
    {
      number,
      storeId,
      root,
      ids,
    }: {
      readonly number: number;
      readonly storeId: string;
      readonly root: KeyWrapper;
      readonly ids: Pick<Ids, "randomBytes">;
    },
  ): Promise<{ readonly text: string; readonly note: string }> {
    const { region } = this.#context.settings;
    const step = keySteps.only(before.number) + 1;
    if (entry !== undefined && isLinked(before, entry)) {
      const { key } = await openStorageKey(entry, region, this.#context.keys.opener).catch(
        (error: unknown) => {
          throw keyFailure(error, entry);
        },
      );
      return { text: entry.text, note: writeKeyNote(key, step) };
    }
    const secret = ids.randomBytes(storageKeyBytes);
    const madeMs = Math.floor(this.#context.lease.now().wallMs);
    try {
      const name = { storeId, region, number };
      const made = await wrapStorageKey(secret, { ...name, madeMs }, root, before);
      return {
        text: writeKeyEntry(made),
        note: writeKeyNote(deriveStorageKey(secret, name), step),
      };
    } catch (error) {
      throw keyFailure(error, { number, storeId, rootOfTrust: "" });
    } finally {
      secret.fill(0);
    }
  }

  /** Makes a step, or the heads' part of one, if every node that was heard lately, this one too, follows the last one. */
  async #step(
    session: PrimarySession,
    step: number,
    next: number,
    heads: readonly string[] = [],
  ): Promise<void> {
    const { keys } = this.#context;
    const note = keys.note(session.storeId);
    const newest = keys.of(session.storeId).get(keySteps.newest(step))?.key;
    // Another leader may have made it.
    if (session.storageKeys.step !== step || note === undefined || newest === undefined) return;
    const args = this.#stepArgs(session, note, writeKeyNote(newest, next), step);
    const more = [sysKeys.formats, sysKeys.keys, ...heads];
    await this.#submit(session, "key-step", more, [...args, "", "", ""]);
  }

  #stepArgs(session: PrimarySession, note: string, next: string, followed: number): Argument[] {
    const { stamp } = session.storageKeys;
    return [stamp, note, next, String(followed), this.#context.formats.silentMs];
  }

  /** Whether no script writes any more what was made with an older key. */
  async #isFenced(session: PrimarySession): Promise<boolean> {
    const heads = await session.reading(({ connection }) =>
      connection.call("mget", ...allPartitions.map((partition) => partition.head)),
    );
    const { number } = session.storageKeys.newest;
    return (heads as readonly (Buffer | null)[]).every(
      (value) => (readPartitionHead(value)?.leastKey ?? 0) >= number,
    );
  }

  /**
   * Gives everything that an older key has proven a proof by the new one. The older key ends when a whole pass has found
   * nothing, all of it on one process of Redis: a promoted one may lack some of it.
   */
  async #replace(
    session: PrimarySession,
    step: number,
    active: () => boolean,
  ): Promise<RotationProgress> {
    const left = await this.#walk(session, active, false);
    if (left === undefined) return { done: 0, left: this.#left, isUnderWay: true };
    this.#left = left;
    const done = left === 0 ? 0 : ((await this.#walk(session, active, true)) ?? 0);
    const values = active() ? await this.#replaceValues(session) : 1;
    if (left + values === 0 && active()) await this.#step(session, step, step + 1);
    return { done: done + values, left: this.#left, isUnderWay: true };
  }

  /**
   * Counts the records of an older key, or replaces their proofs; undefined where `active` ended it. It walks through all
   * keys of Redis, and not through an index: a record that an index lacks must not be left behind.
   */
  async #walk(
    session: PrimarySession,
    active: () => boolean,
    replaces: boolean,
  ): Promise<number | undefined> {
    let count = 0;
    let cursor = "0";
    do {
      if (!active()) return undefined;
      const page = ["match", "{*}:o:*", "count", String(recordsPerScript)];
      const answer = await session.reading(({ connection }) =>
        connection.call("scan", cursor, ...page),
      );
      const [next, keys] = answer as readonly [Buffer, readonly Buffer[]];
      const older = await this.#older(session, keys);
      if (replaces) {
        await this.#replaceProofs(session, older, (record) => !record.isSealed, recordsPerScript);
        await this.#replaceProofs(session, older, (record) => record.isSealed, sealedPerScript);
      }
      count += older.length;
      cursor = String(next);
    } while (cursor !== "0");
    this.#answers.assert(session);
    return count;
  }

  /** The records of these keys that an older storage key has proven. What does not prove itself stays as it is. */
  async #older(session: PrimarySession, keys: readonly Buffer[]): Promise<OlderRecord[]> {
    const { storageKeys } = session;
    const last = String(recordHeaderLength - 1);
    const lines = keys.map((key) => ["getrange", key, "0", last] as const);
    const headers = await session.reading(({ connection }) => connection.batch(lines));
    return keys.flatMap((key, at) => {
      const found = headers[at];
      const place = placeOf(key);
      // An error is one of a value of another type.
      if (place === undefined || found === undefined || "error" in found) return [];
      const header = found.value as Buffer;
      const { number } = storageKeys.newest;
      if ((readRecordHeader(header)?.keyNumber ?? number) >= number) return [];
      if (provenVersion(storageKeys, place, header) === undefined) return [];
      const isSealed = (header.readUInt8(headerAt.facts) & factBits.sealed) !== 0;
      return [{ key, place, header, isSealed }];
    });
  }

  async #replaceProofs(
    session: PrimarySession,
    all: readonly OlderRecord[],
    which: (record: OlderRecord) => boolean,
    atOnce: number,
  ): Promise<void> {
    const records = all.filter(which);
    for (let at = 0; at < records.length; at += atOnce) {
      // Other work runs between two scripts.
      await sleep(this.#context.settings.timers, pauseMs, { background: true });
      await this.#remac(session, records.slice(at, at + atOnce));
    }
  }

  /** Either all of them are sealed, or none. */
  async #remac(session: PrimarySession, older: readonly OlderRecord[]): Promise<void> {
    const values = older[0]?.isSealed
      ? ((await session.reading(({ connection }) =>
          connection.call("mget", ...older.map(({ key }) => key)),
        )) as readonly (Buffer | null)[])
      : older.map(({ header }) => header);
    const { storageKeys } = session;
    const { stamp, newest } = storageKeys;
    const given: Buffer[] = [];
    const args: Argument[] = [stamp];
    for (const [at, { key, place }] of older.entries()) {
      const value = values[at];
      const made = value && remade(storageKeys, newest, place, value);
      if (!made) continue;
      given.push(key);
      args.push(value.subarray(0, headerAt.promised), proofIn(value), made.proof, made.body);
    }
    if (given.length > 0) await this.#submit(session, "remac", given, args);
    this.#left = Math.max(0, (this.#left ?? 0) - older.length);
  }

  /** Replaces the proofs of values; returns how many there were. */
  async #replaceValues(session: PrimarySession): Promise<number> {
    const inline = [
      ...allPartitions.map(({ cursors }) => cursors),
      ...allTrails.map(({ chain }) => chain),
      sysKeys.auditSinks,
    ];
    let count = 0;
    for (const key of inline) {
      const older = (await this.#fields(session, key)).filter(([field, stored]) =>
        this.#isOlder(session, { key, field }, split(stored)),
      );
      count += older.length;
      for (let at = 0; at < older.length; at += valuesAtOnce) {
        await Promise.all(
          older.slice(at, at + valuesAtOnce).map(([field, stored]) => {
            const { value } = split(stored);
            const proof = proveValue(session.storageKeys.newest, { key, field }, value);
            const next = Buffer.concat([value, proof]);
            return this.#setField(session, { key, field }, stored, next);
          }),
        );
      }
    }
    for (const [field, text] of await this.#fields(session, sysKeys.local)) {
      if (field !== acceptedPlace.field) continue;
      const found = split(Buffer.from(String(text), "base64"));
      if (!this.#isOlder(session, acceptedPlace, found)) continue;
      const proof = proveValue(session.storageKeys.newest, acceptedPlace, found.value);
      const next = Buffer.concat([found.value, proof]).toString("base64");
      await this.#setField(session, acceptedPlace, text, Buffer.from(next));
      count += 1;
    }
    for (const place of [reachedPlace, requiredFormatPlace]) {
      const proofPlace = { key: place.key, field: `${place.field}Proof` };
      const fields = new Map(await this.#fields(session, place.key));
      const [value, proof] = [fields.get(place.field), fields.get(proofPlace.field)];
      if (value === undefined || proof === undefined) continue;
      if (!this.#isOlder(session, place, { value, proof })) continue;
      const next = proveValue(session.storageKeys.newest, place, value);
      await this.#setField(session, proofPlace, proof, next);
      count += 1;
    }
    return count;
  }

  async #fields(session: PrimarySession, key: string) {
    return readByteFields(
      await session.reading(({ connection }) => connection.call("hgetall", key)),
    );
  }

  #isOlder({ storageKeys }: PrimarySession, place: ValuePlace, found: FoundValue): boolean {
    const { value, proof } = found;
    if (proof.length !== valueProofLength || value.length === 0) return false;
    const number = proof.readUInt16BE();
    const key = number < storageKeys.newest.number ? storageKeys.get(number) : undefined;
    return key !== undefined && timingSafeEqual(proof, proveValue(key, place, value));
  }

  async #setField(
    session: PrimarySession,
    { key, field }: ValuePlace,
    read: Buffer,
    value: Buffer,
  ): Promise<void> {
    await this.#submit(session, "set-key", [key], [session.storageKeys.stamp, field, read, value]);
  }

  async #session(): Promise<PrimarySession> {
    return this.#sessions.now("write") ?? (await this.#sessions.require("write"));
  }

  #submit(
    session: PrimarySession,
    name: ScriptName,
    keys: readonly Argument[],
    args: readonly Argument[],
  ): Promise<Reply> {
    const script = this.#context.scripts[name];
    return session.groupCommit.submit(script, sysPartition, [head, ...keys], args);
  }
}

/** The place of a record; undefined for any other key. */
function placeOf(key: Buffer): RecordPlace | undefined {
  const at = Math.max(0, key.length - 16);
  const partition = recordPrefixes.get(key.toString("latin1", 0, at));
  return partition === undefined
    ? undefined
    : { partition, identifier: identifierIn(key.subarray(at)) };
}

/** The proof of a record by another key; undefined where its body is not the one that its header names. */
function remade(
  keys: StorageKeys,
  by: StorageKey,
  place: RecordPlace,
  value: Buffer,
): { readonly proof: Buffer; readonly body: Buffer } | undefined {
  const version = provenVersion(keys, place, value);
  if (version === undefined) return undefined;
  const digest = value.toString("hex", headerAt.digest, headerAt.promised);
  const facts = value.readUInt8(headerAt.facts);
  const isSealed = (facts & factBits.sealed) !== 0;
  try {
    const bytes = isSealed ? openRecord(keys, place, value).bytes : none;
    const { proof, body } = proveBytes(by, place, bytes, { digest, version, facts });
    return { proof, body: isSealed ? body : none };
  } catch (error) {
    if (error instanceof StoreUnavailable && error.failure === "corrupt") return undefined;
    throw error;
  }
}

/** Refuses to wrap a key with another root key than the key before it: one of the two is not that of all nodes. */
async function refuseOtherRoot(root: KeyWrapper, before: ReadKeyEntry | undefined): Promise<void> {
  if (before === undefined) return;
  const { number, rootOfTrust } = before;
  const { name } = await root.describe().catch((error: unknown) => {
    throw keyFailure(error, before);
  });
  if (name === rootOfTrust) return;
  throw new StoreUnavailable(
    "unsafe",
    `storage key ${number} is under root key "${rootOfTrust}", and this node is configured with "${name}": give every node of the region the same root key, restart it, and run \`holdfast root move\` if that is needed`,
  );
}

function proofIn(value: Buffer): Buffer {
  return value.subarray(headerAt.version, recordHeaderLength);
}
