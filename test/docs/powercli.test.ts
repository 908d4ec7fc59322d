import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { blocksOf, pages } from "./blocks.ts";

const path = join(import.meta.dirname, "../../deploy/powercli/holdfast-keys-in-use.ps1");
const script = readFileSync(path, "utf8");
const registration = readFileSync(join(dirname(path), "holdfast-register-plugin.ps1"), "utf8");
const thin = Object.fromEntries(
  ["audit", "move", "verify"].map((name) => {
    const file = join(import.meta.dirname, `../../scripts/powercli/holdfast-${name}.ps1`);
    return [name, readFileSync(file, "utf8")];
  }),
);
const { audit = "", move = "", verify = "" } = thin;
const blocks = pages
  .flatMap((page) => blocksOf(page))
  .filter(({ language }) => language === "powershell");
const codes = [
  { where: "the script", text: script },
  { where: "the registration", text: registration },
  ...Object.entries(thin).map(([where, text]) => ({ where, text })),
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
  const calls = move.match(/Set-VM .*-KeyProvider.*/g) ?? [];
  expect(calls).toHaveLength(1);
  expect(calls[0]).toContain("-SkipHardDisks:");
});

test("the scripts for moving have the order and the refusals of the commands", () => {
  const inUse = "Join-Path $PSScriptRoot '../../deploy/powercli/holdfast-keys-in-use.ps1'";
  for (const text of [audit, verify]) {
    expect(text).toContain(inUse);
    expect(text).not.toContain("-AcceptUnread");
  }
  expect(verify.trimEnd().split("\n").at(-1)).toBe(
    "& $inUse -VCenter $VCenter -OldProvider $OldProvider -NewProvider $NewProvider",
  );
  expect(verify).toMatch(
    /Get-KeyProvider -Server \$server[^}]*\}[\s\S]*throw .*has no key provider/,
  );
  expect(audit.indexOf("throw 'no key is in use")).toBeLessThan(audit.indexOf("Set-Content"));
  const order = [
    "IsKmsClusterActive",
    "foreach ($vm in $machines)",
    "foreach ($template in $templates)",
    "Start-VsanEncryptionConfiguration -Cluster $cluster -KeyProvider",
    "Start-VsanEncryptionConfiguration -Cluster $cluster -ShallowRekey",
    "foreach ($vmhost in",
    "ListVStorageObject",
    "foreach ($vm in @($machines) + @($templates))",
    "if ($count.failed -gt 0) { throw",
  ].map((text) => move.indexOf(text));
  expect(order).not.toContain(-1);
  expect(order).toEqual(order.toSorted((one, other) => one - other));
  // Nothing is changed without -Apply, and a template is one again also after a failure.
  expect(move).toMatch(/function Invoke-Step[^}]*if \(-not \$Apply\)/);
  expect(move).toMatch(/finally \{ Set-VM -VM \$vm -ToTemplate/);
});

test("a machine that must not be re-keyed now is left, and does not count as one of the failures in a row", () => {
  expect(move).toMatch(/if \(\$obstacle\) \{ Set-Left .*; continue \}\n +Invoke-Step "machine/);
  expect(move).toMatch(/function Set-Left[^}]*\}/);
  expect(/function Set-Left[^}]*\}/.exec(move)?.[0]).not.toContain("inRow");
  const loop = blocks.find(({ text }) => /foreach \(\$vm in Get-VM/.test(text))?.text ?? "";
  expect(loop.indexOf("ChangeTrackingEnabled")).toBeGreaterThan(0);
  expect(loop.indexOf("ChangeTrackingEnabled")).toBeLessThan(loop.indexOf("Set-VM"));
});

test("one vCenter is named wherever a loop of the page re-keys", () => {
  const rekeys = blocks.filter(({ text }) => /Set-VM(Host)? .*-KeyProvider/.test(text));
  for (const { text } of rekeys) {
    const asked = text.match(/Get-(KeyProvider|VM|VMHost|Template)\b.*/g) ?? [];
    expect(asked.length).toBeGreaterThan(0);
    for (const call of asked) expect(call).toContain("-Server $server");
  }
});

test("a key that only vCenter's own list has is no proof, and a cluster that shows nothing of vSAN is asked", () => {
  expect(script).toMatch(/if \(\$listed\.Count -gt 0\) \{[^}]*throw/);
  for (const text of [script, move]) {
    expect(text).toContain("if ($shown -and -not $shown.Enabled) { continue }");
  }
});

test.each([
  ["holdfast-keys-in-use", script, 3],
  ["holdfast-register-plugin", registration, 1],
  ["holdfast-audit", audit, 1],
  ["holdfast-move", move, 2],
  ["holdfast-verify", verify, 1],
])("%s.ps1 is ASCII, and the pages use only parameters that it has", (name, text, least) => {
  expect(text).toMatch(/^[\n\x20-\x7e]+$/);
  const [, declared = ""] = /^param\(([\s\S]*?)^\)/m.exec(text) ?? [];
  const names = [...declared.matchAll(/\]\$(\w+)/g)].map(([, each]) => each);
  const explained = [...text.matchAll(/^\.PARAMETER (\w+)$/gm)].map(([, each]) => each);
  expect(explained).toEqual(names);
  const form = new RegExp(`${name}\\.ps1[^|\\n]*`, "g");
  const calls = blocks.flatMap((block) => block.text.match(form) ?? []);
  expect(calls.length).toBeGreaterThanOrEqual(least);
  for (const call of calls) {
    const given = [...call.matchAll(/ -(\w+)/g)].map(([, each]) => each);
    expect(given.filter((each) => !names.includes(each))).toEqual([]);
  }
});

test("a first-class disk's parents are seen, and a vSAN cluster is not taken for moved by its provider's name", () => {
  const walk = "for ($backing = $disk.Config.Backing; $backing; $backing = $backing.Parent)";
  expect(script).toContain(walk);
  expect(move).toContain(walk);
  expect(move).toMatch(/if \(-not \$named -and .* -eq \$To\) \{\n +Set-Left /);
  expect(move).toMatch(/-not \$after\.KekId -or -not \$after\.HostKeyId\) \{ throw/);
});

test("a locked machine without a key, and vSAN datastores of a vCenter without their cluster, are not read", () => {
  const rules = [
    /'Runtime\.CryptoState', 'Snapshot'\n +foreach \(\$machine in .* -Property \$fields\)/,
    /-eq 'locked' -and -not \$machine\.Config\.KeyId\) \{\n +\$unread\.Add\(.*is locked, and shows no key/,
    /\$datastore\.Summary\.Type -eq 'vsan'\) \{ \$seen\.vsanDatastores\+\+ \}/,
    /\$before = \$seen\.Clone\(\)[\s\S]*Add-Clusters \$server[\s\S]*Add-FirstClassDisks \$server .*\n +if \(\$seen\.vsanDatastores -gt \$before\.vsanDatastores -and \$seen\.vsan -eq \$before\.vsan\) \{\n +\$unread\.Add\(/,
  ];
  for (const rule of rules) expect(script).toMatch(rule);
  for (const text of [script, verify]) {
    expect(text).toMatch(/a vSAN datastore/);
    expect(text).toMatch(/locked[^.]* shows no key/);
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
