import { randomBytes, scryptSync } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import type { AdminClient } from "@holdfast/admin";
import { ConnectionError, KmipClient } from "@holdfast/client";
import { attributeItem } from "@holdfast/kmip";
import { answerOf, freePort, until } from "@holdfast/testing";
import type { Authority, Issued } from "@holdfast/testing/pki";
import { playVcenter } from "@holdfast/workbench";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse, stringify } from "yaml";
import { adminClient, firstToken, patiently } from "../support/admin-api.ts";
import { commandLine } from "../support/command-line.ts";
import { answered, createKey, keyBytes } from "../support/keys.ts";
import type { NodeProcess } from "../support/node-process.ts";
import { createPeerAuthority, issuePeer, layRegion, type Region } from "../support/region.ts";

const hasProvider = ["x86_64-linux-gnu", "aarch64-linux-gnu"].some((folder) =>
  existsSync(`/usr/lib/${folder}/ossl-modules/fips.so`),
);
const { PATH = "" } = process.env;

describe.each([
  { title: "without FIPS mode", fips: false },
  ...(hasProvider ? [{ title: "in FIPS mode", fips: true }] : []),
])("the TLS ports of a node $title", ({ fips }) => {
  let region: Region;
  let authority: Authority;
  let peer: Issued;

  beforeAll(async () => {
    authority = await createPeerAuthority();
    peer = await issuePeer(authority, "b");
    const addresses = [`127.0.0.1:${await freePort()}`];
    region = await layRegion({
      ...{ instances: ["vcenter"], nodes: 1, replicas: 0, admin: true, fips },
      peer: { region: "b", addresses, ports: [await freePort()], authority },
    });
    await region.node(0).start();
  });
  afterAll(() => region?.[Symbol.asyncDispose]());

  /** The TLS version that a client gets which offers only these key exchange groups, or that it is refused. */
  function versionWith(port: "kmip" | "admin" | "peer", groups: string): Promise<string> {
    const node = region.node(0);
    const target = region.target("vcenter");
    const credentials =
      port === "peer"
        ? { ca: authority.certificate, cert: peer.certificate, key: peer.key }
        : { ca: region.ca, cert: target.certificate, key: target.key };
    const servername = port === "peer" ? "a.peer.holdfast" : "localhost";
    const options = { host: node.host, port: node[port], servername, ...credentials };
    const socket = connect({ ...options, minVersion: "TLSv1.3", ecdhCurve: groups });
    return new Promise<string>((resolve) => {
      socket.once("secureConnect", () => resolve(socket.getProtocol() ?? ""));
      socket.once("error", ({ code }: NodeJS.ErrnoException) =>
        resolve(code === "ECONNREFUSED" ? "shut" : "refused"),
      );
    }).finally(() => socket.destroy());
  }

  /** On a busy machine the node listens to no client for a moment. */
  async function expectVersion(
    port: "kmip" | "admin" | "peer",
    groups: string,
    wanted: "TLSv1.3" | "refused",
  ): Promise<void> {
    await until(`${port} with ${groups}: ${wanted}`, async () => {
      const found = await versionWith(port, groups);
      return found === wanted || found;
    });
  }

  test.each(["kmip", "admin", "peer"] as const)(
    "a client that offers only X25519MLKEM768 connects at the %s port",
    async (port) => {
      await expectVersion(port, "X25519MLKEM768", "TLSv1.3");
      await expectVersion(port, "P-256", "TLSv1.3");
      await expectVersion(port, "X25519", fips ? "refused" : "TLSv1.3");
    },
  );
});

describe.skipIf(!hasProvider)("a node with `fips: required` (needs openssl-provider-fips)", () => {
  let region: Region;
  let node: NodeProcess;
  let opened: AdminClient;
  let admin: Pick<AdminClient, "call">;

  /** A scrypt hash of `sesame`, as a node without FIPS mode makes it. */
  function scryptHash(): string {
    const salt = randomBytes(16);
    const hash = scryptSync("sesame", salt, 32, { N: 16_384, r: 8, p: 1 });
    return `scrypt$16384$8$1$${salt.toString("base64url")}$${hash.toString("base64url")}`;
  }

  beforeAll(async () => {
    region = await layRegion({
      ...{ instances: ["vcenter", "named"], nodes: 1, replicas: 0, admin: true, fips: true },
      users: { named: { new: "opensesame" } },
    });
    node = region.node(0);
    const settings = parse(await readFile(node.configFile, "utf8"));
    settings.instances[1].users.push({ name: "old", passwordHash: scryptHash() });
    await writeFile(node.configFile, stringify(settings));
    await node.start();
    const target = { node, ca: region.ca };
    opened = adminClient(target, await firstToken(target));
    admin = patiently(opened);
  });
  afterAll(async () => {
    await opened?.[Symbol.asyncDispose]();
    await region?.[Symbol.asyncDispose]();
  });

  function client(instance: string, credential?: { username: string; password: string }) {
    const { host, port, ca, certificate, key } = region.target(instance);
    const tls = { ca, certificate, key };
    const connect = () =>
      KmipClient.connect({
        endpoints: [`${host}:${port}`],
        tls,
        credentials:
          credential === undefined ? [] : [{ type: "UsernameAndPassword", ...credential }],
      });
    return answerOf("a connection", connect, (error) => error instanceof ConnectionError);
  }

  test("runs in the process that was started, with OpenSSL's module, and keeps no file of it", () => {
    expect(readFileSync(`/proc/${node.pid}/maps`, "utf8")).toContain("/ossl-modules/fips.so");
    const command = readFileSync(`/proc/${node.pid}/cmdline`, "utf8").split("\0");
    expect(command).toContain("--force-fips");
    const option = command.find((arg) => arg.startsWith("--openssl-config=")) ?? "";
    expect(option).toMatch(/\/holdfast-fips-[^/]+\/openssl\.cnf$/);
    expect(existsSync(option.slice("--openssl-config=".length))).toBe(false);
  });

  test("serves vCenter's sequence", async () => {
    const { host, port, ...tls } = region.target("vcenter");
    let rows: string[] = [];
    const play = () => {
      rows = [];
      return playVcenter({
        nodes: [{ name: node.name, region: region.name, endpoint: `${host}:${port}` }],
        tls,
        report: ({ step, result, ok }) => rows.push(`${ok} ${step}: ${result}`),
        answered: () => undefined,
      });
    };
    await answerOf("vCenter's sequence", play, (error) =>
      /try again|no answer within|connection (refused|was reset)/.test(String(error)),
    );
    expect(rows.length).toBeGreaterThan(3);
    expect(rows.filter((row) => !row.startsWith("true"))).toEqual([]);
  });

  test("makes no key that is not approved, and says so", async () => {
    await using vcenter = await client("vcenter");
    const id = await answered(() => createKey(vcenter));
    expect(await answered(() => keyBytes(vcenter, id))).toMatch(/^[0-9a-f]{64}$/);
    const attributes = {
      attributes: [
        { item: attributeItem("CryptographicAlgorithm", "HMAC_MD5") },
        { item: attributeItem("CryptographicUsageMask", 0x80) },
      ],
      templateNames: [],
    };
    await expect(vcenter.create({ objectType: "SymmetricKey", attributes })).rejects.toThrow(
      /HMAC_MD5 keys are not approved, and this server runs in FIPS mode/,
    );
  });

  test("checks PBKDF2 hashes, and says of a scrypt hash that the password must be set again", async () => {
    const login = async (username: string, password: string) => {
      await using named = await client("named", { username, password });
      return await createKey(named);
    };
    expect(await answered(() => login("new", "opensesame"))).toMatch(/^[0-9a-f-]{36}$/);
    await expect(login("new", "wrong")).rejects.toThrow(/user name or password is wrong/);
    await expect(login("old", "sesame")).rejects.toThrow(
      /scrypt hash, which this server cannot check in FIPS mode: set the password again/,
    );
  });

  test("doctor names the provider, and the users who cannot log in", async () => {
    const { items } = await admin.call("runChecks", {});
    const fips = items.filter(({ name }) => name === "fips");
    expect(fips).toEqual([
      {
        ...{ name: "fips", state: "ok", mend: "" },
        detail: expect.stringMatching(/^on: OpenSSL 3\.\S+ with OpenSSL FIPS Provider 3\.\S+$/),
      },
      {
        ...{ name: "fips", state: "warning" },
        detail: "1 user has a scrypt hash and cannot log in: named/old",
        mend: expect.stringContaining("holdfast user set"),
      },
    ]);
  });

  test("a password that the management API sets can be checked", async () => {
    const { items } = await admin.call("listInstances", { query: { limit: 10 } });
    expect(items.length).toBeGreaterThan(0);
    const body = { name: "tenant", rootOfTrust: { regions: { a: { type: "local" as const } } } };
    const { id } = await admin.call<"createInstance">("createInstance", { body });
    const params = { instance: id, user: "operator" };
    await expect
      .poll(async () => (await admin.call("readInstance", { params })).status)
      .toBe("Installed");
    await admin.call("setUser", { params, body: { password: "correct horse battery" } });
    const checks = await admin.call("runChecks", {});
    const detail = checks.items.flatMap((item) => (item.name === "fips" ? [item.detail] : []));
    expect(detail[1]).toBe("1 user has a scrypt hash and cannot log in: named/old");
  });

  test("holdfast config check tries the provider too", async () => {
    const said = await commandLine(["config", "check", "--config", node.configFile]);
    expect(said.err).toBe("");
    expect(said.code).toBe(0);
    expect(said.out).toContain(": good (region a");
  });
});

describe("a node with `fips: required` that cannot run so ends with 2 and one line", () => {
  let folder: string;
  let config: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "holdfast-no-fips-"));
    config = join(folder, "node.yaml");
    const settings = {
      ...{ region: "a", node: "a1", fips: "required" },
      tls: { certificate: "server.pem", key: "server.key" },
      store: { address: "127.0.0.1:1" },
      rootOfTrust: { type: "local", file: "root.json" },
    };
    await writeFile(config, stringify(settings));
    await writeFile(join(folder, "fips.so"), "not a library");
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  test.each([
    [
      "without the provider",
      { OPENSSL_MODULES: "/nowhere" },
      /OpenSSL's FIPS provider is not installed \(no fips\.so in \/nowhere\): run `apt-get install/,
    ],
    [
      "without the program openssl",
      { PATH: "/nowhere", OPENSSL_MODULES: "FOLDER" },
      /the program openssl is not installed: run `apt-get install/,
    ],
    [
      "with a provider that does not start",
      { PATH, OPENSSL_MODULES: "FOLDER" },
      /OpenSSL's FIPS provider does not start: .*: run `apt-get install/,
    ],
  ])("%s", async (_title, given, message) => {
    const env = JSON.parse(JSON.stringify(given).replaceAll("FOLDER", folder));
    const said = await commandLine(["serve", "--config", config], {
      env: { ...env, TMPDIR: folder },
    });
    expect(said.err).toMatch(message);
    expect(said.err.trim().split("\n")).toHaveLength(1);
    expect(said.err).toMatch(/^holdfast: fips: required, but /);
    expect(said.code).toBe(2);
    const left = readdirSync(folder).filter((name) => /^holdfast/.test(name));
    expect(left).toEqual([]);
  });
});
