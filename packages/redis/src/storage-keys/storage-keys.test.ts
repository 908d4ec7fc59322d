import { createHmac, hkdfSync } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  type KeyEntry,
  readKeyEntries,
  readKeyEntry,
  soundKeyEntries,
  writeKeyEntry,
} from "./key-entry.ts";
import { isLinked, linkTo, provesNote, stepInNote, writeKeyNote } from "./key-note.ts";
import { deriveStorageKey, keySteps, StorageKeys } from "./storage-keys.ts";

const name = { storeId: "00112233445566778899aabbccddeeff", region: "a", number: 1 };
const secret = new Uint8Array(32).fill(7);

/** What identifies each derived key. */
function derived(of: typeof name, from = secret): string[] {
  const { record, value, statement, system, check } = deriveStorageKey(from, of);
  const keys = [record, value, statement, system].map((key) => key.export().toString("hex"));
  return [...keys, Buffer.from(check).toString("hex")];
}

test("each purpose has a key of its own, by HKDF-SHA-256", () => {
  const salt = Buffer.from(name.storeId, "hex");
  const info = "holdfast-storage-key-1\0record\0a\x001";
  const expected = Buffer.from(hkdfSync("sha256", secret, salt, info, 32));
  const { record } = deriveStorageKey(secret, name);
  expect(record.export().equals(expected)).toBe(true);
  expect(createHmac("sha256", record).update("x").digest()).toHaveLength(32);
  expect(new Set(derived(name)).size).toBe(5);
});

test.each([
  ["another store", { ...name, storeId: "ff112233445566778899aabbccddeeff" }],
  ["another region", { ...name, region: "b" }],
  ["another number", { ...name, number: 2 }],
])("%s gives other keys", (_, other) => {
  const own = new Set(derived(name));
  expect(derived(other).filter((key) => own.has(key))).toEqual([]);
});

test("a secret of another length is refused", () => {
  expect(() => deriveStorageKey(secret.subarray(1), name)).toThrow("32 bytes, not 31");
});

test("the newest key is the one with the highest number", () => {
  const keys = [2, 3, 1].map((number) => deriveStorageKey(secret, { ...name, number }));
  const all = new StorageKeys(name.storeId, keys);
  expect(all.newest.number).toBe(3);
  expect(all.get(2)).toBe(keys[0]);
  expect(all.get(4)).toBeUndefined();
  // The one before counts until the rotation ends; those before it have ended.
  expect(all.get(1)).toBeUndefined();
  all.follow(keys, keySteps.only(3));
  expect([all.get(2), all.get(3)]).toEqual([undefined, keys[1]]);
  // No step is taken back.
  all.follow(keys, keySteps.only(2));
  expect([all.step, all.newest.number]).toEqual([9, 3]);
  expect(() => new StorageKeys(name.storeId, [])).toThrow("no storage key");
});

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
/** Printable ASCII. */
const nameText = (maxLength: number) =>
  fc.stringMatching(/^[ -~]+$/).map((text) => text.slice(0, maxLength));
const entries = fc.record({
  number: fc.integer({ min: 1, max: 65_535 }),
  storeId: bytes(16).map((id) => Buffer.from(id).toString("hex")),
  rootOfTrust: nameText(100),
  rootKeyVersion: nameText(40),
  wrap: fc.uint8Array({ minLength: 1, maxLength: 2_000 }),
  check: bytes(16),
  link: fc.oneof(bytes(0), bytes(18)),
  madeMs: fc.nat(),
});

/** An entry with plain arrays, which compare by content. */
function plain(entry: KeyEntry | undefined) {
  return (
    entry && { ...entry, wrap: [...entry.wrap], check: [...entry.check], link: [...entry.link] }
  );
}

test("an entry is read as it was written", () => {
  fc.assert(
    fc.property(entries, (entry) => {
      const read = readKeyEntry(String(entry.number), writeKeyEntry(entry));
      expect(plain(read)).toEqual(plain(entry));
    }),
  );
});

test("no text makes the reader throw, and what it reads is an entry", () => {
  const damaged = fc
    .tuple(entries.map(writeKeyEntry), fc.nat(), fc.string({ maxLength: 3 }))
    .map(([text, at, put]) => {
      const place = at % text.length;
      return text.slice(0, place) + put + text.slice(place + 1);
    });
  const texts = fc.oneof(fc.string(), fc.json(), damaged);
  const hex = "0".repeat(32);
  const noBytes = { store: hex, root: "r", version: "1", wrap: "A==", check: hex };
  fc.assert(
    fc.property(fc.oneof(fc.constant("1"), fc.string()), texts, (number, text) => {
      const read = readKeyEntry(number, text);
      if (read === undefined) return;
      expect(read.number).toBe(Number(number));
      expect(read.check).toHaveLength(16);
      expect(read.storeId).toMatch(/^[0-9a-f]{32}$/);
      expect(read.wrap.length).toBeGreaterThan(0);
    }),
    { numRuns: 1_000, examples: [["1", JSON.stringify(noBytes)]] },
  );
});

const first: KeyEntry = {
  ...{ ...name, rootOfTrust: "r", rootKeyVersion: "1", wrap: secret },
  ...{ check: secret.subarray(0, 16), link: new Uint8Array(), madeMs: 0 },
};

test.each(["0", "-1", "01", "1.0", "65536", "99999", "", "x"])("%j is no number", (number) => {
  const entry = { ...first, check: secret };
  const text = writeKeyEntry({ ...entry, check: secret.subarray(0, 16) });
  expect(readKeyEntry("1", text)).toBeDefined();
  expect(readKeyEntry(number, text)).toBeUndefined();
});

test.each([
  ["a line break", "root\nkey"],
  ["a control sequence", "\u001b[2J"],
  ["a mark that turns the text round", "\u202e"],
  ["too long a text", "x".repeat(513)],
])("%s is no name of a root key", (_, rootOfTrust) => {
  expect(readKeyEntry("1", writeKeyEntry({ ...first, rootOfTrust }))).toBeUndefined();
});

test("more entries than a store can have are refused", () => {
  const many = Object.fromEntries(Array.from({ length: 1_201 }, (_, at) => [String(at + 1), "x"]));
  const read = readKeyEntries(many, name.storeId);
  expect(read.entries).toEqual([]);
  expect(() => soundKeyEntries(read, name.storeId, "r:1")).toThrow("too many fields");
});

const keyOf = (number: number, from = secret) => deriveStorageKey(from, { ...name, number });

test.each([
  [3, 1, 1, 1],
  [4, 1, 1, 2],
  [5, 1, 2, 2],
  [6, 2, 2, 2],
])(
  "at step %i key %i is the oldest, %i is for new values, %i is the newest",
  (step, ...numbers) => {
    const { oldest, current, newest } = keySteps;
    expect([oldest(step), current(step), newest(step)]).toEqual(numbers);
  },
);

test("a note proves itself by the newest key of its step only", () => {
  const note = writeKeyNote(keyOf(2), 4);
  expect(stepInNote(note)).toBe(4);
  expect(provesNote(keyOf(2), note)).toBe(true);
  expect(
    provesNote(
      keyOf(
        2,
        secret.map((byte) => byte + 1),
      ),
      note,
    ),
  ).toBe(false);
  // Who only has the key before cannot say that the new one counts, nor that the old one has ended.
  for (const step of [4, 5, 6])
    expect(provesNote(keyOf(1), writeKeyNote(keyOf(1), step))).toBe(false);
  expect(provesNote(keyOf(2), note.replace("4", "5"))).toBe(false);
  const texts = ["", "4", "4 ", "0 00", "-4 00", "4 zz", "999999 00", note.slice(1), `${note}00`];
  for (const text of texts) {
    expect(stepInNote(text), text).toBeUndefined();
    expect(provesNote(keyOf(2), text), text).toBe(false);
  }
});

test("a key is linked to the one before it", () => {
  const [before, next] = [keyOf(1), keyOf(2)];
  const entry = { ...first, number: 2, check: next.check };
  const linked = { ...entry, link: linkTo(before, entry) };
  expect(isLinked(before, linked)).toBe(true);
  expect(isLinked(before, entry)).toBe(false);
  expect(isLinked(before, { ...linked, check: before.check })).toBe(false);
  expect(isLinked(before, { ...linked, number: 3 })).toBe(false);
  expect(isLinked(before, { ...linked, storeId: "ff".repeat(16) })).toBe(false);
  expect(
    isLinked(
      keyOf(
        1,
        secret.map((byte) => byte + 1),
      ),
      linked,
    ),
  ).toBe(false);
  expect(isLinked(undefined, linked)).toBe(false);
});
