import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { randomBytes, randomInt } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect as connectTls } from "node:tls";
import { until } from "@holdfast/testing";
import { createAuthority } from "@holdfast/testing/pki";
import { Redis } from "ioredis";
import { RedisServer, storePrograms } from "./redis.ts";
import { initStore, retried } from "./redis-store.ts";

const root = join(import.meta.dirname, "../..");
const shipped = join(root, "deploy", "redis");
/** How long a restarted container stays down, as with Docker's `restart: unless-stopped`. */
const restartMs = 200;
/** Enough for a Sentinel's second try of a fail-over, a full copy and a restart on a busy machine. */
const recoverMs = 300_000;

/** Ends a command that hangs; a machine that is busy with other work does not meet it. */
const boundMs = 60_000;

/** A container of docker-compose.yml: `deploy/redis/start.sh` with its own volume and address. */
export class Container {
  readonly name: string;
  readonly address: string;
  readonly data: string;
  readonly environment: Record<string, string>;
  #child: ChildProcess | undefined;
  #log = "";
  #wanted = false;
  /** Exit codes of the script, one for each time that it ended by itself. */
  readonly exits: (number | null)[] = [];

  constructor(name: string, address: string, data: string, environment: Record<string, string>) {
    this.name = name;
    this.address = address;
    this.data = data;
    this.environment = environment;
  }

  /** The output of the script and of Redis. */
  get log(): string {
    return this.#log;
  }

  /** Starts it, and restarts it whenever it ends by itself. */
  async start(more: Readonly<Record<string, string>> = {}): Promise<void> {
    this.#wanted = true;
    await mkdir(this.data, { recursive: true });
    const env = { ...this.environment, ...more };
    const child = spawn("sh", [join(shipped, "start.sh")], { env, detached: true });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        this.#log += text;
      });
    }
    child.once("exit", (code) => {
      if (!this.#wanted || this.#child !== child) return;
      this.exits.push(code);
      setTimeout(() => {
        if (this.#wanted && this.#child === child) void this.start(more);
      }, restartMs);
    });
  }

  /** Kills it with SIGKILL, and waits until none of its processes runs. */
  async kill(): Promise<void> {
    this.#wanted = false;
    const child = this.#child;
    this.#child = undefined;
    if (child?.pid === undefined) return;
    const ended = child.exitCode !== null || child.signalCode !== null;
    const gone = ended ? undefined : new Promise((resolve) => child.once("exit", resolve));
    try {
      process.kill(-child.pid, "SIGKILL");
    } catch {
      // Its whole group is gone.
    }
    await gone;
  }

  /** Sends SIGTERM to the script only, as `docker stop` does; returns its exit code. */
  async stop(): Promise<number | null> {
    this.#wanted = false;
    const child = this.#child;
    if (child === undefined) throw new Error(`${this.name} does not run`);
    const ended = once(child, "exit");
    child.kill("SIGTERM");
    const [code] = await ended;
    return code;
  }

  /** Loses its volume. */
  async lose(): Promise<void> {
    await rm(this.data, { recursive: true, force: true });
  }
}

/** A container of the store. */
export type ContainerName = "primary" | "replica" | "sentinel1" | "sentinel2" | "sentinel3";

/** A region's store as in docker-compose.yml: two Redis, three Sentinels, the shipped files. */
export class ShippedStore implements AsyncDisposable {
  readonly containers: Readonly<Record<ContainerName, Container>>;
  readonly #folder: string;
  readonly #secrets: string;
  readonly keys: string[] = [];
  /** The authority of the Redis and Sentinel certificates; undefined without TLS. */
  #ca: string | undefined;

  /** `secrets` is a region's folder of `npm run compose-secrets`. */
  constructor(secrets: string, { members = true, sentinels: watched = true } = {}) {
    this.#secrets = secrets;
    const folder = mkdtempSync(join(tmpdir(), "holdfast-shipped-"));
    this.#folder = folder;
    // Two tests at the same time must not use the same addresses.
    const subnet = `127.${randomInt(100, 250)}.${randomInt(0, 256)}`;
    const links = { "redis-users": "users.acl", "redis-replication": "replication.conf" };
    for (const [name, file] of Object.entries({ ...links, sentinel: "sentinel.conf" })) {
      symlinkSync(join(secrets, file), join(folder, name));
    }
    const sentinels = [13, 14, 15].map((last) => `${subnet}.${last}`);
    const make = (name: ContainerName, last: number, role: string): Container =>
      new Container(name, `${subnet}.${last}`, join(folder, name), {
        PATH: `${storePrograms ?? join(root, ".holdfast", "redis", "bin")}:${process.env["PATH"]}`,
        ROLE: role,
        ADDRESS: `${subnet}.${last}`,
        DATA: join(folder, name),
        SHIPPED: shipped,
        SECRETS: folder,
        ...(members && { MEMBERS: `${subnet}.10 ${subnet}.11` }),
        ...(watched && { SENTINELS: sentinels.join(" ") }),
        ...(role !== "primary" && { PRIMARY: `${subnet}.10` }),
      });
    this.containers = {
      primary: make("primary", 10, "primary"),
      replica: make("replica", 11, "replica"),
      sentinel1: make("sentinel1", 13, "sentinel"),
      sentinel2: make("sentinel2", 14, "sentinel"),
      sentinel3: make("sentinel3", 15, "sentinel"),
    };
  }

  get members(): readonly Container[] {
    return [this.containers.primary, this.containers.replica];
  }

  get sentinels(): readonly Container[] {
    const { sentinel1, sentinel2, sentinel3 } = this.containers;
    return [sentinel1, sentinel2, sentinel3];
  }

  /** Makes certificates for every container, which then uses only TLS; before the first start. */
  async encrypt(): Promise<void> {
    const since = { notBeforeMs: Date.now() - 60_000, days: 1 };
    const authority = await createAuthority({ commonName: "Redis CA", ...since });
    const renew = async (container: Container): Promise<void> => {
      const hosts = [container.address];
      const issued = await authority.issue({ commonName: container.name, hosts, ...since });
      const folder = `${container.data}-tls`;
      await mkdir(folder, { recursive: true });
      await writeFile(join(folder, "ca.pem"), authority.certificate);
      await writeFile(join(folder, "redis.pem"), issued.certificate);
      await writeFile(join(folder, "redis.key"), issued.key);
      container.environment["TLS"] = folder;
    };
    for (const container of Object.values(this.containers)) await renew(container);
    this.#ca = authority.certificate;
    this.#renew = renew;
  }

  #renew: (container: Container) => Promise<void> = async () => {
    throw new Error("the store has no certificates");
  };

  /** Replaces a member's certificate, and sets the files again as the operator's user. */
  async renewCertificate(name: "primary" | "replica"): Promise<void> {
    const container = this.containers[name];
    await this.#renew(container);
    const file = (ending: string) => join(`${container.data}-tls`, `redis.${ending}`);
    const files = ["tls-cert-file", file("pem"), "tls-key-file", file("key")];
    const answer = this.cli(name, "operator", "config", "set", ...files);
    if (answer !== "OK") throw new Error(answer);
  }

  /** The serial number of the certificate that a member uses for a new connection. */
  async serial(name: "primary" | "replica"): Promise<string> {
    const socket = connectTls({ host: this.containers[name].address, port: 6379, ca: this.#ca });
    try {
      await once(socket, "secureConnect");
      return socket.getPeerX509Certificate()?.serialNumber ?? "";
    } finally {
      socket.destroy();
    }
  }

  /** Starts a new store and acknowledges 50 keys in it. */
  async begin({
    sentinelsFirst = false,
    replica = {},
  }: {
    readonly sentinelsFirst?: boolean;
    /** Further variables of the replica. */
    readonly replica?: Readonly<Record<string, string>>;
  } = {}): Promise<void> {
    if (sentinelsFirst) {
      for (const sentinel of this.sentinels) await sentinel.start();
      await sleep(4_000);
    }
    await this.#startMembers(replica);
    if (!sentinelsFirst) for (const sentinel of this.sentinels) await sentinel.start();
    await this.until("Sentinels that know each other", async () => {
      const counts = await Promise.all(this.sentinels.map((each) => this.#sentinel(each)));
      return counts.every(
        (each) => each.get("num-slaves") === "1" && each.get("num-other-sentinels") === "2",
      );
    });
    await this.init();
    await this.acknowledge(50);
  }

  /** `holdfast store init`. */
  async init(): Promise<void> {
    const options = {
      sentinels: this.sentinels.map(({ address }) => `${address}:26379`),
      name: "holdfast",
      username: "holdfast",
      password: this.#password("redis-password"),
      sentinelPassword: this.#password("sentinel-password"),
      replicas: 1,
      ...(this.#tls.tls && { ...this.#tls, sentinelTls: this.#tls.tls }),
    };
    await retried(() => initStore(options));
  }

  /** Writes keys at the primary as nodes do: each is on the disk of both members. */
  async acknowledge(count: number): Promise<void> {
    const names = newNames(count);
    const sets = names.map((name) => ["set", name, randomBytes(32).toString("hex")]);
    await this.until("a full barrier", async () => {
      const roles = await Promise.all(this.members.map((member) => this.#role(member)));
      const primary = this.members[roles.indexOf("master")];
      if (primary === undefined) return false;
      const lines = [...sets, ["waitaof", "1", "1", "1000"]];
      const answers = await this.#ask(primary, lines).catch(() => []);
      return String(answers.at(-1)) === "1,1";
    });
    this.keys.push(...names);
  }

  /** Waits until the store has recovered: one primary, one replica in step, and every acknowledged key at both. */
  async recovered(): Promise<void> {
    await this.until("a store with every acknowledged key at both members", async () => {
      const roles = await Promise.all(this.members.map((member) => this.#role(member)));
      if (roles.toSorted().join() !== "master,slave") return false;
      const counts = await Promise.all(this.members.map((member) => this.#held(member)));
      return counts.every((count) => count === this.keys.length);
    });
    await this.acknowledge(5);
  }

  /** Starts a new store that no Sentinel watches, and acknowledges 50 keys in it. */
  async beginAlone(): Promise<void> {
    await this.#startMembers();
    await this.acknowledge(50);
  }

  /** Runs a command of the runbook at a member: `redis-cli --user USER …`. */
  cli(name: "primary" | "replica", user: string, ...command: readonly string[]): string {
    const REDISCLI_AUTH = this.#password(
      `redis-${user === "replica" ? "replication" : user}-password`,
    );
    const { PATH, TLS } = this.containers[name].environment;
    const tls = TLS === undefined ? [] : ["--tls", "--cacert", join(TLS, "ca.pem")];
    const host = ["-h", this.containers[name].address, ...tls, "--user", user];
    const { stdout } = spawnSync("redis-cli", [...host, ...command], {
      env: { PATH, REDISCLI_AUTH },
      encoding: "utf8",
      timeout: boundMs,
    });
    return stdout.trim();
  }

  /** How many of the acknowledged keys a member has; -1 if it does not answer. */
  async held(name: "primary" | "replica"): Promise<number> {
    return this.#held(this.containers[name]);
  }

  /** Waits until the Sentinels have promoted a member. */
  async promoted(name: "primary" | "replica"): Promise<void> {
    await this.until(`${name} is promoted`, async () => {
      if ((await this.role(name)) !== "master") return false;
      return (await this.#named()) === this.containers[name].address;
    });
  }

  /** Waits until the Sentinels name the member that is the primary. */
  async agreed(): Promise<boolean> {
    await this.until("Sentinels that agree", async () => {
      const named = await this.#named();
      const member = this.members.find(({ address }) => address === named);
      return member !== undefined && (await this.#role(member)) === "master";
    });
    return true;
  }

  /** Writes keys that only one member has. */
  async write(name: "primary" | "replica", count: number): Promise<void> {
    const names = newNames(count);
    const lines = [...names.map((key) => ["set", key, "1"]), ["waitaof", "1", "0", "5000"]];
    await this.until("keys on its own disk", async () => {
      const answers = await this.#ask(this.containers[name], lines).catch(() => []);
      return String(answers.at(-1)) === "1,0";
    });
    this.keys.push(...names);
  }

  /** Starts an empty Redis with the shipped users at a member's address, as if started by hand. */
  async emptyRedisAt(name: "primary" | "replica"): Promise<RedisServer> {
    return RedisServer.start({
      host: this.containers[name].address,
      port: 6379,
      lines: [`aclfile ${join(this.#secrets, "users.acl")}`],
    });
  }

  /** Addresses of the replicas that the Sentinels know. */
  async replicas(): Promise<readonly string[]> {
    const [sentinel] = this.sentinels;
    if (sentinel === undefined) throw new Error("no Sentinel");
    const password = this.#password("sentinel-password");
    const client = connect({ host: sentinel.address, port: 26_379, password, ...this.#tls });
    try {
      await client.connect();
      const lists = (await client.call("sentinel", "replicas", "holdfast")) as string[][];
      return lists.map((flat) => flat[1] ?? "");
    } finally {
      client.disconnect();
    }
  }

  async pause(ms: number): Promise<void> {
    await sleep(ms);
  }

  async #held(member: Container): Promise<number> {
    const [count] = await this.#ask(member, [["exists", ...this.keys]]).catch(() => [-1]);
    return Number(count);
  }

  async role(name: "primary" | "replica"): Promise<string | undefined> {
    return this.#role(this.containers[name]);
  }

  async kill(...names: readonly ContainerName[]): Promise<void> {
    await Promise.all(names.map((name) => this.containers[name].kill()));
  }

  /**
   * The replica loses its volume and joins again, and writes the copy to its disk now: three keys each second, so that a
   * busy machine meets it at work.
   */
  async copying(): Promise<void> {
    await this.kill("replica");
    const { replica } = this.containers;
    await replica.lose();
    const own = `${replica.data}-secrets`;
    await mkdir(own, { recursive: true });
    symlinkSync(join(this.#secrets, "users.acl"), join(own, "redis-users"));
    const replication = readFileSync(join(this.#secrets, "replication.conf"), "utf8");
    await writeFile(join(own, "redis-replication"), `${replication}rdb-key-save-delay 300000\n`);
    const before = replica.log.length;
    await replica.start({ SECRETS: own });
    await this.until("a copy that is written", () =>
      replica.log.slice(before).includes("Background append only file rewriting started"),
    );
  }

  /** Waits until a container's log says something. */
  async says(name: ContainerName, text: string): Promise<void> {
    await this.until(`${name}: ${text}`, () => this.containers[name].log.includes(text));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(Object.values(this.containers).map((each) => each.kill()));
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #startMembers(replica: Readonly<Record<string, string>> = {}): Promise<void> {
    await this.containers.primary.start({ INIT: "1" });
    await this.containers.replica.start(replica);
    // A new member has priority 0 until it has all data; then it restarts.
    await this.until("a replica that can be promoted", async () => {
      const [answer] = await this.#ask(this.containers.replica, [["info"]]).catch(() => []);
      const info = String(answer);
      return /^slave_priority:[1-9]/m.test(info) && /^master_link_status:up/m.test(info);
    });
  }

  async #named(): Promise<string | undefined> {
    const answers = await Promise.all(this.sentinels.map((each) => this.#sentinel(each)));
    const names = answers.map((answer) => answer.get("ip"));
    return names.every((name) => name === names[0]) ? names[0] : undefined;
  }

  async #role(member: Container): Promise<string | undefined> {
    try {
      const [answer] = await this.#ask(member, [["role"]]);
      const [role, , , link] = answer as readonly unknown[];
      if (role === "master") return "master";
      return link === "connected" ? "slave" : "joining";
    } catch {
      return undefined;
    }
  }

  async #sentinel({ address }: Container): Promise<ReadonlyMap<string, string>> {
    const password = this.#password("sentinel-password");
    const client = connect({ host: address, port: 26_379, password, ...this.#tls });
    try {
      await client.connect();
      const flat = (await client.call("sentinel", "master", "holdfast")) as string[];
      return new Map(flat.flatMap((name, at) => (at % 2 ? [] : [[name, flat[at + 1] ?? ""]])));
    } catch {
      return new Map();
    } finally {
      client.disconnect();
    }
  }

  async #ask(member: Container, lines: readonly (readonly string[])[]): Promise<unknown[]> {
    const password = this.#password("redis-password");
    const [host, username] = [member.address, "holdfast"];
    const client = connect({ host, port: 6379, username, password, ...this.#tls });
    try {
      await client.connect();
      return await Promise.all(lines.map(([name = "", ...args]) => client.call(name, ...args)));
    } finally {
      client.disconnect();
    }
  }

  get #tls(): { readonly tls?: { readonly ca: string } } {
    return this.#ca === undefined ? {} : { tls: { ca: this.#ca } };
  }

  #password(file: string): string {
    return readFileSync(join(this.#secrets, file), "utf8").trim();
  }

  /** Waits for a state; if it is not reached, the error has the members' last lines. */
  async until(what: string, condition: () => Promise<boolean> | boolean): Promise<void> {
    try {
      await until(what, condition, recoverMs);
    } catch (error) {
      const logs = this.members.map(
        ({ name, log }) => `${name}:\n${log.split("\n").slice(-12).join("\n")}`,
      );
      throw new Error(`${(error as Error).message}\n${logs.join("\n")}`);
    }
  }
}

function newNames(count: number): readonly string[] {
  return Array.from({ length: count }, () => `{p00}:o:${randomBytes(8).toString("hex")}`);
}

/** Makes the secrets as an operator does; returns the folder of region a's secrets. */
export function composeSecrets(folder: string): string {
  const script = join(root, "scripts", "compose-secrets.mjs");
  const { status, stderr } = spawnSync(process.execPath, [script, folder], { encoding: "utf8" });
  if (status !== 0) throw new Error(`compose-secrets: ${stderr}`);
  return join(folder, "a");
}

function connect(options: {
  readonly host: string;
  readonly port: number;
  readonly username?: string;
  readonly password: string;
  readonly tls?: { readonly ca: string };
}): Redis {
  const client = new Redis({
    ...options,
    lazyConnect: true,
    retryStrategy: null,
    enableReadyCheck: false,
    ...{ commandTimeout: boundMs, connectTimeout: boundMs },
    disableClientInfo: true,
    protocol: 2,
  });
  client.on("error", () => undefined);
  return client;
}
