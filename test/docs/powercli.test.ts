import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { blocksOf, pages } from "./blocks.ts";

const path = join(import.meta.dirname, "../../deploy/powercli/holdfast-keys-in-use.ps1");
const script = readFileSync(path, "utf8");
const blocks = pages
  .flatMap((page) => blocksOf(page))
  .filter(({ language }) => language === "powershell");
const codes = [
  { where: "the script", text: script },
  ...blocks.map(({ page, line, text }) => ({ where: `${page}:${line}`, text })),
];

// PowerCLI cannot run here. These mistakes have made such scripts lose data, or do nothing.
const traps = [
  {
    trap: "a property that a machine does not have",
    form: /Where-Object\s+\{?\s*(\$_\.)?KeyProvider/,
  },
  { trap: "$host, PowerShell's own variable", form: /\$host\b/i },
  { trap: "> writes UTF-16 in Windows PowerShell 5.1", form: /[^=-]>>?\s*[\w.$]/ },
  {
    trap: "a file that is not written in ASCII",
    form: /(Out-File|Set-Content|Add-Content)(?!.*-Encoding ascii)/,
  },
];

test.each(codes)("the PowerCLI of $where avoids known traps", ({ text }) => {
  const code = text.replace(/<#[\s\S]*?#>/, "");
  expect(traps.filter(({ form }) => form.test(code)).map(({ trap }) => trap)).toEqual([]);
});

test("re-keying a machine does not touch its disks if they are not encrypted", () => {
  const rekeys = blocks.filter(({ text }) => /Set-VM .*-KeyProvider/.test(text));
  expect(rekeys.length).toBeGreaterThan(0);
  for (const { text } of rekeys) expect(text).toContain("-SkipHardDisks");
});

test("the script is ASCII, and the pages use only parameters that it has", () => {
  expect(script).toMatch(/^[\n\x20-\x7e]+$/);
  const [, declared = ""] = /^param\(([\s\S]*?)^\)/m.exec(script) ?? [];
  const names = [...declared.matchAll(/\]\$(\w+)/g)].map(([, name]) => name);
  const explained = [...script.matchAll(/^\.PARAMETER (\w+)$/gm)].map(([, name]) => name);
  expect(explained).toEqual(names);
  const calls = blocks.flatMap(({ text }) => text.match(/holdfast-keys-in-use\.ps1[^|\n]*/g) ?? []);
  expect(calls.length).toBeGreaterThan(2);
  for (const call of calls) {
    const given = [...call.matchAll(/ -(\w+)/g)].map(([, name]) => name);
    expect(given.filter((name) => !names.includes(name))).toEqual([]);
  }
});

test("the script reads everything that has a key, and stops if it could not read enough", () => {
  const places = [
    ["a machine's and a template's home", "$Config.KeyId"],
    ["a disk and its parents", "$backing = $backing.Parent"],
    ["a snapshot", "RootSnapshotList"],
    ["a host", "Runtime.CryptoKeyId"],
    ["a cluster", "CryptoConfig.Policy"],
    ["vSAN's KEK", "KekId"],
    ["vSAN's host key", "HostKeyId"],
    ["a first-class disk", "ListVStorageObject"],
    ["defaults", "GetDefaultKmsCluster"],
  ];
  for (const [, text = ""] of places) expect(script).toContain(text);
  const write = script.indexOf("Set-Content");
  for (const stop of [
    "is not connected",
    "could not be read",
    "no host or no machine",
    "no key is in use",
  ]) {
    expect(script).toMatch(new RegExp(`throw .*${stop}`));
    expect(script.indexOf(stop)).toBeLessThan(write);
  }
});
