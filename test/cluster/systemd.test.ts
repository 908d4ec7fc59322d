import { appendFile, chmod, copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { until } from "@holdfast/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { stringify } from "yaml";
import { must } from "../../scripts/build/archives.ts";
import { makeDeb } from "../../scripts/build/debian.ts";
import { ownTarget } from "../../scripts/build/tree.ts";
import { composeSecrets } from "../support/shipped-store.ts";
import { SystemdMachine } from "../support/systemd-machine.ts";

const shipped = join(import.meta.dirname, "../../deploy/redis");
const missing = SystemdMachine.missing();
const node = "holdfast.service";
const configFile = "/etc/holdfast/holdfast.yaml";
/** The members of the store: the unit's instance, its ROLE, and the last part of its address. */
const members = [
  ["replica", "replica", 2],
  ["redis", "primary", 1],
  ["sentinel", "sentinel", 4],
  ["lock", "lock", 3],
] as const;
const store = members.map(([name]) => `holdfast-redis@${name}.service`);
const packages = [
  ...["adduser", "libstdc++6", "systemd", "redis-server"],
  ...["openssl", "openssl-provider-fips"],
];

const settings = {
  region: "a",
  node: "a1",
  kmip: { listen: "127.0.1.1:5696" },
  http: { listen: "127.0.0.1:9464" },
  health: { listen: "127.0.0.1:9465" },
  tls: { certificate: "server.pem", key: "server.key" },
  store: {
    address: "127.0.0.1:6379",
    username: "holdfast",
    passwordFile: "redis-password",
    replicas: 1,
  },
  locks: ["redis://127.0.0.3:6379"],
  rootOfTrust: { type: "local", file: "/var/lib/holdfast/root.key" },
  sealingKeyFile: "/var/lib/holdfast/sealing.key",
  instances: [{ name: "demo", certificates: ["client.pem"] }],
};

describe.skipIf(missing.length > 0)(
  `the units under a systemd of their own (needs root with the right to make namespaces and a cgroup of version 2, mmdebstrap and dpkg; missing: ${missing.join(", ") || "none"})`,
  () => {
    let out: string;
    let root: string;
    let deb: string;
    let secrets: string;
    let machine: SystemdMachine;

    beforeAll(async () => {
      out = await mkdtemp(join(tmpdir(), "holdfast-systemd-"));
      root = join(out, "system");
      secrets = join(out, "secrets");
      composeSecrets(secrets);
      const include = `--include=${packages.join(",")}`;
      const base = ["--variant=minbase", "--quiet", include, "trixie", root];
      [deb] = await Promise.all([makeDeb(ownTarget, out), must("mmdebstrap", base)]);
      await copyFile(deb, join(root, "srv", basename(deb)));
      machine = await SystemdMachine.start(root);
      // Debian starts its own Redis, without users and durability.
      await machine.must("systemctl", "disable", "--now", "redis-server");
    });

    afterAll(async () => {
      await machine?.[Symbol.asyncDispose]();
      if (out !== undefined) await rm(out, { recursive: true, force: true });
    });

    const install = () => machine.must("apt-get", "install", "--yes", `/srv/${basename(deb)}`);
    const configure = (content: object) => writeFile(join(root, configFile), stringify(content));
    const pidOf = async (unit: string) => (await machine.show(unit, "MainPID"))["MainPID"] ?? "";
    const active = (unit: string) => async () => {
      const { ActiveState } = await machine.show(unit, "ActiveState");
      return ActiveState === "active" || `${ActiveState}: ${(await journalOf(unit)).slice(-2_000)}`;
    };
    const journalOf = (unit: string) => machine.journal(unit);
    const journalSays = (unit: string, what: string) =>
      until(`${unit}: ${what}`, async () => {
        const journal = await journalOf(unit);
        return journal.includes(what) || journal.slice(-2_000);
      });
    const kmip = (...command: readonly string[]) => {
      const files = ["--cert=/srv/client.pem", "--key=/srv/client.key", "--ca=/srv/ca.pem"];
      return machine.must("holdfast", "kmip", ...command, "--endpoint=127.0.1.1:5696", ...files);
    };

    test("the package enables the node's unit, which waits for a configuration", async () => {
      expect(await install()).toContain("holdfast: write /etc/holdfast/holdfast.yaml");
      expect(await machine.must("systemctl", "is-enabled", node)).toBe("enabled\n");
      await machine.must("systemctl", "start", node);
      const state = await machine.show(node, "ActiveState", "ConditionResult");
      expect(state).toEqual({ ActiveState: "inactive", ConditionResult: "no" });
    });

    test("a start with a wrong setting fails for good, and status and journal name the setting", async () => {
      await layNode();
      await configure({ ...settings, kmip: { listen: "nowhere" } });
      const { code, err } = await machine.run("systemctl", "start", node);
      expect(code, err).not.toBe(0);
      await journalSays(node, "kmip.listen");
      // While systemd is to start it again, the state is another one.
      await until("the unit is failed", async () => {
        const { SubState } = await machine.show(node, "SubState");
        return SubState === "failed" || `${SubState}`;
      });
      expect(await machine.show(node, "NRestarts", "ExecMainStatus")).toEqual({
        NRestarts: "0",
        ExecMainStatus: "2",
      });
      const said = await machine.must("journalctl", "--output=cat", "--identifier=holdfast");
      const line = /^holdfast: \S+:\d+: kmip\.listen must be /;
      expect(said.trim().split("\n")).toEqual([expect.stringMatching(line)]);
      const { out: status } = await machine.run("systemctl", "status", node);
      expect(status).toContain(said.trim());
      expect(await machine.show(node, "ActiveEnterTimestampMonotonic")).toEqual({
        ActiveEnterTimestampMonotonic: "0",
      });
    });

    test("an upgrade starts the failed node; without a store it says so, is never active, and is started again", async () => {
      await configure(settings);
      await machine.must("dpkg", "--install", `/srv/${basename(deb)}`);
      await journalSays(node, "store.address: 127.0.0.1:6379: no connection to Redis");
      await until("another start", async () => {
        const { NRestarts, ExecMainStatus } = await machine.show(
          node,
          "NRestarts",
          "ExecMainStatus",
        );
        return (
          (Number(NRestarts) > 0 && ExecMainStatus === "3") || `${NRestarts} ${ExecMainStatus}`
        );
      });
      expect(await machine.show(node, "ActiveEnterTimestampMonotonic")).toEqual({
        ActiveEnterTimestampMonotonic: "0",
      });
    });

    test("Redis, Sentinel and lock master start, and the node is active once it serves from the store", async () => {
      await layStore();
      for (const unit of store) {
        await machine.must("systemctl", "enable", "--now", unit);
        await until(unit, active(unit));
      }
      await journalSays(node, "run `holdfast store init");
      await until("a new store", async () => {
        const ran = await machine.run("holdfast", "store", "init", "--config", configFile);
        return ran.code === 0 || ran.err;
      });
      await until(node, active(node));
      await journalSays(node, '"msg":"KMIP listener open"');
      await machine.must("sed", "--in-place", "/^INIT=/d", "/etc/holdfast-redis/redis.env");
      await kmip("create", "--name=before");
    });

    test.each([node, "holdfast-redis@redis.service"])("%s runs in its sandbox", async (unit) => {
      const pid = await pidOf(unit);
      const status = await machine.must("cat", `/proc/${pid}/status`);
      expect(status).toMatch(/^NoNewPrivs:\t1$/m);
      expect(status).toMatch(/^CapEff:\t0{16}$/m);
      expect(status).not.toMatch(/^Uid:\t0\t/m);
      const limits = await machine.must("cat", `/proc/${pid}/limits`);
      expect(limits).toMatch(/^Max core file size +0 +0 /m);
      // Even root could not write or look into these folders where the service runs.
      await mkdir(join(root, "home/somebody"), { recursive: true });
      const there = (...command: readonly string[]) =>
        machine.run("nsenter", `--target=${pid}`, "--mount", ...command);
      for (const folder of ["/usr", "/etc", "/var/log"]) {
        expect((await there("touch", `${folder}/probe`)).err).toContain("Read-only file system");
      }
      expect((await there("ls", join("/home", "somebody"))).err).toContain(
        "No such file or directory",
      );
      expect((await there("touch", "/tmp/probe")).code).toBe(0);
      expect((await machine.run("ls", "/tmp/probe")).code).not.toBe(0);
    });

    test("a reload is read, and a killed node starts again", async () => {
      await machine.must("systemctl", "reload", node);
      await journalSays(node, '"msg":"instances reloaded"');
      const pid = await pidOf(node);
      await machine.must("systemctl", "kill", "--signal=KILL", "--kill-whom=main", node);
      await until("another process", async () => !["0", pid].includes(await pidOf(node)));
      await until(node, active(node));
      expect(await kmip("locate")).toMatch(/[0-9a-f]{8}/);
    });

    test("with `fips: required` it runs with OpenSSL's FIPS provider, in its sandbox", async () => {
      await configure({ ...settings, fips: "required" });
      await machine.must("systemctl", "restart", node);
      await until(node, active(node));
      const pid = await pidOf(node);
      expect(await machine.must("cat", `/proc/${pid}/cmdline`)).toContain("--force-fips");
      expect(await machine.must("cat", `/proc/${pid}/maps`)).toContain("/ossl-modules/fips.so");
      expect(await machine.must("ls", "/run/holdfast")).not.toContain("holdfast-fips");
      expect(await kmip("locate")).toMatch(/[0-9a-f]{8}/);
    });

    test("the package restarts the node at an upgrade; a stop drains it and succeeds", async () => {
      const pid = await pidOf(node);
      expect(await machine.must("dpkg", "--install", `/srv/${basename(deb)}`)).toContain(
        "holdfast",
      );
      expect(await pidOf(node)).not.toBe(pid);
      await until(node, active(node));
      await machine.must("systemctl", "restart", node);
      expect(await machine.show(node, "ActiveState")).toEqual({ ActiveState: "active" });
      const stopped = await pidOf(node);
      await machine.must("systemctl", "stop", node);
      const how = ["ActiveState", "Result", "ExecMainCode", "ExecMainStatus"];
      expect(await machine.show(node, ...how)).toEqual({
        ActiveState: "inactive",
        Result: "success",
        // CLD_EXITED
        ExecMainCode: "1",
        ExecMainStatus: "0",
      });
      await until("the log of the drain", async () => {
        const log = await machine.must("journalctl", "--output=cat", `_PID=${stopped}`);
        return /"msg":"draining".*"msg":"node ended"/s.test(log) || log;
      });
    });

    test("the store's members start again with their data; a removal ends the node", async () => {
      await machine.must("systemctl", "restart", ...store);
      // The first try may come before Redis has read its data.
      await machine.run("systemctl", "start", node);
      await until(node, active(node));
      expect(await kmip("locate")).toMatch(/[0-9a-f]{8}/);
      await machine.must("apt-get", "remove", "--yes", "holdfast");
      const { out: enabled } = await machine.run("systemctl", "is-enabled", node);
      expect(enabled).not.toContain("enabled");
      expect(await machine.show(node, "ActiveState")).toEqual({ ActiveState: "inactive" });
      for (const unit of store) {
        await machine.must("systemctl", "stop", unit);
        const { Result } = await machine.show(unit, "Result");
        expect(Result, await journalOf(unit)).toBe("success");
      }
    });

    /** Lays the node's files as docs/install.md says. */
    async function layNode(): Promise<void> {
      const files = {
        "etc/holdfast": ["server.pem", "server.key", "client.pem", "a/redis-password"],
        "var/lib/holdfast": ["a/root.key", "a/sealing.key"],
        srv: ["client.pem", "client.key", "ca.pem"],
      };
      for (const [folder, names] of Object.entries(files)) {
        for (const name of names) {
          await copyFile(join(secrets, name), join(root, folder, basename(name)));
        }
      }
      await configure(settings);
      await machine.must("chown", "--recursive", "root:holdfast", "/etc/holdfast");
      await machine.must("chmod", "--recursive", "u=rwX,g=rX,o=", "/etc/holdfast");
      await machine.must("chown", "--recursive", "holdfast:holdfast", "/var/lib/holdfast");
    }

    /** Lays the store's files as docs/operations.md says, for all members on one machine. */
    async function layStore(): Promise<void> {
      const program = join(root, "usr/local/lib/holdfast-redis");
      const own = join(root, "etc/holdfast-redis");
      await mkdir(program, { recursive: true });
      await mkdir(own, { recursive: true });
      for (const name of ["start.sh", "redis.conf", "sentinel.conf"]) {
        await copyFile(join(shipped, name), join(program, name));
      }
      await chmod(join(program, "start.sh"), 0o755);
      const unit = "holdfast-redis@.service";
      await copyFile(join(shipped, unit), join(root, "etc/systemd/system", unit));
      const links = { "redis-users": "users.acl", "redis-replication": "replication.conf" };
      for (const [name, file] of Object.entries({ ...links, sentinel: "sentinel.conf" })) {
        await copyFile(join(secrets, "a", file), join(own, name));
      }
      for (const [name, role, last] of members) {
        const lines = [
          `ROLE=${role}`,
          `ADDRESS=127.0.0.${last}`,
          "PRIMARY=127.0.0.1",
          'MEMBERS="127.0.0.1 127.0.0.2"',
          "SENTINELS=127.0.0.4",
        ];
        await writeFile(join(own, `${name}.env`), `${lines.join("\n")}\n`);
      }
      await appendFile(join(own, "redis.env"), "INIT=1\n");
      await machine.must("chown", "--recursive", "root:redis", "/etc/holdfast-redis");
      await machine.must("chmod", "--recursive", "u=rwX,g=rX,o=", "/etc/holdfast-redis");
      await machine.must("systemctl", "daemon-reload");
    }
  },
);
