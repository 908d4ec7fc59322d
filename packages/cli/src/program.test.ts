import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const main = join(import.meta.dirname, "main.ts");
const message =
  "42007801000000604200770100000038420069010000002042006a0200000004000000010000000042006b0200000004000000010000000042000d0200000004000000010000000042000f010000001842005c05000000040000001e000000004200790100000000";
let folder = "";

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-cli-"));
  writeFileSync(join(folder, "message.bin"), Buffer.from(message, "hex"));
  writeFileSync(join(folder, "message.hex"), `${message.replace(/(.{32})/g, "$1\n")}\n`);
  writeFileSync(join(folder, "no.pem"), "no PEM\n");
});

afterAll(() => {
  rmSync(folder, { recursive: true });
});

function holdfast(args: readonly string[], input = "") {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], {
    cwd: folder,
    encoding: "utf8",
    // Every run compiles the same files.
    env: { ...process.env, NODE_COMPILE_CACHE: join(folder, "compile-cache") },
    input,
  });
  return { status, stdout, stderr };
}

describe("holdfast decode", () => {
  test.each<[string, readonly string[], string]>([
    ["a binary file", ["message.bin"], ""],
    ["a hex file", ["message.hex"], ""],
    ["a hex file with --hex", ["message.hex", "--hex"], ""],
    ["hex as an argument", ["--hex", message], ""],
    ["hex on standard input", [], message],
    ["base64 on standard input", ["-", "--base64"], Buffer.from(message, "hex").toString("base64")],
  ])("reads %s", (_name, args, input) => {
    const { status, stdout, stderr } = holdfast(["decode", ...args], input);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toMatch(/^RequestMessage Structure\n {2}RequestHeader Structure\n/);
    expect(stdout).toContain("Operation Enumeration DiscoverVersions");
  });
});

test.each([
  ["docs/try-it.md", join(import.meta.dirname, "../../../docs/try-it.md")],
  ["the help of decode", join(import.meta.dirname, "kmip/decode.ts")],
])("the example of %s works as it is printed", (_name, file) => {
  const example = /holdfast decode --hex ([0-9a-f]+)(?![0-9a-f.])/.exec(readFileSync(file, "utf8"));
  const { status, stdout, stderr } = holdfast(["decode", "--hex", example?.[1] ?? ""]);
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  expect(stdout).toContain("ProtocolVersionMajor");
});

test("the exit code of an error is the same where nobody reads its line", async () => {
  const child = spawn(process.execPath, [main, "nosuch"], { stdio: ["ignore", "ignore", "pipe"] });
  child.stderr.destroy();
  expect(await once(child, "exit")).toEqual([2, null]);
});

describe("an error is one line that says how to fix it, and an exit code", () => {
  const files = ["--cert", "no.pem", "--key", "no.pem", "--ca", "no.pem"];
  test.each<[readonly string[], string]>([
    [["frobnicate"], "unknown command 'frobnicate'; --help lists what there is"],
    [["kmip", "creat"], "unknown command 'creat' (Did you mean create?)"],
    [["kmip", "frobnicate"], "unknown command 'frobnicate'"],
    [["kmip", "get"], "missing required argument 'id'"],
    [["kmip", "query", "--timeout", "soon"], "soon is not a whole number above 0"],
    [["kmip", "query", "--colour"], "unknown option '--colour'"],
    [["kmip", "query", "--version", "9.9"], "--version 9.9: must be one of 1.0, 1.1"],
    [["kmip", "query", "--endpoint", "a b"], "--endpoint a b: is not a host and port"],
    [["kmip", "query", "--endpoint", "h", "--cert", "x"], "--key, --ca are missing"],
    [["kmip", "query", "--dev", "nowhere"], "no development cluster runs there"],
    [
      ["kmip", "query", "--endpoint", "h", ...files.with(5, "gone.pem")],
      "--ca gone.pem: no such file",
    ],
    [["kmip", "query", "--endpoint", "127.0.0.1:1", ...files], "--ca no.pem: holds no certificate"],
    [["key", "list", "i", "--state", "new"], "Allowed choices are Pre-Active, Active, "],
    [["key", "list", "i", "--state", "PreActive", "--url", "x"], "--url x: is not an address"],
    [["key", "list", "i", "--state", "Pre-Active", "--url", "x"], "--url x: is not an address"],
    [["decode", "gone.bin"], "decode gone.bin: no such file"],
    [["decode", "."], "decode .: is a directory; give a file"],
    [["support-bundle", "-c", "gone.yaml"], "--config gone.yaml: no such file"],
    [["support-bundle", "-c", "."], "--config .: is a directory; give a file"],
    [["support-bundle", "-c", "no.pem", "--log", "gone"], "--log gone: no such file"],
    [
      ["audit", "verify", "--file", "no.pem", "--checkpoint", "gone"],
      "audit verify: --checkpoint needs --config",
    ],
    [["apply", "-f", "."], "--file .: is a directory; give a file"],
    [["apply", "-f", "no.pem/gone"], "--file no.pem/gone: no such file; give another path"],
    [
      ["approval", "draft", "--approvals", "2", "--instance", "x", "--out", "no.pem/policy"],
      "--instance: give --after with the policy in force",
    ],
    [["decode", "--hex", "4x"], '"x" is not a hex digit'],
    [["decode", "--hex", "420"], "ends in the middle of a byte"],
    [["decode", "--hex", "4200"], "cut short"],
    [["decode", "--hex", "--base64"], "exclude each other"],
  ])("%j", (args, words) => {
    const { status, stdout, stderr } = holdfast(args);
    expect(stderr).toMatch(/^holdfast: [^\n]+\n$/);
    expect(stderr).not.toMatch(/ at .*\.ts:\d|node:internal/);
    expect(stderr).toContain(words);
    expect(status).not.toBe(0);
    expect(stdout).toBe("");
  });
});

describe("standard output that cannot be written to", () => {
  const out = (target: string) =>
    spawnSync("sh", ["-c", `"$0" "$1" decode --hex ${message} ${target}`, process.execPath, main], {
      cwd: folder,
      encoding: "utf8",
    });

  test("is not an error if its reader is gone", () => {
    const { stderr } = out("| true");
    expect(stderr).toBe("");
  });

  test.skipIf(!existsSync("/dev/full"))("is reported on one line (needs /dev/full)", () => {
    const { status, stderr } = out("> /dev/full");
    expect(stderr).toMatch(/^holdfast: standard output: ENOSPC[^\n]+\n$/);
    expect(status).toBe(1);
  });
});

describe("help", () => {
  test.each([
    [["--help"]],
    [["kmip", "--help"]],
    [["kmip", "create", "--help"]],
    [["decode", "-h"]],
  ])("%j is printed", (args) => {
    const { status, stdout, stderr } = holdfast(args);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toContain("Usage: holdfast");
  });
});

test.each(["cli", "server"])("--version prints the version of package %s", (name) => {
  const { version } = JSON.parse(
    readFileSync(join(import.meta.dirname, "..", "..", name, "package.json"), "utf8"),
  ) as { version: string };
  expect(holdfast(["--version"])).toEqual({ status: 0, stdout: `${version}\n`, stderr: "" });
});

test("a development cluster is found from any folder inside its checkout", () => {
  const below = join(folder, "checkout", "a", "b");
  mkdirSync(join(folder, "checkout", ".holdfast", "dev"), { recursive: true });
  mkdirSync(below, { recursive: true });
  const pem = join(folder, "no.pem");
  writeFileSync(
    join(folder, "checkout", ".holdfast", "dev", "cluster.json"),
    JSON.stringify({
      nodes: [{ kmip: "127.0.0.1:1" }],
      ca: pem,
      clientCertificate: pem,
      clientKey: "/gone.key",
    }),
  );
  const { stderr } = spawnSync(process.execPath, [main, "kmip", "query"], {
    cwd: below,
    encoding: "utf8",
  });
  expect(stderr).toContain(`--ca ${pem}: holds no certificate`);
});
