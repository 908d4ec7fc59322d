import { execFile, spawn } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { chmodSync, copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { KmipClient } from "@holdfast/client";
import { freePort, until } from "@holdfast/testing";
import { type Authority, createAuthority, type Issued } from "@holdfast/testing/pki";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse, stringify } from "yaml";
import { answered, createKey, keyBytes } from "../support/keys.ts";
import { KmipSocket } from "../support/kmip-socket.ts";
import { program } from "../support/program.ts";
import { type Region, startRegion } from "../support/region.ts";
import { letIn } from "../support/region-watch.ts";

const entry = program();
const instance = "vcenter";
const day = { notBeforeMs: Date.now() - 3_600_000, days: 2 };
const hosts = ["127.0.0.1", "localhost"];

let region: Region;
let another: Authority;

beforeAll(async () => {
  region = await startRegion({ instances: [instance], nodes: 1, replicas: 0 });
  another = await createAuthority({ commonName: "Another CA", ...day });
});

afterAll(async () => {
  await region?.[Symbol.asyncDispose]();
});

const file = (name: string) => join(region.folder, name);

describe("the server's certificate on a running node", () => {
  function put({ certificate, key }: Issued): void {
    writeFileSync(file("server.pem"), certificate);
    writeFileSync(file("server-key.pem"), key);
  }

  /** Whether a client that trusts only the other authority can connect. */
  async function servesAnother(): Promise<boolean> {
    try {
      const target = { ...region.target(instance), ca: another.certificate };
      await using socket = await KmipSocket.open(target);
      return socket.socket.authorized;
    } catch {
      return false;
    }
  }

  const issue = () => another.issue({ commonName: "holdfast", hosts, ...day });
  const node = () => region.node(0);
  const refusals = () => node().logText().split('"certificate refused"').length - 1;

  test("is replaced when its files change, and connections stay; a wrong pair is refused and the old one kept", async () => {
    await using before = await letIn(region, instance, 0);
    const id = await answered(() => createKey(before));
    expect(await servesAnother()).toBe(false);
    put(await issue());
    await until("the new certificate by itself", servesAnother);
    expect(await answered(() => keyBytes(before, id))).toMatch(/^[0-9a-f]{64}$/);

    const [one, two] = [await issue(), await issue()];
    put({ certificate: one.certificate, key: two.key });
    node().signal("SIGHUP");
    await until("the refusal in the log", () => refusals() > 0);
    await until("the one before it is kept", servesAnother);

    const newest = await issue();
    put(newest);
    node().signal("SIGHUP");
    const wanted = new X509Certificate(newest.certificate).fingerprint256;
    await until("the newest certificate", async () => {
      const target = { ...region.target(instance), ca: another.certificate };
      await using socket = await KmipSocket.open(target).catch(() => undefined);
      return socket?.socket.getPeerCertificate().fingerprint256 === wanted;
    });
    const shown = wanted.replaceAll(":", "").toLowerCase();
    await until("its metric", async () => (await node().metrics()).includes(shown));
    expect(await answered(() => keyBytes(before, id))).toMatch(/^[0-9a-f]{64}$/);
  });
});

describe("a log without a reader", () => {
  test.each(["gone", "stuck"])(
    "(its reader is %s) does not stop a node from serving, or from ending on SIGTERM",
    async (reader) => {
      const config = parse(readFileSync(region.node(0).configFile, "utf8"));
      const [kmip, http, health] = [await freePort(), await freePort(), await freePort()];
      for (const [group, port] of Object.entries({ kmip, http, health })) {
        config[group] = { ...config[group], listen: `127.0.0.1:${port}` };
      }
      config.log = { level: "debug" };
      writeFileSync(file("unread.yaml"), stringify(config));
      const args = [entry, "serve", "--config", file("unread.yaml")];
      const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "ignore"] });
      try {
        const ended = once(child, "exit");
        await until("the node", async () => {
          const answer = await fetch(`http://127.0.0.1:${http}/readyz`).catch(() => undefined);
          return answer?.ok === true;
        });
        if (reader === "gone") child.stdout.destroy();
        const connect = () =>
          KmipClient.connect({
            endpoints: [`127.0.0.1:${kmip}`],
            tls: { ...region.target(instance), ca: authorities() },
            version: "1.4",
          });
        await using client = await answered(connect);
        // More than a pipe holds.
        const ids = [];
        for (let left = 300; left > 0; left--) ids.push(answered(() => createKey(client)));
        const [id = ""] = await Promise.all(ids);
        expect(await answered(() => keyBytes(client, id))).toMatch(/^[0-9a-f]{64}$/);
        child.kill("SIGTERM");
        expect(await ended).toEqual([0, null]);
      } finally {
        child.kill("SIGKILL");
      }
    },
  );
});

// Starting processes takes most of the time, so several run at once.
describe.concurrent("a fault in the configuration ends the start with one line that names it, and the documented code", () => {
  type Config = Record<string, Record<string, unknown>> & {
    instances: { name: string; certificates: string[] }[];
  };

  const faults: readonly [string, (config: Config) => unknown, RegExp, code?: number][] = [
    [
      "an unknown setting",
      (c) => set(c, "kmip", "lissten", "127.0.0.1:1"),
      /kmip\.lissten is not a setting/,
    ],
    [
      "a wildcard address",
      (c) => set(c, "kmip", "listen", "0.0.0.0:5696"),
      /kmip\.listen .*allowPublic: true/,
    ],
    [
      "a store address without a Redis",
      async (c) => set(c, "store", "address", `127.0.0.1:${await freePort()}`),
      /store\.address: 127\.0\.0\.1:\d+: .*nothing listens there; if this lasts, see that it runs/,
      3,
    ],
    [
      "Sentinels that do not answer",
      async (c) => {
        set(c, "store", "address", undefined);
        set(c, "store", "sentinels", [`127.0.0.1:${await freePort()}`]);
        set(c, "store", "name", "holdfast");
      },
      /store\.sentinels: /,
      3,
    ],
    [
      "another certificate's key",
      async (c) => {
        writeFileSync(
          file("other-key.pem"),
          (await another.issue({ commonName: "x", hosts, ...day })).key,
        );
        set(c, "tls", "key", "other-key.pem");
      },
      /^holdfast: tls\.key: .*other-key\.pem is not the key of/,
    ],
    [
      "a root key that all may read",
      (c) => {
        copyFileSync(file("root.json"), file("loose.json"));
        chmodSync(file("loose.json"), 0o644);
        set(c, "rootOfTrust", "file", "loose.json");
      },
      /rootOfTrust\.file: .*loose\.json/,
    ],
    [
      "a certificate of two instances",
      (c) => c.instances.push({ ...first(c), name: "twin" }),
      /^holdfast: instances/,
    ],
    [
      "an invalid password hash",
      (c) =>
        Object.assign(first(c), { users: [{ name: "ada", passwordHash: "hunter2-in-clear" }] }),
      /instances\[0\]\.users\[0\]\.passwordHash must be/,
    ],
  ];

  test.each(faults)("%s", async (name, damage, says, documented = 2) => {
    const config = parse(readFileSync(region.node(0).configFile, "utf8")) as Config;
    for (const [group, port] of [
      ["kmip", await freePort()],
      ["http", await freePort()],
      ["health", await freePort()],
    ] as const) {
      set(config, group, "listen", `127.0.0.1:${port}`);
    }
    await damage(config);
    const path = file(`faulty-${name.replaceAll(/\W+/g, "-")}.yaml`);
    writeFileSync(path, stringify(config));
    const { code, err, out } = await serve(path);
    expect(err).toMatch(says);
    expect(err.trimEnd().split("\n")).toHaveLength(1);
    expect(`${err}${out}`).not.toMatch(/^\s+at |hunter2|BEGIN/m);
    expect(code).toBe(documented);
  });

  test("a missing file", async () => {
    const { code, err } = await serve(file("none.yaml"));
    expect(err).toMatch(/none\.yaml: no such file/);
    expect(code).toBe(2);
  });

  function set(config: Config, group: string, name: string, value: unknown): void {
    config[group] = { ...config[group], [name]: value };
  }

  function first(config: Config) {
    const [one] = config.instances;
    if (one === undefined) throw new Error("no instance");
    return one;
  }
});

/** All authorities that may have signed the server's certificate so far. */
function authorities(): readonly string[] {
  return [region.ca, another.certificate];
}

/** Runs a node that is expected to end by itself. */
function serve(configFile: string): Promise<{ code: unknown; err: string; out: string }> {
  return new Promise((resolve) => {
    const args = [entry, "serve", "--config", configFile];
    execFile(process.execPath, args, (error, out, err) => {
      resolve({ code: error?.code ?? 0, err, out });
    });
  });
}
