import { expect, test } from "vitest";
import { Identifiers, identifierLengthMax } from "../../management/keys/identifiers.ts";
import { turnsDuring } from "../../testing/turns-during.ts";
import { readIdentifiers } from "./identifier-reader.ts";

async function* pieces(text: string | Buffer, size: number): AsyncGenerator<Buffer> {
  const bytes = Buffer.from(text as string);
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

function read(text: string | Buffer, size = 7): Promise<Identifiers> {
  return readIdentifiers(pieces(text, size), 1 << 20);
}

const faultOf = (text: string | Buffer, size?: number): Promise<string> =>
  read(text, size).then(
    () => "",
    (error: Error) => error.message,
  );

test("a body is read as JSON, in pieces of any size, and identifiers match whatever their case", async () => {
  const names = ["8F14E45F-CEEA-467A-9575-1C1E0C0A7D11", 'vm "1"\\', "gürtel", "\u{1f512}", "a\tb"];
  const texts = [JSON.stringify({ inUse: names }), JSON.stringify({ inUse: names }, null, 3)];
  texts.push(` {"inUse" :["\\u0067\\u00fcrtel",${JSON.stringify(names).slice(1)}}  `);
  for (const text of texts) {
    for (let size = 1; size < 40; size += 3) {
      const found = await read(text, size);
      expect(found.given).toBe((JSON.parse(text) as { inUse: string[] }).inUse.length);
      for (const name of names) {
        expect(found.has(name)).toBe(true);
        expect(found.has(name.toLowerCase())).toBe(true);
        expect(found.has(`${name}x`)).toBe(false);
      }
      expect(found.has("")).toBe(false);
    }
  }
});

test.each<[string, string | Buffer, string]>([
  ["an empty body", "", "must be JSON of the form"],
  ["another form", '{"used": ["a"]}', "must be JSON of the form"],
  ["a list", '["a"]', "must be JSON of the form"],
  ["an empty list", '{"inUse": []}', "body.inUse: is empty"],
  ["a number", '{"inUse": ["a", 1]}', "body.inUse[1]: must be a string"],
  ["an extra comma", '{"inUse": ["a",]}', "body.inUse[1]: must be a string"],
  ["a missing comma", '{"inUse": ["a" "b"]}', "body.inUse[0]: must be a string"],
  ["a missing end", '{"inUse": ["a"', "body.inUse[0]: must be a string"],
  ["text after the end", '{"inUse": ["a"]} x', "must be JSON of the form"],
  ["another field", '{"inUse": ["a"], "more": 1}', "must be JSON of the form"],
  ["a raw control character", '{"inUse": ["a\u0001"]}', "body.inUse[0]: must be a string"],
  ["an empty identifier", '{"inUse": ["a", ""]}', "body.inUse[1]: must have 1 to 64 characters"],
  [
    "a long identifier",
    JSON.stringify({ inUse: ["x".repeat(65)] }),
    "body.inUse[0]: must have 1 to 64",
  ],
  ["an endless identifier", `{"inUse": ["${"x".repeat(5_000)}`, "body.inUse[0]: must be a string"],
  ["invalid UTF-8", Buffer.from([0x7b, 0xff, 0xfe]), "body: must be JSON in UTF-8"],
  ["a large body", `{"inUse": [${'"aaaaaaa",'.repeat(120_000)}"b"]}`, "the body is too large"],
])("%s is refused", async (_name, text, fault) => {
  expect(await faultOf(text, 4_096)).toContain(fault);
  expect(identifierLengthMax).toBe(64);
});

test("other work gets its turn while a large piece is read", async () => {
  const text = JSON.stringify({ inUse: Array.from({ length: 30_000 }, (_, at) => `key-${at}`) });
  const turns = await turnsDuring(() => read(text, text.length));
  expect(turns).toBeGreaterThan(text.length / 20_000);
});

test("a hundred thousand identifiers are distinguished", () => {
  const all = Array.from({ length: 100_000 }, (_, at) => `key-${at}`);
  const found = Identifiers.of(all);
  expect(found.given).toBe(100_000);
  expect(all.every((one) => found.has(one.toUpperCase()))).toBe(true);
  expect(all.filter((one) => found.has(`${one}.`))).toEqual([]);
});
