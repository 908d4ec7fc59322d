import { generateKeyPairSync, hash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { cosign } from "../../testing/test-witness.ts";
import {
  isNoteName,
  type NoteKey,
  rawPublicKey,
  readCheckpointNote,
  readNoteKey,
  signCheckpoint,
  signedAt,
  splitLines,
  writeNoteKey,
} from "./signed-note.ts";

const log = generateKeyPairSync("ed25519");
const witness = generateKeyPairSync("ed25519");
const origin = "holdfast.example/a/0011";
const root = hash("sha256", "root", "buffer");
const logKey = keyOf("log", origin, log.publicKey);
const witnessKey = keyOf("cosignature", "witness.example/w1", witness.publicKey);

function keyOf(kind: NoteKey["kind"], name: string, key: typeof log.publicKey): NoteKey {
  return { kind, name, raw: rawPublicKey(key) ?? new Uint8Array() };
}

const note = signCheckpoint({ origin, size: 7, root }, log.privateKey);
const { text } = readCheckpointNote(note) as { text: string };
const cosigned = note + cosign(text, witnessKey, witness.privateKey, 1_234);
const linesOf = (of: string) => readCheckpointNote(of)?.lines ?? [];

describe("a checkpoint", () => {
  test("has the form of C2SP, and its signatures are verified", () => {
    const line = /^\u2014 holdfast\.example\/a\/0011 [A-Za-z0-9+/]{91}=$/;
    const parts = note.split("\n");
    expect(parts.slice(0, 4)).toEqual([origin, "7", root.toString("base64"), ""]);
    expect(parts[4]).toMatch(line);
    expect(readCheckpointNote(cosigned)).toMatchObject({ origin, size: 7, root });
    expect(signedAt(text, linesOf(cosigned), logKey)).toBe(0);
    expect(signedAt(text, linesOf(cosigned), witnessKey)).toBe(1_234);
  });

  test("is believed for no other key, text, name, or time; lines of unknown keys are ignored", () => {
    const other = keyOf("cosignature", witnessKey.name, log.publicKey);
    expect(signedAt(text, linesOf(cosigned), other)).toBeUndefined();
    expect(signedAt(text.replace("7", "8"), linesOf(cosigned), logKey)).toBeUndefined();
    expect(signedAt(text, linesOf(note), witnessKey)).toBeUndefined();
    const renamed = linesOf(cosigned).map((line) => line.replace("/w1", "/w2"));
    expect(signedAt(text, renamed, witnessKey)).toBeUndefined();
    const twice = [...linesOf(cosigned), cosign(`${text}x`, witnessKey, witness.privateKey, 2)];
    expect(signedAt(text, twice, witnessKey)).toBeUndefined();
    const stranger = cosign(text, { ...witnessKey, name: "other.example" }, log.privateKey, 5);
    expect(signedAt(text, [stranger, ...linesOf(cosigned)], witnessKey)).toBe(1_234);
  });

  test.each([
    ["a leading zero", note.replace("\n7\n", "\n07\n")],
    ["an extension line", note.replace("\n\n", "\nmore\n\n")],
    ["no signature", text],
    ["CR LF", note.replaceAll("\n", "\r\n")],
    ["a space in the origin", note.replaceAll(origin, "holdfast example")],
    ["a short root", note.replace(root.toString("base64"), "AAAA")],
    ["no last LF", note.slice(0, -1)],
    ["too many signatures", note + linesOf(note)[0]?.repeat(64)],
    ["great length", note + linesOf(note)[0]?.repeat(1_000)],
    ["nothing", ""],
  ])("with %s is refused", (_name, bad) => {
    expect(readCheckpointNote(bad)).toBeUndefined();
  });

  test("is never believed after a change of a character, and parsing never throws", () => {
    fc.assert(
      fc.property(fc.nat(cosigned.length - 1), fc.string({ unit: "binary" }), (at, piece) => {
        const changed = cosigned.slice(0, at) + piece + cosigned.slice(at + 1);
        const read = readCheckpointNote(changed);
        const isSame = changed === cosigned || read === undefined || read.text === text;
        expect(isSame || signedAt(read.text, read.lines, logKey) === undefined).toBe(true);
        splitLines(piece);
        readNoteKey(piece);
      }),
    );
  });
});

describe("a verifier key", () => {
  test("is read as it was written, also with + in its base64", () => {
    let seen = false;
    for (let tries = 0; !seen && tries < 500; tries += 1) {
      const key = keyOf("cosignature", "w", generateKeyPairSync("ed25519").publicKey);
      const written = writeNoteKey(key);
      seen = written.split("+").length > 3;
      expect(readNoteKey(written)).toEqual(key);
    }
    expect(seen).toBe(true);
  });

  test("with another identifier, type or name is refused", () => {
    const written = writeNoteKey(witnessKey);
    expect(readNoteKey(written.replace(/\+[0-9a-f]{8}\+/, "+00000000+"))).toBeUndefined();
    expect(readNoteKey(written.replace("/w1", "/w2"))).toBeUndefined();
    expect(readNoteKey(`${written}=`)).toBeUndefined();
    expect(readNoteKey(written.replace("+B", "+C"))).toBeUndefined();
    expect(["", "a b", "a+b", "a\nb"].filter(isNoteName)).toEqual([]);
  });
});
