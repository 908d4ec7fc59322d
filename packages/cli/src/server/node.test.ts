import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { createLocalRoot, openLocalRoot } from "@holdfast/root-of-trust";
import { machine } from "@holdfast/server/machine";
import { writeNodeFiles, writeNodeSettings } from "@holdfast/testing/node-files";
import { selfSigned } from "@holdfast/testing/pki";
import { beforeAll, describe, expect, test } from "vitest";

const main = join(import.meta.dirname, "..", "main.ts");
const folder = mkdtempSync(join(tmpdir(), "holdfast-main-"));
const file = (name: string) => join(folder, name);

beforeAll(async () => {
  await writeNodeFiles(folder);
  await createLocalRoot(file("root.key"), machine);
});

async function run(args: readonly string[], input = "") {
  const child = spawn(process.execPath, [main, ...args], {
    cwd: folder,
  });
  child.stdin.end(input);
  const [out, err, code] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    new Promise<number | null>((resolve) => child.once("exit", resolve)),
  ]);
  return { out, err, code };
}

/** Writes a configuration that differs in these settings from a good one. */
function configure(name: string, settings: object = {}): string {
  writeNodeSettings(file(name), settings);
  return name;
}

describe("the server's commands", () => {
  test("config check reports what it read", async () => {
    const config = configure("good.yaml");
    expect(await run(["config", "check", "--config", config])).toEqual({
      out: "good.yaml: good (region a alone, node a1, 1 instances)\n",
      err: "",
      code: 0,
    });
  });

  test.each<[string, () => void]>([
    ["does not exist", () => undefined],
    ["is open to others", () => writeFileSync(file("bad.key"), "{}", { mode: 0o644 })],
    ["holds no root key", () => writeFileSync(file("bad.key"), "{}", { mode: 0o600 })],
  ])(
    "config check refuses a root key file that %s, with the same message as the node",
    async (_what, prepare) => {
      rmSync(file("bad.key"), { force: true });
      prepare();
      const name = configure("root.yaml", { rootOfTrust: { file: "bad.key" } });
      const node = await run(["serve", "--config", name]);
      expect(node).toMatchObject({ out: "", code: 2 });
      expect(node.err).toMatch(/^holdfast: rootOfTrust\.file: .*bad\.key/);
      const check = await run(["config", "check", "--config", name]);
      expect(check).toEqual(node);
    },
  );

  test("config check warns of an expired certificate", async () => {
    const past = { notBeforeMs: Date.UTC(2020, 0, 1), days: 1 };
    const old = await selfSigned({ commonName: "old", ...past });
    writeFileSync(file("old.pem"), old.certificate);
    writeFileSync(file("old.key"), old.key, { mode: 0o600 });
    const config = configure("old.yaml", { tls: { certificate: "old.pem", key: "old.key" } });
    const { out, code } = await run(["config", "check", "--config", config]);
    expect(out).toMatch(
      /^old\.yaml: good .*\nwarning: a certificate has ended: issue a new one \(kind server, owner kmip, subject CN=old, notAfter 2020-01-02T00:00:00\.000Z\)\n$/,
    );
    expect(code).toBe(0);
  });

  test("region retire needs a confirmation that the lost region's endpoints are off", async () => {
    const config = configure("retire.yaml");
    for (const more of [[], ["--endpoints-are-off", "a"]]) {
      const { out, err, code } = await run(["region", "retire", "b", "--config", config, ...more]);
      expect({ out, code }).toEqual({ out: "", code: 2 });
      expect(err).toMatch(/^holdfast: region retire b: give --endpoints-are-off b once [^\n]+\n$/);
    }
  });

  test("region commands fail if the configuration names no other region", async () => {
    const config = configure("alone.yaml");
    const { err, code } = await run(["region", "rejoin", "--config", config]);
    expect({ err, code }).toEqual({
      err: "holdfast: peer: the configuration names no other region\n",
      code: 2,
    });
  });

  test("without a command the program runs serve; an error ends it with one line and code 2", async () => {
    expect(await run(["--config", configure("bad.yaml", { kmip: { interop: 1 } })])).toEqual({
      out: "",
      err: "holdfast: bad.yaml:1: kmip.interop must be true or false\n",
      code: 2,
    });
  });

  test("each fault of a configuration is printed on its own line", async () => {
    const config = configure("faults.yaml", { kmip: { interop: 1 }, node: "A" });
    const { err, code } = await run(["config", "check", "--config", config]);
    expect(err).toMatch(
      /^holdfast: faults\.yaml:\d+: node must [^\n]+\nholdfast: faults\.yaml:\d+: kmip\.interop must [^\n]+\n$/,
    );
    expect(code).toBe(2);
  });

  test("store init at a port without Redis ends with one line and code 3", async () => {
    const server = createServer((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const store = { address: `127.0.0.1:${port}`, commandTimeoutMs: 200 };
    const { out, err, code } = await run([
      "store",
      "init",
      "-c",
      configure("init.yaml", { store }),
    ]);
    expect(err).toMatch(/^holdfast: store\.address: 127\.0\.0\.1:\d+: .*\n$/);
    expect({ out, code }).toEqual({ out: "", code: 3 });
    server.close();
  });

  test("store init refuses a member without a port", async () => {
    const config = configure("members.yaml");
    const args = ["store", "init", "--config", config, "--member", "10.0.1.1:6379", "redis-2"];
    expect(await run(args)).toEqual({
      out: "",
      err: "holdfast: --member redis-2: give a host with a port, such as 10.0.1.1:6379\n",
      code: 2,
    });
  });

  test("store accept needs a memory, and the identifier of a record", async () => {
    const accept = (config: string) =>
      run(["store", "accept", "--config", config, "--record", "x", "--yes"]);
    expect(await accept(configure("forgetful.yaml"))).toEqual({
      out: "",
      err: "holdfast: store.memoryFile: is not set: this node remembers nothing; run this at a node that does\n",
      code: 2,
    });
    const store = { address: "127.0.0.1:1", memoryFile: "store.memory" };
    expect(await accept(configure("remembering.yaml", { store }))).toEqual({
      out: "",
      err: "holdfast: --record x: is not an identifier of a record (a UUID)\n",
      code: 2,
    });
  });

  test("root rotate adds a version to the root key, and names a file that does not exist", async () => {
    await createLocalRoot(file("rotated.key"), machine);
    const rotated = configure("rotate.yaml", { rootOfTrust: { file: "rotated.key" } });
    for (const version of [2, 3]) {
      const { out, err, code } = await run(["root", "rotate", "--config", rotated]);
      expect(out).toContain(`rotated.key: version ${version} wraps from now on`);
      expect({ err, code }).toEqual({ err: "", code: 0 });
    }
    const root = await openLocalRoot(file("rotated.key"), machine.ids);
    expect(await root.describe()).toMatchObject({ currentVersion: "3" });
    await root.close();
    const absent = configure("absent.yaml", { rootOfTrust: { file: "absent.key" } });
    const { out, err, code } = await run(["root", "rotate", "--config", absent]);
    expect(err).toMatch(/^holdfast: rootOfTrust\.file: .*absent\.key.*\n$/);
    expect({ out, code }).toEqual({ out: "", code: 2 });
  });

  test("hash-password reads a password and prints its hash only", async () => {
    const { out, code } = await run(["hash-password"], "hunter2\n");
    expect(code).toBe(0);
    const users = [{ name: "esx", passwordHash: out.trim() }];
    const instances = [{ name: "demo", certificates: ["client.pem"], users }];
    const config = configure("users.yaml", { instances });
    expect(await run(["config", "check", "--config", config])).toMatchObject({ code: 0 });
    expect(await run(["hash-password"])).toMatchObject({
      err: "holdfast: hash-password: give the password on standard input\n",
      code: 2,
    });
  });

  test.skipIf(!existsSync("/dev/full"))(
    "an error on standard output is reported on one line (needs /dev/full)",
    () => {
      const command = `"$0" "$1" config check --config "$2"`;
      const into = (target: string) =>
        spawnSync("sh", ["-c", `${command} ${target}`, process.execPath, main, good], {
          encoding: "utf8",
        });
      const good = file(configure("good.yaml"));
      expect(into("| true").stderr).toBe("");
      const { status, stderr } = into("> /dev/full");
      expect(stderr).toMatch(/^holdfast: standard output: ENOSPC[^\n]+\n$/);
      expect(status).toBe(1);
    },
  );

  test.each([[["serve"]], [["nonsense"]], [["--config"]], [["store", "replicas"]]])(
    "the wrong command line %j ends with code 2",
    async (args) => {
      const { err, code } = await run(args);
      expect(err).toMatch(/^holdfast: /);
      expect(code).toBe(2);
    },
  );
});
