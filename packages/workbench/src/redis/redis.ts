import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, readFileSync, renameSync, statSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { checkout, OperatorError } from "@holdfast/server/base";
import { makePrivate, type RegionFolder, readOrMake, writePrivate } from "../base/folder.ts";
import { Child } from "../processes/child.ts";

export type RedisRole = "primary" | "replica" | "lock";
export const redisRoles: readonly RedisRole[] = ["primary", "replica", "lock"];

/** The name of a region's Redis in messages and on the command line. */
export function partName(role: RedisRole, region: string): string {
  return `${role === "primary" ? "redis" : role}-${region}`;
}

/** Redis listens on this machine only. */
export const redisHost = "127.0.0.1";

/** Users of deploy/redis/users.acl. */
export const nodeUser = "holdfast";
const replicationUser = "replica";

/** Ports by role: the same at every start, since the store remembers its replicas by address. */
export type RedisPorts = Readonly<Record<RedisRole, number>>;

const startTimeoutMs = 120_000;
const pollMs = 10;

/** File with the password of the nodes' user. */
export function nodePasswordFile(folder: RegionFolder): string {
  return join(folder.secrets, "redis-password");
}

/** Creates the configuration and the data folder of each Redis; call this before the first one starts. */
export function prepareRedis(folder: RegionFolder, ports: RedisPorts): void {
  const node = passwordOf(nodePasswordFile(folder));
  const replication = passwordOf(join(folder.secrets, "redis-replication-password"));
  const shipped = readFileSync(join(checkout, "deploy", "redis", "users.acl"), "utf8");
  const users = join(folder.secrets, "users.acl");
  const passwords = new Map([
    [nodeUser, node],
    [replicationUser, replication],
  ]);
  writePrivate(users, usersFrom(shipped, passwords));
  for (const role of redisRoles) {
    makePrivate(dataFolder(folder, role));
    writePrivate(configFile(folder, role), config(folder, ports, role, { users, replication }));
  }
}

/** The Redis processes of one region: program, folder and ports. */
export interface RegionRedis {
  readonly program: string;
  readonly region: string;
  readonly folder: RegionFolder;
  readonly ports: RedisPorts;
}

/** Starts one Redis and waits until it knows its users and has read its data. */
export async function startRedis(redis: RegionRedis, role: RedisRole): Promise<Child> {
  const { program, region, folder, ports } = redis;
  const name = partName(role, region);
  const child = await Child.start({
    name,
    command: program,
    args: [configFile(folder, role)],
    log: join(folder.log, `${name}.log`),
  });
  try {
    await untilInfo(child, folder, ports[role], (info) => info.get("loading") === "0");
    return child;
  } catch (error) {
    await child.stop(0);
    throw error;
  }
}

/** Waits until the replica has all data of the primary on its own disk: before that no barrier can be full. */
export async function untilInStep(replica: Child, redis: RegionRedis): Promise<void> {
  await untilInfo(
    replica,
    redis.folder,
    redis.ports.replica,
    (info) =>
      info.get("master_link_status") === "up" &&
      info.get("aof_rewrite_in_progress") === "0" &&
      info.get("aof_rewrite_scheduled") === "0",
  );
}

type Info = ReadonlyMap<string, string>;

async function untilInfo(
  child: Child,
  folder: RegionFolder,
  port: number,
  done: (info: Info) => boolean,
): Promise<void> {
  const password = passwordOf(nodePasswordFile(folder));
  const deadline = performance.now() + startTimeoutMs;
  for (;;) {
    const info = await readInfo(port, password);
    if (info !== undefined && done(info)) return;
    if (!child.alive) {
      const words = child.lastWords() ?? "it printed nothing";
      throw new OperatorError(`${child.name} ended at its start: ${words} (${child.log})`);
    }
    if (performance.now() > deadline) {
      throw new OperatorError(
        `${child.name} was not ready within ${startTimeoutMs} ms: its log says why (${child.log})`,
      );
    }
    await sleep(pollMs);
  }
}

/** The mark of a new store alone takes more bytes than this; a Redis that was always empty has fewer. */
const storeBytesMin = 1024;

/**
 * Whether a Redis has its data: the files that its append-only manifest names exist, and contain more than an empty
 * store. A primary without its data would start empty and make its replica empty too.
 */
export function hasData(folder: RegionFolder, role: RedisRole): boolean {
  const files = join(dataFolder(folder, role), "appendonlydir");
  const manifest = join(files, "appendonly.aof.manifest");
  if (!existsSync(manifest)) return false;
  const named = [...readFileSync(manifest, "utf8").matchAll(/^file "?([^\s"]+)/gm)];
  const sizes = named.map(([, name = ""]) =>
    statSync(join(files, name), { throwIfNoEntry: false }),
  );
  if (sizes.includes(undefined)) return false;
  return sizes.reduce((sum, file) => sum + (file?.size ?? 0), 0) >= storeBytesMin;
}

/** Gives the replica's data to the primary, which has lost its own; the replica then copies it. Both must be down. */
export function promoteReplica(folder: RegionFolder): void {
  const primary = dataFolder(folder, "primary");
  if (existsSync(primary)) renameSync(primary, `${primary}-incomplete-${Date.now()}`);
  renameSync(dataFolder(folder, "replica"), primary);
}

function dataFolder(folder: RegionFolder, role: RedisRole): string {
  return join(folder.redis, role);
}

function configFile(folder: RegionFolder, role: RedisRole): string {
  return join(folder.redis, `${role}.conf`);
}

function passwordOf(file: string): string {
  return readOrMake(file, () => Buffer.from(`${randomBytes(24).toString("hex")}\n`))
    .toString("utf8")
    .trim();
}

/** The shipped settings, with those of this machine. */
function config(
  folder: RegionFolder,
  ports: RedisPorts,
  role: RedisRole,
  secrets: { readonly users: string; readonly replication: string },
): string {
  const lines = [
    ["include", join(checkout, "deploy", "redis", "redis.conf")],
    ["bind", redisHost],
    ["port", String(ports[role])],
    ["dir", dataFolder(folder, role)],
    ["aclfile", secrets.users],
    // A replica of a small store need not wait for others to join its first copy.
    ["repl-diskless-sync-delay", "0"],
    ["masteruser", replicationUser],
    ["masterauth", secrets.replication],
    // A lock that is lost with its master costs only some repeated work.
    ...(role === "lock" ? [["appendonly", "no"]] : []),
  ];
  const text = lines.map(([name, value]) => `${name} "${value}"\n`).join("");
  return role === "replica" ? `${text}replicaof ${redisHost} ${ports.primary}\n` : text;
}

/** The shipped users that are needed here, with this cluster's passwords in place of the placeholders. */
function usersFrom(shipped: string, passwords: ReadonlyMap<string, string>): string {
  return shipped
    .split("\n")
    .flatMap((line) => {
      const [, name = "", state] = line.split(" ");
      const password = passwords.get(name);
      if (password !== undefined) return [line.replace(/ #\w+/, ` >${password}`)];
      return state === "off" ? [line] : [];
    })
    .join("\n");
}

/** The INFO of Redis for the nodes' user; undefined while it does not answer that user. */
async function readInfo(port: number, password: string): Promise<Info | undefined> {
  const socket = connect({ host: redisHost, port });
  try {
    await once(socket, "connect");
    socket.write(`AUTH ${nodeUser} ${password}\r\nINFO replication persistence\r\n`);
    let text = "";
    for await (const chunk of socket.setEncoding("utf8").setTimeout(1000, () => socket.destroy())) {
      text += chunk;
      const answer = /^\+OK\r\n\$(\d+)\r\n/.exec(text);
      const whole = answer !== null && text.length >= answer[0].length + Number(answer[1]);
      if (whole)
        return new Map(
          [...text.matchAll(/^(\w+):(.*)\r$/gm)].map(([, k, v]) => [k ?? "", v ?? ""]),
        );
      if (text.startsWith("-")) return undefined;
    }
    return undefined;
  } catch {
    return undefined;
  } finally {
    socket.destroy();
  }
}
