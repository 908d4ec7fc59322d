import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";

const root = join(import.meta.dirname, "..", "..");
const nodes = ["a1", "a2", "b1", "b2"];
/** Loopback addresses that only this process uses, so that two runs of this test do not collide. */
const network = `127.${1 + ((process.pid >> 8) % 250)}.${process.pid & 255}`;
const addresses = [1, 2, 3, 4].map((host) => `${network}.${host}`);
/** The nodes, and in each of the two regions a Redis, its replica and a lock master. */
const processes = nodes.length + 2 * 3;
const port = 25_696;
const startMs = 300_000;

interface ClusterFile {
  readonly ready: boolean;
  readonly nodes: readonly {
    readonly region: string;
    readonly node: string;
    readonly kmip: string;
    readonly grpc: string;
    readonly health: string;
    readonly http: string;
    readonly pid: number;
  }[];
  readonly redis: readonly {
    readonly region: string;
    readonly role: string;
    readonly address: string;
    readonly pid: number;
  }[];
  readonly wanMs: number;
  readonly ca: string;
  readonly clientCertificate: string;
  readonly clientKey: string;
}

let folder = "";
const running: ChildProcess[] = [];

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-start-"));
});

afterEach(() => {
  for (const child of running.splice(0)) child.kill("SIGKILL");
  holdfast("dev", "stop", "--dir", folder);
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** Runs the command line like `npx holdfast`. */
function holdfast(...args: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(
    join(root, "node_modules", ".bin", "holdfast"),
    args,
    { encoding: "utf8", cwd: root },
  );
  return { status, stdout, stderr };
}

/** The exit code of a command that should be tried again, as while no node has a lease on a busy machine. */
const tryAgain = 3;

/** Runs a KMIP operation at this test's cluster, which must succeed. */
function kmip(...args: readonly string[]): string {
  const began = performance.now();
  for (;;) {
    const { status, stdout, stderr } = holdfast("kmip", ...args, "--dev", folder);
    if (status === tryAgain && performance.now() - began < startMs) continue;
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    return stdout.trim();
  }
}

const where = (at = folder, list = addresses, kmipPort = port) => [
  ...["--dir", at, "--addresses", list.join(","), "--port", String(kmipPort)],
];

/** Starts the program that `npm start` runs. */
function startCluster(args: readonly string[] = where()) {
  const child = spawn(
    "node",
    ["scripts/run.mjs", "packages/cli/src/main.ts", "dev", "start", ...args],
    { cwd: root, stdio: ["ignore", "pipe", "pipe"] },
  );
  running.push(child);
  const output = { out: "", err: "" };
  child.stdout.setEncoding("utf8").on("data", (text) => {
    output.out += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text) => {
    output.err += text;
  });
  const ended = once(child, "exit").then(([code]) => code as number | null);
  return { child, output, ended };
}

async function untilReady(cluster: ReturnType<typeof startCluster>): Promise<void> {
  await expect
    .poll(() => cluster.output.out.includes("Ready.") || cluster.child.exitCode !== null, {
      timeout: startMs,
    })
    .toBe(true);
  expect(cluster.output.err).toBe("");
  await expect.poll(() => clusterFile()?.ready).toBe(true);
}

function clusterFile(at = folder): ClusterFile | undefined {
  const file = join(at, "cluster.json");
  return existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : undefined;
}

function pids(at = folder): readonly number[] {
  const cluster = clusterFile(at);
  return [...(cluster?.nodes ?? []), ...(cluster?.redis ?? [])].map(({ pid }) => pid);
}

function runs(pid: number): boolean {
  try {
    return !readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ");
  } catch {
    return false;
  }
}

/** The bytes of a key, through a file that only this user can read. */
function bytesOf(id: string): Buffer {
  const file = join(folder, `${id}.key`);
  kmip("get", id, "--out", file);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  const bytes = readFileSync(file);
  rmSync(file);
  return bytes;
}

function allFiles(path: string): readonly string[] {
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

test("after npm start, Ctrl-C and npm start every key is still there", async () => {
  const first = startCluster();
  await untilReady(first);
  const { out } = first.output;
  const steps = out
    .split("\n")
    .filter((line) => /^ {2}(trust|health|new key|key needed)/.test(line))
    // On a busy machine a node may not answer in time; then the next one does.
    .filter((line) => !line.includes("no answer, next is "));
  expect(steps.length).toBe(23);
  expect(steps.filter((line) => line.includes("FAILED"))).toEqual([]);
  const made = steps.filter((line) => / {2}new key/.test(line));
  const madeAt = nodes.filter((node) =>
    made.some((line) => line.includes(` ${node}    ${node[0]} `)),
  );
  if (!out.includes("no answer, next is ")) expect(madeAt).toEqual(nodes);
  expect(out).toMatch(/leaders +a[12] \(region a\) {2}b[12] \(region b\)/);
  expect(out).toContain("same 256 bits, Active");
  for (const address of addresses) expect(out).toContain(`${address}:${port}`);

  const cluster = clusterFile();
  expect(cluster?.nodes.map(({ kmip: at }) => at)).toEqual(
    addresses.map((one) => `${one}:${port}`),
  );
  expect(cluster?.redis.map(({ region, role }) => `${role} ${region}`).toSorted()).toEqual([
    ...["lock a", "lock b", "primary a", "primary b", "replica a", "replica b"],
  ]);
  for (const file of [cluster?.ca, cluster?.clientCertificate, cluster?.clientKey]) {
    expect(existsSync(file ?? "")).toBe(true);
  }
  const all = pids();
  expect(all.filter(runs).length).toBe(processes);

  const id = kmip("create", "--name", "first", "--activate");
  const bytes = bytesOf(id);
  expect(bytes.length).toBe(32);
  expect(kmip("locate", "--name", "first")).toBe(id);
  expect(kmip("attributes", id, "State")).toMatch(/^State +Active$/);
  expect(kmip("get", id)).not.toContain(bytes.toString("hex"));

  first.child.kill("SIGINT");
  expect(await first.ended).toBe(0);
  expect(first.output.err).toBe("");
  expect(existsSync(join(folder, "cluster.json"))).toBe(false);
  expect(all.filter(runs)).toEqual([]);

  const second = startCluster();
  await untilReady(second);
  expect(second.output.out).toMatch(/key of the last start .*same 256 bits, Active/);
  expect(second.output.out).toMatch(/First request answered \d+\.\d+ s after the command/);
  expect(bytesOf(id)).toEqual(bytes);
  expect(kmip("attributes", id, "State")).toMatch(/^State +Active$/);
  second.child.kill("SIGTERM");
  expect(await second.ended).toBe(0);

  // No file on disk holds a key in clear.
  const leaking = allFiles(folder).filter((file) => {
    const content = readFileSync(file);
    return content.includes(bytes) || content.includes(bytes.toString("hex"));
  });
  expect(leaking).toEqual([]);
});

describe("in the background", () => {
  test("start --detach returns when the cluster is ready, and stop ends it", async () => {
    expect(holdfast("dev", "status", "--dir", folder).status).toBe(3);
    const started = holdfast("dev", "start", "--detach", ...where());
    expect(started).toMatchObject({ status: 0, stderr: "" });
    expect(started.stdout).toContain("Ready.");
    const all = pids();
    // On a busy machine a node may be without its store for a moment.
    await expect.poll(() => clusterFile()?.ready, { timeout: startMs }).toBe(true);
    const state = () => {
      const { status, stdout } = holdfast("dev", "status", "--dir", folder);
      return `exit code ${status}: ${stdout.replaceAll(/ +/g, " ")}`;
    };
    const ready = `KMIP a2 ${addresses[1]}:${port} ready: reads and changes`;
    await expect.poll(state, { timeout: startMs }).toContain(ready);
    await expect.poll(state, { timeout: startMs }).toMatch(/^exit code 0: /);

    const again = holdfast("dev", "start", ...where());
    expect(again.status).toBe(2);
    expect(again.stderr).toMatch(/^[^\n]*a development cluster already runs in [^\n]*\n$/);

    expect(holdfast("dev", "stop", "--dir", folder)).toMatchObject({ status: 0, stderr: "" });
    expect(all.filter(runs)).toEqual([]);
    expect(clusterFile()).toBeUndefined();
  });
});

describe("kill -9", () => {
  test("of a node and of the primary loses no key, and both come back", async () => {
    const cluster = startCluster();
    await untilReady(cluster);
    const id = kmip("create");
    const bytes = bytesOf(id);
    const victims = [clusterFile()?.nodes[0]?.pid ?? 0, redisPid("primary")];
    for (const pid of victims) process.kill(pid, "SIGKILL");
    await expect
      .poll(
        () =>
          pids().filter(runs).length === processes && !pids().some((pid) => victims.includes(pid)),
      )
      .toBe(true);
    await expect.poll(() => holdfast("dev", "status", "--dir", folder).status).toBe(0);
    await expect.poll(() => holdfast("kmip", "get", id, "--dev", folder).status).toBe(0);
    expect(bytesOf(id)).toEqual(bytes);
    const said = cluster.output.out.split("\n").filter((line) => line.includes("SIGKILL"));
    expect(said.map((line) => line.slice("hh:mm:ss.mmm".length)).toSorted()).toEqual([
      expect.stringMatching(/ node a1 ended \(signal SIGKILL\); it is started again/),
      expect.stringMatching(/ redis-a ended \(signal SIGKILL\); it is started again/),
    ]);
    cluster.child.kill("SIGINT");
    expect(await cluster.ended).toBe(0);
  });

  test("of the supervisor leaves processes, which the next start ends", async () => {
    const killed = startCluster();
    await untilReady(killed);
    const left = pids();
    killed.child.kill("SIGKILL");
    await killed.ended;
    expect(left.filter(runs).length).toBe(processes);
    expect(holdfast("dev", "status", "--dir", folder).stdout).toContain(`left ${processes} others`);
    const next = startCluster();
    await untilReady(next);
    expect(left.filter(runs)).toEqual([]);
    expect(next.output.out).toMatch(/key of the last start .*same 256 bits/);
    next.child.kill("SIGINT");
    expect(await next.ended).toBe(0);
  });
});

describe("dev makes faults:", () => {
  test("the other region serves for a frozen store, a cut stops agreed operations, and heal repairs everything", async () => {
    const cluster = startCluster([...where(), "--wan", "10"]);
    await untilReady(cluster);
    expect(clusterFile()?.wanMs).toBe(10);
    const id = kmip("create");
    const bytes = bytesOf(id);
    const dev = (...args: readonly string[]) => holdfast("dev", ...args, "--dir", folder);
    const statusSays = async (pattern: RegExp) =>
      await expect.poll(() => dev("status").stdout).toMatch(pattern);

    expect(dev("freeze", "redis-a")).toMatchObject({ status: 0, stderr: "" });
    await statusSays(/KMIP a1 .* ready: reads and changes from the other region's store/);
    expect(dev("status").status).toBe(1);
    expect(bytesOf(id)).toEqual(bytes);
    const meanwhile = kmip("create");
    expect(dev("thaw", "redis-a").stdout).toMatch(/^redis-a runs again/);
    await statusSays(/KMIP a1 .* ready: reads and changes from own store/);
    expect(bytesOf(meanwhile).length).toBe(32);

    expect(dev("cut").stdout).toMatch(/^the line between the regions is cut/);
    await expect
      .poll(() => holdfast("kmip", "destroy", meanwhile, "--dev", folder))
      .toMatchObject({ status: 3, stderr: expect.stringMatching(/region/) });
    expect(dev("kill", "a1", "region-b", "--stay").status).toBe(0);
    await statusSays(/KMIP b1 .* NOT READY: does not answer/);
    await statusSays(/KMIP a2 .* ready: reads and changes from own store/);
    expect(dev("heal").stdout).toMatch(
      /whole again[\s\S]*a1 is started again[\s\S]*redis-b is started/,
    );
    await expect.poll(() => dev("status").status).toBe(0);
    expect(bytesOf(id)).toEqual(bytes);
    kmip("destroy", meanwhile);

    expect(dev("freeze", "nobody")).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(
        /^holdfast: nobody is not part of this cluster: a1, a2, b1, b2, [^\n]*\n$/,
      ),
    });
    const saidBy = expect.poll(() => cluster.output.out);
    await saidBy.toMatch(/\n\d\d:\d\d:\d\d\.\d\d\d redis-a is frozen/);
    await saidBy.toMatch(/ a[12]: reads and changes from the other region's store/);
    cluster.child.kill("SIGINT");
    expect(await cluster.ended).toBe(0);
  });
});

describe("dev start", () => {
  test("refuses data from before there were two regions, and touches nothing", () => {
    const old = mkdtempSync(join(tmpdir(), "holdfast-old-"));
    try {
      mkdirSync(join(old, "redis", "primary"), { recursive: true });
      writeFileSync(join(old, "initialised"), "");
      const { status, stderr } = holdfast("dev", "start", ...where(old));
      expect(status).toBe(2);
      expect(stderr).toMatch(/^[^\n]* one region only; [^\n]* dev reset --yes --dir [^\n]*\n$/);
      expect(readdirSync(old).toSorted()).toEqual(["initialised", "redis"]);
      expect(holdfast("dev", "reset", "--yes", "--dir", old).status).toBe(0);
      expect(existsSync(old)).toBe(false);
    } finally {
      rmSync(old, { recursive: true, force: true });
    }
  });

  test("fails with one line if a port is in use, and leaves nothing behind", async () => {
    const server = createServer();
    server.listen(port, addresses[1]);
    await once(server, "listening");
    try {
      const { status, stderr } = holdfast("dev", "start", ...where());
      expect(status).toBe(2);
      expect(stderr).toContain(`${addresses[1]}:${port} (KMIP of node a2) is in use: `);
      expect(stderr).toMatch(/^[^\n]*\n$/);
      expect(existsSync(join(folder, "run.json"))).toBe(false);
    } finally {
      server.close();
    }
  });

  test("moves Redis to other ports if its ports are in use, and the store waits for no replica that is gone", async () => {
    expect(holdfast("dev", "start", "--detach", ...where()).status).toBe(0);
    const id = kmip("create");
    const before = clusterFile()?.redis.map(({ address }) => address) ?? [];
    expect(holdfast("dev", "stop", "--dir", folder).status).toBe(0);
    const taken = before.map((address) => {
      const [host, redisPort] = address.split(":");
      return createServer().listen(Number(redisPort), host);
    });
    await Promise.all(taken.map((server) => once(server, "listening")));
    try {
      const { status, stdout } = await startDetached();
      expect(status).toBe(0);
      expect(stdout).toMatch(/Port \d+ is taken by another program: replica-a moves to \d+\./);
      const after = clusterFile()?.redis.map(({ address }) => address) ?? [];
      expect(after.filter((address) => before.includes(address))).toEqual([]);
      expect(bytesOf(id).length).toBe(32);
      kmip("create");
    } finally {
      for (const server of taken) server.close();
    }
  });

  test("uses the replica's data if the primary's is gone, and copies it back", () => {
    expect(holdfast("dev", "start", "--detach", ...where()).status).toBe(0);
    // Only region a has these keys: its replica's disk is the last copy.
    expect(holdfast("dev", "cut", "--dir", folder).status).toBe(0);
    const ids = Array.from({ length: 3 }, () => kmip("create"));
    expect(holdfast("dev", "stop", "--dir", folder).status).toBe(0);
    const primary = join(folder, "regions", "a", "redis", "primary");
    rmSync(join(primary, "appendonlydir"), { recursive: true });
    const { status, stdout } = holdfast("dev", "start", "--detach", ...where());
    expect(status).toBe(0);
    expect(stdout).toContain("the data of redis-a is gone: it continues with replica-a's");
    for (const id of ids) expect(bytesOf(id).length).toBe(32);
  });

  test("refuses to start with an empty store if a region's data is gone", () => {
    for (const role of ["primary", "replica"]) {
      rmSync(join(folder, "regions", "a", "redis", role), { recursive: true });
    }
    const { status, stderr } = holdfast("dev", "start", ...where());
    expect(status).toBe(2);
    expect(stderr).toMatch(/^[^\n]*the data of this Redis is gone; [^\n]*dev reset --yes[^\n]*\n$/);
  });

  test("starts with an empty store after a confirmed reset", () => {
    expect(holdfast("dev", "reset", "--dir", folder).status).toBe(2);
    expect(holdfast("dev", "reset", "--dir", folder, "--yes").status).toBe(0);
    expect(holdfast("dev", "start", "--detach", ...where()).status).toBe(0);
    expect(kmip("locate").split("\n").length).toBe(1);
  });
});

test("two clusters on one machine do not know of each other", async () => {
  const other = mkdtempSync(join(tmpdir(), "holdfast-other-"));
  try {
    expect(holdfast("dev", "start", "--detach", ...where()).status).toBe(0);
    const id = kmip("create");
    // The port of a Redis that is down is free, but another cluster must not take it.
    expect(holdfast("dev", "kill", "redis-b", "--stay", "--dir", folder).status).toBe(0);
    const second = where(other, [`${network}.5`, `${network}.6`], port + 10);
    expect(holdfast("dev", "start", "--detach", ...second).status).toBe(0);
    const asked = () => holdfast("kmip", "get", id, "--dev", other);
    await expect.poll(asked, { timeout: startMs }).toMatchObject({
      status: 5,
      stderr: expect.stringMatching(/ObjectNotFound/),
    });
    const regionStatus = () =>
      holdfast("region", "status", "--config", join(folder, "nodes", "b1.yaml"));
    expect(regionStatus().stderr).not.toContain("refuses the user name or password");
    const ports = [...(clusterFile()?.redis ?? []), ...(clusterFile(other)?.redis ?? [])];
    expect(new Set(ports.map(({ address }) => address)).size).toBe(12);
    expect(holdfast("dev", "heal", "--dir", folder).status).toBe(0);
    await expect.poll(() => regionStatus().stdout).toMatch(/lease +held: reads and changes/);
    expect(holdfast("dev", "stop", "--dir", other).status).toBe(0);
    expect(bytesOf(id).length).toBe(32);
  } finally {
    holdfast("dev", "stop", "--dir", other);
    rmSync(other, { recursive: true, force: true });
  }
});

/** `dev start --detach` without blocking this process, whose servers must answer meanwhile. */
async function startDetached(): Promise<{ status: number | null; stdout: string }> {
  const program = join(root, "node_modules", ".bin", "holdfast");
  const child = spawn(program, ["dev", "start", "--detach", ...where()], { cwd: root });
  let stdout = "";
  child.stdout.setEncoding("utf8").on("data", (chunk) => {
    stdout += chunk;
  });
  const [status] = await once(child, "exit");
  return { status, stdout };
}

function redisPid(role: string): number {
  return clusterFile()?.redis.find((one) => one.role === role)?.pid ?? 0;
}
