import { StoreUnavailable } from "@holdfast/engine";
import { describe, expect, test } from "vitest";
import { ReplicaSet } from "../session/replica-set.ts";
import { readHearing } from "../session/sentinels.ts";
import { wrongInfo } from "../session/settings-check.ts";
import { formatAddress, parseAddress } from "./address.ts";
import { storeFailure } from "./failure.ts";
import { storeSettings } from "./options.ts";
import { readPartitionHead, readRecordHeader } from "./record-header.ts";
import { readPairs, readReply, readRole } from "./replies.ts";
import { readServerInfo } from "./server-info.ts";

describe("addresses", () => {
  test.each([
    ["127.0.0.1:6379", "127.0.0.1", 6379],
    ["redis.example:1", "redis.example", 1],
    ["[::1]:6379", "::1", 6379],
  ])("%s is parsed, and formatted as the same text", (text, host, port) => {
    expect(parseAddress(text)).toEqual({ host, port });
    expect(formatAddress(host, port)).toBe(text);
  });

  test.each(["", "host", "host:", ":1", "host:0", "host:65536", "::1:1", "host:1x", "a:b:1"])(
    "%j is not an address",
    (text) => {
      expect(() => parseAddress(text)).toThrow("host:port");
    },
  );

  test("an IPv4 address in IPv6 form is formatted as IPv4", () => {
    expect(formatAddress("::ffff:10.0.0.1", 1)).toBe("10.0.0.1:1");
  });
});

test("the default of markerMs is a quarter of the lease", () => {
  const never = {} as never;
  const options = {
    ...{ address: "a:1", region: "a", root: never, clock: never },
    observe: () => undefined,
  };
  expect(storeSettings(options)).toMatchObject({ storeLeaseMs: 1_000, markerMs: 250, replicas: 0 });
  expect(storeSettings({ ...options, storeLeaseMs: 400 })).toMatchObject({ markerMs: 100 });
});

describe("storeFailure", () => {
  const reply = (message: string) => Object.assign(new Error(message), { name: "ReplyError" });
  test.each([
    ["OOM command not allowed when used memory > 'maxmemory'.", "full", "maxmemory"],
    ["OOM allow-oom flag is not set on the script, can not run it", "full", "maxmemory"],
    ["MISCONF Errors writing to the AOF file: No space left", "full", "disk"],
    ["READONLY You can't write against a read only replica.", "noLease", "replica"],
    ["LOADING Redis is loading the dataset in memory", "noLease", "loading"],
    ["NOREPLICAS Not enough good replicas to write.", "barrierShort", "replicas"],
    ["WRONGTYPE Operation against a key script: x, on @user_script:3.", "badReply", "type"],
    ["NOPERM User u has no permissions to run the 'get' command", "unsafe", "users.acl"],
    ["ERR ACL failure in script: User u has no permissions", "unsafe", "users.acl"],
    ["NOAUTH Authentication required.", "unsafe", "password"],
    ["WRONGPASS invalid username-password pair", "unsafe", "password"],
    ["ERR user_script:9: counter change is not a number script: x", "badReply", "failed"],
  ])("translates the error of Redis: %s", (message, failure, said) => {
    const error = storeFailure(reply(message), "a:1");
    expect(error).toBeInstanceOf(StoreUnavailable);
    expect(error.failure).toBe(failure);
    expect(error.message).toContain("a:1");
    expect(error.message).toContain(said);
  });

  test("translates errors of ioredis and the network", () => {
    expect(storeFailure(new Error("Command timed out"), "a:1").failure).toBe("timeout");
    expect(storeFailure(new Error("connect ECONNREFUSED"), "a:1").failure).toBe("noLease");
    expect(storeFailure("odd", "a:1").failure).toBe("noLease");
    const own = new StoreUnavailable("full", "x");
    expect(storeFailure(own, "a:1")).toBe(own);
  });

  test.each([
    ["connect ECONNREFUSED 127.0.0.1:1", "nothing listens there"],
    ["getaddrinfo ENOTFOUND redis", "its name cannot be resolved"],
    ["certificate has expired", "its certificate has expired"],
    ["certificate is not yet valid", "are both clocks right?"],
    [
      "All sentinels are unreachable and retry is disabled. Last error: self-signed certificate",
      "does not come from an authority of store.tls.ca",
    ],
  ])("says why there is no connection: %s", (message, said) => {
    expect(storeFailure(new Error(message), "a:1").message).toContain(
      `no connection to Redis a:1: `,
    );
    expect(storeFailure(new Error(message), "a:1").message).toContain(said);
  });

  test("does not keep the arguments of a command", () => {
    const secret = Object.assign(reply("WRONGPASS x"), { command: { args: ["user", "s3cret"] } });
    const error = storeFailure(secret, "a:1");
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain("s3cret");
    expect(error.cause).not.toHaveProperty("command");
    const quoted = "ERR unknown command 'auth', with args beginning with: 'user' 's3cret' ";
    expect(storeFailure(reply(quoted), "a:1").cause).toEqual(
      new Error("ERR unknown command 'auth'"),
    );
  });
});

describe("the required replicas", () => {
  test("include every one ever seen, until the store forgets it", () => {
    const replicas = new ReplicaSet("p:1", 1);
    expect(replicas.required).toBe(1);
    expect(replicas.see(["a:1", "b:1", "p:1"])).toEqual(["a:1", "b:1"]);
    expect(replicas.see(["a:1"])).toEqual([]);
    expect(replicas.required).toBe(2);
    expect(replicas.fresh).toEqual(["a:1", "b:1"]);
    replicas.load(["a:1"], "1");
    expect(replicas.required).toBe(2);
    expect(replicas.fresh).toEqual(["b:1"]);
    replicas.load(["a:1", "b:1"], "2");
    replicas.load(["b:1"], "3");
    expect(replicas.required).toBe(1);
    expect(replicas.version).toBe("3");
  });

  test("do not include the promoted replica itself, and are never fewer than the setting", () => {
    const replicas = new ReplicaSet("a:1", 0);
    replicas.load(["a:1", "b:1"], "1");
    expect(replicas.required).toBe(1);
    expect(new ReplicaSet("a:1", 2).required).toBe(2);
  });
});

describe("reading an answer", () => {
  test("of ROLE leaves out programs that copy the data but are not a Redis", () => {
    const replicas = [
      ["10.0.0.1", "6379", "5"],
      ["10.0.0.2", "0", "5"],
    ].map((row) => row.map((text) => Buffer.from(text)));
    expect(readRole([Buffer.from("master"), 5, replicas])).toEqual({
      primary: true,
      replicas: ["10.0.0.1:6379"],
    });
    expect(readRole([Buffer.from("slave"), "h", 1])).toEqual({ primary: false, replicas: [] });
    expect(readRole(null)).toEqual({ primary: false, replicas: [] });
  });

  test("of a script or a list refuses anything else", () => {
    expect(readReply([Buffer.from("conflict"), 7, 1])).toEqual({
      result: "conflict",
      number: 7,
      rest: [1],
    });
    expect(() => readReply("x")).toThrow("did not answer a list");
    expect([...readPairs([Buffer.from("a"), Buffer.from("1")])]).toEqual([["a", "1"]]);
    expect([...readPairs({ a: Buffer.from("1") })]).toEqual([["a", "1"]]);
    expect(() => readPairs(null)).toThrow("did not answer a list");
  });

  test("of a Sentinel counts the time of its last ping from when it was asked", () => {
    const asked = { monotonicMs: 1_000, wallMs: 2_000 };
    const said = ["ip", "10.0.0.1", "port", "6379", "last-ok-ping-reply", "300"];
    expect(readHearing([...said, "num-other-sentinels", "2"], asked)).toEqual({
      address: "10.0.0.1:6379",
      at: { monotonicMs: 700, wallMs: 1_700 },
      sentinels: 3,
    });
    expect(readHearing(["ip", "10.0.0.1"], asked)).toBeUndefined();
    expect(readHearing(null, asked)).toBeUndefined();
  });
});

describe("headers", () => {
  test("are read from a record and from a partition", () => {
    const value = Buffer.from(Array.from({ length: 80 }, (_, at) => at));
    expect(readRecordHeader(value)).toEqual({
      tag: "000102030405060708090a0b0c0d0e0f",
      promised: 0x202122232425,
      created: 0x262728292a2b,
      changed: 0x2c2d2e2f3031,
      reserved: false,
      version: 0x3233343536,
      facts: 0x37,
      keyNumber: 0x3839,
    });
    value[44] = 0xac;
    expect(readRecordHeader(value)).toMatchObject({ changed: 0x2c2d2e2f3031, reserved: true });
    expect(readRecordHeader(value.subarray(0, 73))).toBeUndefined();
    value.fill(1);
    expect(readPartitionHead(value.subarray(0, 24))?.covered).toBe(0x010101010101);
    for (const none of [null, undefined, value]) expect(readPartitionHead(none)).toBeUndefined();
  });
});

describe("reading INFO", () => {
  const info = (version: string, more = "") =>
    readServerInfo(
      `# Server\r\nredis_version:${version}\r\nrun_id:abc\r\nrole:master\r\naof_enabled:1\r\n${more}`,
    );
  test.each([
    ["7.2.0", "", undefined],
    ["8.0.2", "cluster_enabled:0\r\nmaxmemory_policy:noeviction\r\n", undefined],
    ["7.0.15", "", "version 7.0.15"],
    ["6.2.0", "", "version 6.2.0"],
    ["", "", "version"],
    ["8.0.2", "cluster_enabled:1\r\n", "Cluster"],
    ["8.0.2", "aof_enabled:0\r\n", "appendonly"],
    ["8.0.2", "maxmemory_policy:allkeys-lru\r\n", "maxmemory-policy noeviction"],
  ])("finds what is wrong: version %s %j", (version, more, wrong) => {
    const found = wrongInfo(info(version, more));
    if (wrong === undefined) expect(found).toBeUndefined();
    else expect(found).toContain(wrong);
  });
});
