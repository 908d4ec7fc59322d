import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { StoreUnavailable } from "@holdfast/engine";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { RedisServer } from "../support/redis.ts";
import {
  create,
  installed,
  openNewStore,
  openStore,
  patientOptions,
} from "../support/redis-store.ts";

const shipped = join(import.meta.dirname, "../../deploy/redis/users.acl");
const user = { username: "holdfast", password: "pw" };
/** A user that may ask whether Redis is up; the node's user may not. */
const client = { username: "tester", password: "test" };
let folder = "";
let aclfile = "";

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "holdfast-users-"));
  aclfile = join(folder, "users.acl");
  const hash = createHash("sha256").update(user.password).digest("hex");
  const users = (await readFile(shipped, "utf8")).replaceAll("0".repeat(64), hash);
  await writeFile(aclfile, `${users}user tester on >test ~* &* +@all\n`);
});

afterAll(async () => {
  await rm(folder, { recursive: true });
});

describe("the shipped users as Redis's own ACL file", () => {
  // Redis replays its append-only file as the default user, and checks its rights per transaction.
  test("let a restarted Redis keep every record", async () => {
    await using redis = await RedisServer.start({ config: { aclfile }, client });
    const options = { address: redis.address, ...user, ...patientOptions };
    let instance = "";
    let id = "";
    {
      await using opened = await openNewStore(options);
      instance = await installed(opened.store);
      id = (await create(opened.store, instance)).uniqueIdentifier;
    }
    await redis.restart();
    await using again = await openStore(options);
    const [stored] = await again.store.read(instance, [id]);
    expect(stored?.object.uniqueIdentifier).toBe(id);
  });

  test("keep the replication password from nodes; a user that can read it is detected", async () => {
    const config = { aclfile, masterauth: "s3cret" };
    await using redis = await RedisServer.start({ config, client });
    await using opened = await openNewStore({
      ...{ address: redis.address, ...user },
      ...patientOptions,
    });
    expect(await opened.store.showsReplicationPassword()).toBe(false);
    await using wide = await openStore({
      ...{ address: redis.address, ...client },
      ...patientOptions,
    });
    expect(await wide.store.showsReplicationPassword()).toBe(true);
    await redis.command("config", "set", "masterauth", "");
    expect(await wide.store.showsReplicationPassword()).toBe(false);
  });

  test("let the operator do what the runbook says, but read neither keys nor passwords", async () => {
    await using redis = await RedisServer.start({ config: { aclfile }, client });
    const may = async (...command: readonly string[]) =>
      (await redis.command("acl", "dryrun", "operator", ...command)) === "OK";
    for (const command of [
      "config set maxmemory 2gb",
      "config set replica-priority 100",
      "config rewrite",
      "bgrewriteaof",
      "info memory",
      "acl log",
      "acl load",
      "client list",
    ]) {
      expect(await may(...command.split(" ")), command).toBe(true);
    }
    for (const command of [
      "config get masterauth",
      "get {p00}:o:1",
      "acl list",
      "acl setuser operator allcommands",
      "replicaof no one",
      "flushall",
      "shutdown",
      "debug sleep 0",
    ]) {
      expect(await may(...command.split(" ")), command).toBe(false);
    }
  });

  test("can have two passwords while one is replaced, and open stores stay open", async () => {
    const changing = join(folder, "changing.acl");
    const before = await readFile(aclfile, "utf8");
    await writeFile(changing, before);
    await using redis = await RedisServer.start({ config: { aclfile: changing }, client });
    const options = { address: redis.address, ...user, ...patientOptions };
    await using opened = await openNewStore(options);
    const hash = createHash("sha256").update("next").digest("hex");
    await writeFile(changing, before.replace(/^(user holdfast on )/m, `$1#${hash} `));
    expect(await redis.command("acl", "load")).toBe("OK");
    await create(opened.store, await installed(opened.store));
    await using _next = await openStore({ ...options, password: "next" });
    await using _before = await openStore(options);
  });

  test("let no client in without a password, whatever rights the default user has", async () => {
    await using redis = await RedisServer.start({ config: { aclfile }, client });
    for (const nobody of [{}, { username: "default", password: "" }, { password: "pw" }]) {
      await expect(openStore({ address: redis.address, ...nobody })).rejects.toThrow();
    }
  });
});

test("a Redis that has no AUTH, and quotes its arguments, puts the password into no error", async () => {
  await using redis = await RedisServer.start({ lines: ['rename-command AUTH ""'] });
  const error = await openStore({
    ...{ address: redis.address, ...user, password: "s3cret" },
    ...patientOptions,
  }).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(StoreUnavailable);
  expect(inspect(error)).toContain("unknown command 'auth'");
  expect(inspect(error)).not.toContain("s3cret");
});
