import { describe, expect, test } from "vitest";
import { byteString, integer, structure } from "./build.ts";
import { decode, defaultLimits } from "./decode.ts";
import { encode } from "./encode.ts";
import { TtlvError } from "./error.ts";
import type { Item } from "./item.ts";

function hex(text: string): Uint8Array {
  return Uint8Array.from(text.match(/[0-9a-f]{2}/g) ?? [], (digits) => Number.parseInt(digits, 16));
}

function errorOf(run: () => unknown): { message: string; offset: number } {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(TtlvError);
    const { message, offset } = error as TtlvError;
    return { message, offset };
  }
  throw new Error("nothing was thrown");
}

function nested(depth: number): Item {
  let item: Item = structure(0x42_0020, []);
  for (let level = 1; level < depth; level++) item = structure(0x42_0020, [item]);
  return item;
}

describe("invalid bytes", () => {
  const inner = "420004 02 00000004 00000001 00000000";
  test.each<[string, string, string, number]>([
    ["nothing", "", "item header is cut short", 0],
    ["seven bytes", "420020 02 000000", "item header is cut short", 0],
    ["type 0", "420020 00 00000000", "unknown item type 0", 0],
    ["type 12", "420020 0c 00000000", "unknown item type 12", 0],
    ["type 255", "420020 ff 00000000", "unknown item type 255", 0],
    ["value missing", "420020 02 00000004", "value runs past its container", 0],
    ["value cut", "420020 08 00000009 0000000000000000", "value runs past its container", 0],
    ["padding missing", "420020 02 00000004 00000008", "value runs past its container", 0],
    ["padding cut", "420020 08 00000003 010203 000000", "value runs past its container", 0],
    ["4 GiB", "420020 08 ffffffff 0000000000000000", "value runs past its container", 0],
    ["4 GiB of items", "420020 01 fffffff8", "value runs past its container", 0],
    ["padding of a number", "420020 02 00000004 00000008 00000001", "padding is not zero", 0],
    ["padding of text", "420020 07 00000001 6100000000000100", "padding is not zero", 0],
    ["Integer of 8", "420020 02 00000008 0000000000000008", "Integer is 8 bytes long, not 4", 0],
    ["Integer of 0", "420020 02 00000000", "Integer is 0 bytes long, not 4", 0],
    ["Long of 4", "420020 03 00000004 0000000100000000", "LongInteger is 4 bytes long, not 8", 0],
    [
      "Enumeration of 3",
      "420020 05 00000003 0000010000000000",
      "Enumeration is 3 bytes long, not 4",
      0,
    ],
    ["Boolean of 1", "420020 06 00000001 0100000000000000", "Boolean is 1 bytes long, not 8", 0],
    ["Date-Time of 4", "420020 09 00000004 0000000100000000", "DateTime is 4 bytes long, not 8", 0],
    ["Interval of 8", "420020 0a 00000008 0000000000000001", "Interval is 8 bytes long, not 4", 0],
    [
      "Date-Time Extended of 16",
      "420020 0b 00000010 0000000000000001 0000000000000001",
      "DateTimeExtended is 16 bytes long, not 8",
      0,
    ],
    [
      "Big Integer of 0",
      "420020 04 00000000",
      "BigInteger's length is not a multiple of 8, at least 8",
      0,
    ],
    [
      "Big Integer of 4",
      "420020 04 00000004 0000000100000000",
      "BigInteger's length is not a multiple of 8, at least 8",
      0,
    ],
    ["Boolean 2", "420020 06 00000008 0000000000000002", "Boolean is neither 0 nor 1", 0],
    ["Boolean, high bit", "420020 06 00000008 8000000000000001", "Boolean is neither 0 nor 1", 0],
    ["lone continuation byte", "420020 07 00000001 8000000000000000", "TextString is not UTF-8", 0],
    ["overlong slash", "420020 07 00000002 c0af000000000000", "TextString is not UTF-8", 0],
    ["a surrogate", "420020 07 00000003 eda0800000000000", "TextString is not UTF-8", 0],
    ["beyond U+10FFFF", "420020 07 00000004 f490808000000000", "TextString is not UTF-8", 0],
    ["cut sequence", "420020 07 00000002 61c3000000000000", "TextString is not UTF-8", 0],
    ["bytes after", `${inner} 00`, "more bytes follow the item", 16],
    ["an item after", `${inner} ${inner}`, "more bytes follow the item", 16],
    [
      "Structure of 4",
      "420020 01 00000004 0000000000000000",
      "Structure's length is not a multiple of 8",
      0,
    ],
    [
      "child longer than its container",
      "420020 01 00000010 420004 08 00000009 0000000000000000 0000000000000000",
      "value runs past its container",
      8,
    ],
    [
      "second child",
      `420020 01 00000020 ${inner} 420005 06 00000008 0000000000000003`,
      "Boolean is neither 0 nor 1",
      24,
    ],
    [
      "grandchild",
      `420020 01 00000028 ${inner} 420005 01 00000010 420006 05 00000004 00000001 00000001`,
      "padding is not zero",
      32,
    ],
  ])("are refused: %s", (_name, wire, what, offset) => {
    expect(errorOf(() => decode(hex(wire)))).toEqual({
      message: `${what} (at byte ${offset})`,
      offset,
    });
  });
});

describe("limits", () => {
  test("apply to the depth", () => {
    expect(decode(encode(nested(32)))).toEqual(nested(32));
    expect(errorOf(() => decode(encode(nested(33))))).toEqual({
      message: "nested deeper than the limit of 32 (at byte 256)",
      offset: 256,
    });
  });

  test("of depth never exceed 256, even if set higher, so that the stack cannot overflow", () => {
    const bytes = new Uint8Array(8 * 100_000);
    for (let at = 0; at < bytes.length; at += 8) {
      bytes.set([0x42, 0, 0x20, 1], at);
      new DataView(bytes.buffer).setUint32(at + 4, bytes.length - at - 8);
    }
    const limits = { depthMax: Infinity, bytesMax: Infinity, itemsMax: Infinity };
    expect(errorOf(() => decode(bytes, limits)).message).toBe(
      "nested deeper than the limit of 256 (at byte 2048)",
    );
    expect(decode(encode(nested(256)), limits)).toEqual(nested(256));
  });

  test("apply to the bytes", () => {
    const bytes = encode(byteString(0x42_0020, new Uint8Array(48)));
    const limits = { ...defaultLimits, bytesMax: 56 };
    expect(decode(bytes, limits)).toBeDefined();
    expect(errorOf(() => decode(bytes, { ...limits, bytesMax: 55 })).message).toBe(
      "56 bytes, more than the limit of 55 (at byte 0)",
    );
    expect(errorOf(() => decode(new Uint8Array(2 ** 20 + 8))).message).toBe(
      "1048584 bytes, more than the limit of 1048576 (at byte 0)",
    );
  });

  test("apply to the number of items", () => {
    const many = encode(structure(0x42_0020, new Array(20_000).fill(integer(0x42_0004, 1))));
    expect(errorOf(() => decode(many)).message).toBe(
      `more items than the limit of 20000 (at byte ${8 + 16 * 19_999})`,
    );
    expect(decode(many, { ...defaultLimits, itemsMax: 20_001 })).toBeDefined();
  });
});
