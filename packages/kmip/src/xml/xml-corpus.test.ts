import { existsSync, globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { decode, encode, type Item, ItemType } from "@holdfast/ttlv";
import { describe, expect, test } from "vitest";
import { tags } from "../schema/tags.ts";
import { fromXml } from "./xml-read.ts";
import { toXml } from "./xml-write.ts";

const corpus =
  process.env["KMIP_CORPUS"] ?? join(import.meta.dirname, "../../../../../shared/oasis");
const there = existsSync(corpus);

/** The messages of a file, with a value in place of every placeholder that is not text. */
function messagesOf(file: string): readonly string[] {
  const xml = readFileSync(join(corpus, file), "utf8")
    .replace(/(type="DateTime"\s+value=)"\$NOW[^"]*"/g, '$1"2024-02-29T12:00:00+00:00"')
    .replace(/(type="ByteString"\s+value=)"\$[^"]*"/g, '$1"0102"')
    .replace(/(<AttributeName [^>]*value=)"([^"]*)"/g, (_, head: string, name: string) => {
      return `${head}"${name.replace(/\s+/g, " ")}"`;
    });
  return xml.match(/<(Request|Response)Message>[\s\S]*?<\/\1Message>/g) ?? [];
}

interface Golden {
  readonly file: string;
  readonly index: number;
  readonly ttlv_in_file: string;
  readonly ttlv_matches_our_encoding: boolean;
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

/** Removes Time Stamp: one document prints it with a difference of some seconds. */
function withoutTime(item: Item): Item {
  if (item.type === ItemType.Structure) return { ...item, value: item.value.map(withoutTime) };
  return item.tag === tags.TimeStamp.tag ? ({ ...item, value: 0n } as Item) : item;
}

describe.runIf(there)("the OASIS conformance corpus (needs KMIP_CORPUS)", () => {
  // The PKCS#11 profile names functions and return codes of another standard's tables.
  const files = globSync("v*/**/*.xml", { cwd: corpus }).filter(
    (file) => !/\/PKCS11-M-1-2[01]\.xml$/.test(file),
  );

  test("has its files", () => {
    expect(files.length).toBeGreaterThan(400);
  });

  test.each(["v1.0", "v1.1", "v1.2", "v1.4", "v2.0", "v2.1"])(
    "of %s has the same content in XML, items and bytes, in every message",
    (folder) => {
      for (const file of files.filter((one) => one.startsWith(folder))) {
        const messages = messagesOf(file);
        expect(messages.length, file).toBeGreaterThan(1);
        for (const xml of messages) {
          const item = fromXml(xml);
          expect(decode(encode(item)), file).toEqual(item);
          const written = toXml(item);
          expect(written, file).not.toMatch(/type="Enumeration" value="0x[0-7]/);
          expect(fromXml(written), file).toEqual(item);
        }
      }
    },
  );

  const { messages }: { messages: readonly Golden[] } = there
    ? JSON.parse(readFileSync(join(corpus, "golden-encodings.json"), "utf8"))
    : { messages: [] };

  test.each(messages)("keeps the printed bytes by way of XML: $file, message $index", (golden) => {
    const printed = decode(Buffer.from(golden.ttlv_in_file, "hex"));
    expect(hex(encode(fromXml(toXml(printed))))).toBe(golden.ttlv_in_file);
  });

  const here = messages.filter(({ file }) => existsSync(join(corpus, file)));
  test.each(here)("has XML that encodes to the printed bytes: $file, message $index", (golden) => {
    const item = fromXml(messagesOf(golden.file)[golden.index] ?? "");
    const printed = decode(Buffer.from(golden.ttlv_in_file, "hex"));
    if (golden.ttlv_matches_our_encoding) expect(hex(encode(item))).toBe(golden.ttlv_in_file);
    expect(withoutTime(item)).toEqual(withoutTime(printed));
  });
});
