import { describe, expect, test } from "vitest";
import { batchItemId, type VcenterItem, vcenterItems, vcenterMessage } from "./vcenter-messages.ts";

/** Joins hex that is written in groups, one line for each TTLV item. */
function hex(text: string): string {
  return text.replaceAll(/\s/g, "");
}

function written(...items: readonly VcenterItem[]): string {
  return Buffer.from(vcenterMessage(items)).toString("hex");
}

function numbered(item: VcenterItem, count: number): VcenterItem {
  return { ...item, uniqueBatchItemId: batchItemId(count) };
}

const header = (count: string) => `
  42007701 00000038
    42006901 00000020
      42006a02 00000004 0000000100000000
      42006b02 00000004 0000000100000000
    42000d02 00000004 ${count}00000000`;

/** `k-1`, as an identifier of three bytes. */
const identifier = "42009407 00000003 6b2d310000000000";

describe("vCenter's messages, byte for byte", () => {
  test("the first message of a connection has no batch item identifier", () => {
    expect(written(vcenterItems.discoverVersions())).toBe(
      hex(`42007801 00000060 ${header("00000001")}
        42000f01 00000018
          42005c05 00000004 0000001e00000000
          42007901 00000000`),
    );
  });

  test("later messages have QLKC and a little-endian counter as identifier", () => {
    expect(written(numbered(vcenterItems.discoverVersions(), 1))).toBe(
      hex(`42007801 00000070 ${header("00000001")}
        42000f01 00000028
          42005c05 00000004 0000001e00000000
          42009308 00000008 514c4b4301000000
          42007901 00000000`),
    );
    expect(Buffer.from(batchItemId(0x1234)).toString("hex")).toBe("514c4b4334120000");
  });

  test("Query asks for the server's information only", () => {
    expect(written(numbered(vcenterItems.queryServerInformation(), 1))).toBe(
      hex(`42007801 00000080 ${header("00000001")}
        42000f01 00000038
          42005c05 00000004 0000001800000000
          42009308 00000008 514c4b4301000000
          42007901 00000010
            42007405 00000004 0000000300000000`),
    );
  });

  test("Create has algorithm, usage mask and length, and no Attribute Index", () => {
    const attributes = `
      42000801 00000030
        42000a07 00000017 43727970746f6772617068696320416c676f726974686d00
        42000b05 00000004 0000000300000000
      42000801 00000030
        42000a07 00000018 43727970746f67726170686963205573616765204d61736b
        42000b02 00000004 0000000c00000000
      42000801 00000030
        42000a07 00000014 43727970746f67726170686963204c656e67746800000000
        42000b02 00000004 0000010000000000`;
    expect(written(numbered(vcenterItems.create(), 1))).toBe(
      hex(`42007801 00000130 ${header("00000001")}
        42000f01 000000e8
          42005c05 00000004 0000000100000000
          42009308 00000008 514c4b4301000000
          42007901 000000c0
            42005705 00000004 0000000200000000
            42009101 000000a8 ${attributes}`),
    );
  });

  test.each<[string, VcenterItem, string, string]>([
    ["Get", vcenterItems.get("k-1"), "0000000a", ""],
    ["Activate", vcenterItems.activate("k-1"), "00000012", ""],
    [
      "Get Attributes of one name",
      vcenterItems.getAttribute("k-1", "State"),
      "0000000b",
      "42000a07 00000005 5374617465000000",
    ],
  ])("%s names the key and contains no optional field", (_name, item, code, more) => {
    const payload = hex(identifier + more);
    const length = (bytes: number) => bytes.toString(16).padStart(8, "0");
    const inner = payload.length / 2;
    expect(written(numbered(item, 2))).toBe(
      hex(`42007801 ${length(0x70 + inner)} ${header("00000001")}
        42000f01 ${length(0x28 + inner)}
          42005c05 00000004 ${code}00000000
          42009308 00000008 514c4b4302000000
          42007901 ${length(inner)} ${payload}`),
    );
  });

  test("attributes are added in a batch, and each item has its own identifier", () => {
    const item = (count: string, value: string) => `
      42000f01 00000060
        42005c05 00000004 0000000d00000000
        42009308 00000008 514c4b43${count}000000
        42007901 00000038
          ${identifier}
          42000801 00000020
            42000a07 00000006 782d4e616d650000
            42000b07 0000000${value}`;
    const add = (count: number, value: string) =>
      numbered(vcenterItems.addAttribute("k-1", "x-Name", value), count);
    expect(written(add(4, "vm-1"), add(5, "vm-12"))).toBe(
      hex(`42007801 00000110 ${header("00000002")}
        ${item("04", "4 766d2d3100000000")} ${item("05", "5 766d2d3132000000")}`),
    );
  });
});
