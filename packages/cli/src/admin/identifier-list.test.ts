import { expect, test } from "vitest";
import { identifiersIn } from "./identifier-list.ts";

const ids = [
  "8F14E45F-CEEA-467A-9575-1C1E0C0A7D11",
  "vm-1",
  "c9f0f895-fb98-4b91-8f6d-0a5b6c7d8e9f",
];
const lines = `${ids.join("\r\n")}\r\n`;
const utf16 = (text: string) => Buffer.from(`\ufeff${text}`, "utf16le");

test.each<[string, Buffer]>([
  ["UTF-8", Buffer.from(lines)],
  ["UTF-8 with a byte order mark", Buffer.from(`\ufeff${lines}`)],
  ["UTF-16, little-endian, as Windows PowerShell writes it", utf16(lines)],
  ["UTF-16, big-endian", utf16(lines).swap16()],
  ["one line with commas", Buffer.from(ids.join(", "))],
  ["one line with semicolons, in quotes", Buffer.from(ids.map((id) => `'${id}'`).join(" ; "))],
  ["CSV with quotes and names", Buffer.from(ids.map((id) => `"${id}","web server, 1"`).join("\n"))],
  ["CSV with an empty column", Buffer.from(ids.map((id) => `${id},,`).join("\n"))],
  ["lines in quotes", Buffer.from(ids.map((id) => `"${id}"`).join("\n"))],
])("reads a list in %s", (_name, bytes) => {
  expect(identifiersIn(bytes, "--in-use")).toEqual(ids);
});

test.each<[string, Buffer, string]>([
  ["nothing", Buffer.from(""), "--in-use: the list is empty"],
  ["blank lines", Buffer.from("\n \r\n"), "--in-use: the list is empty"],
  ["UTF-16 without any text", utf16(""), "--in-use: the list is empty"],
  ["a line of a table", Buffer.from("vm-1\n-----\nvm-2"), 'line 2: "-----" is not an identifier'],
  ["UTF-16 without a BOM", Buffer.from("vm-1\nvm-2", "utf16le"), "is UTF-16 without a byte order"],
  ["two words", Buffer.from("vm-1\nweb server"), 'line 2: "web server" is not an identifier'],
  ["a quoted name with a comma", Buffer.from('vm-1\n"web, 1",vm-2'), 'line 2: "web, 1" is not an'],
  ["an empty first column", Buffer.from('"","vm-1"'), 'line 1: "" is not an identifier'],
  ["an unclosed quote", Buffer.from('vm-1\n"vm-2'), 'line 2: ""vm-2" is not an identifier'],
  ["text after a quote", Buffer.from('vm-1\n"vm-2"x,vm-3'), "line 2: "],
  ["the type that PowerShell writes", Buffer.from("#TYPE System.String\n"), 'line 1: "#TYPE '],
  ["one that is too long", Buffer.from(`vm-1\n\n${"x".repeat(65)}`), "line 3: "],
  ["binary data", Buffer.from([0x76, 0xff, 0x0a]), "is not text in UTF-8 or UTF-16"],
])("refuses %s", (_name, bytes, fault) => {
  expect(() => identifiersIn(bytes, "--in-use")).toThrow(fault);
});
