import { tags } from "@holdfast/kmip";
import { byteString, encode, integer, structure, textString } from "@holdfast/ttlv";
import { describe, expect, test } from "vitest";
import { printMessages } from "./decode.ts";

const key = Buffer.from("00112233445566778899aabbccddeeff", "hex");
const one = encode(
  structure(tags.RequestPayload.tag, [
    byteString(tags.KeyMaterial.tag, key),
    textString(tags.Password.tag, "s3cret"),
    integer(tags.BatchCount.tag, 1),
  ]),
);

describe("printed messages", () => {
  test("hide key material and passwords", () => {
    const text = printMessages(one).join("\n");
    expect(text).not.toContain("0011");
    expect(text).not.toContain("s3cret");
    expect(text).toContain("BatchCount Integer 1");
  });

  test("appear in the order of the input", () => {
    const lines = printMessages(Buffer.concat([one, one]));
    expect(lines).toEqual([...printMessages(one), ...printMessages(one)]);
  });

  test.each<[string, Uint8Array, RegExp]>([
    ["the first is cut short", one.subarray(0, 20), /of the message that begins at byte 0$/],
    [
      "the second is cut short",
      Buffer.concat([one, one.subarray(0, 4)]),
      new RegExp(`of the message that begins at byte ${one.length}$`),
    ],
    [
      "it is not TTLV",
      Buffer.from("GET / HTTP/1.1\r\n\r\n"),
      /of the message that begins at byte 0$/,
    ],
  ])("are refused, with the byte offset, if %s", (_name, bytes, message) => {
    expect(() => printMessages(bytes)).toThrow(message);
  });
});
