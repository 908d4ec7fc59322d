import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "node:tls";
import { freePort, Relay, until } from "@holdfast/testing";
import { selfSigned } from "@holdfast/testing/pki";
import { decode, type Item, ItemType } from "@holdfast/ttlv";
import { playVcenter } from "@holdfast/workbench";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { KmipSocket } from "../support/kmip-socket.ts";
import { type Region, startRegion, steadyStore } from "../support/region.ts";
import * as bytes from "./vcenter-bytes.ts";

let region: Region;

beforeAll(async () => {
  region = await startRegion({
    instances: ["vcenter", "named", "other"],
    users: { named: { vcenter: "opensesame" }, other: { other: "sesame" } },
    settings: { log: { level: "debug" }, store: steadyStore },
  });
});

afterAll(async () => {
  await region?.[Symbol.asyncDispose]();
});

/** One vCenter connection: each task has its own, and the nodes take turns. */
class Task implements AsyncDisposable {
  static #turn = 0;
  readonly #socket: KmipSocket;

  private constructor(socket: KmipSocket) {
    this.#socket = socket;
  }

  /** Connects to the next node or to the given one, and asks for the versions. */
  static async begin(instance = "vcenter", node = Task.#turn++): Promise<Task> {
    const task = new Task(await region.connect(instance, node));
    expect(await task.send(bytes.firstMessage)).toBe(bytes.answers.first);
    return task;
  }

  /** Sends hex and returns the answer in hex, without the time. */
  async send(message: string): Promise<string> {
    return bytes.masked(await this.exchange(message));
  }

  exchange(message: string): Promise<Uint8Array> {
    return this.#socket.exchange(Buffer.from(message, "hex"));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#socket[Symbol.asyncDispose]();
  }
}

/** Values of the items under a path of tags. */
function values(message: Uint8Array, ...path: readonly number[]): readonly unknown[] {
  const items = path.reduce<readonly Item[]>(
    (found, tag) =>
      found.flatMap((item) =>
        item.type === ItemType.Structure ? item.value.filter((inner) => inner.tag === tag) : [],
      ),
    [decode(message)],
  );
  return items.map(({ value }) => value);
}

const statuses = (message: Uint8Array) => values(message, 0x42000f, 0x42007f);
const reasons = (message: Uint8Array) => values(message, 0x42000f, 0x42007e);
const batchIds = (message: Uint8Array) =>
  values(message, 0x42000f, 0x420093).map((id) => Buffer.from(id as Uint8Array).toString("latin1"));
const idOf = (message: Uint8Array) => values(message, 0x42000f, 0x42007c, 0x420094)[0] as string;
const keyOf = (message: Uint8Array) =>
  Buffer.from(
    values(message, 0x42000f, 0x42007c, 0x42008f, 0x420040, 0x420045, 0x420043)[0] as Uint8Array,
  ).toString("hex");
const authenticationNotSuccessful = 3;

async function create(node?: number): Promise<string> {
  await using task = await Task.begin("vcenter", node);
  const made = await task.exchange(bytes.create(1));
  const id = idOf(made);
  expect(id).toMatch(/^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/);
  expect(bytes.masked(made)).toBe(bytes.answers.create(1, id));
  return id;
}

/** Asks for each attribute, none of which exists, and adds all of them in one batch. */
async function describeKey(id: string, names: readonly string[], add: (n: number) => string) {
  await using task = await Task.begin();
  for (const [at, name] of names.entries()) {
    const n = at + 1;
    expect(await task.send(bytes.getAttribute(n, id, name))).toBe(bytes.answers.absent(n, id));
  }
  const added = await task.exchange(add(names.length + 1));
  expect(statuses(added)).toEqual([0, 0, 0]);
  expect(batchIds(added)).toEqual(["QLKC\x04\0\0\0", "QLKC\x05\0\0\0", "QLKC\x06\0\0\0"]);
}

const product = ["x-Product_Version", "x-Vendor", "x-Product"] as const;
const machine = ["x-Identifier", "x-Component", "x-Name"] as const;

test("a) trust works: versions twice, then the server's name, with bare connections in between", async () => {
  for (const node of [0, 1]) await bareConnect(node);
  await using versions = await Task.begin();
  expect(await versions.send(bytes.discoverVersions(1))).toBe(bytes.answers.discoverVersions(1));
  await using query = await Task.begin();
  const answer = await query.exchange(bytes.queryServerInformation(1));
  expect(statuses(answer)).toEqual([0]);
  expect(values(answer, 0x42000f, 0x42007c, 0x42009d)).toEqual(["Holdfast"]);
  for (const node of [0, 1]) await bareConnect(node);
});

test("b) health works: a bare connection and two Discover Versions at each node", async () => {
  for (const node of [0, 1]) {
    await bareConnect(node);
    await using task = await Task.begin("vcenter", node);
    expect(await task.send(bytes.discoverVersions(1))).toBe(bytes.answers.discoverVersions(1));
  }
});

test("c) a new key of 7.0.3 over four connections works, and d) so does the key needed again", async () => {
  const id = await create();
  await describeKey(id, product, (n) => bytes.addProduct(n, id));
  await using third = await Task.begin();
  const got = await third.exchange(bytes.get(1, id));
  const key = keyOf(got);
  expect(bytes.masked(got)).toBe(bytes.answers.get(1, id, key));
  expect(await third.send(bytes.getAttribute(2, id, "State"))).toBe(bytes.answers.state(2, id, 1));
  expect(await third.send(bytes.activate(3, id))).toBe(bytes.answers.activate(3, id));
  await describeKey(id, machine, (n) => bytes.addMachine(n, id, randomUUID()));

  for (const node of [0, 1]) {
    await using again = await Task.begin("vcenter", node);
    expect(await again.send(bytes.get(1, id))).toBe(bytes.answers.get(1, id, key));
    expect(await again.send(bytes.getAttribute(2, id, "State"))).toBe(
      bytes.answers.state(2, id, 2),
    );
  }
});

test.each(["vcenter", "named"])(
  "c) the order of 8.0.1 works, with a credential in some requests (%s)",
  async (instance) => {
    await using task = await Task.begin(instance);
    await using other = await Task.begin(instance);
    const id = idOf(await task.exchange(bytes.create(1, true)));
    const got = await other.exchange(bytes.get(1, id, true));
    expect(bytes.masked(got)).toBe(bytes.answers.get(1, id, keyOf(got)));
    expect(await task.send(bytes.getAttribute(2, id, "State", true))).toBe(
      bytes.answers.state(2, id, 1),
    );
    for (const [at, name] of product.entries()) {
      const n = at + 2;
      expect(await other.send(bytes.getAttribute(n, id, name, true))).toBe(
        bytes.answers.absent(n, id),
      );
    }
    expect(await task.send(bytes.activate(3, id, true))).toBe(bytes.answers.activate(3, id));
    // The published example has no credential here. An instance with users needs it every time.
    const added = await task.exchange(bytes.addProduct(4, id));
    if (instance === "named") {
      expect(reasons(added)).toEqual([authenticationNotSuccessful]);
      return;
    }
    expect(statuses(added)).toEqual([0, 0, 0]);
    expect(statuses(await other.exchange(bytes.getAttribute(5, id, "x-Vendor")))).toEqual([0]);
    expect(statuses(await task.exchange(bytes.addMachine(7, id, randomUUID())))).toEqual([0, 0, 0]);
  },
);

test("a key and its attributes exist at the other node 0.04 s after its Create (trap 21)", async () => {
  for (let turn = 0; turn < 10; turn++) {
    const id = await create(turn);
    await sleep(40);
    await using task = await Task.begin("vcenter", turn + 1);
    expect(await task.send(bytes.getAttribute(1, id, "x-Vendor"))).toBe(
      bytes.answers.absent(1, id),
    );
    const got = await task.exchange(bytes.get(2, id));
    expect(bytes.masked(got)).toBe(bytes.answers.get(2, id, keyOf(got)));
  }
});

test("two hosts that activate one key at two nodes at the same time both succeed", async () => {
  for (let turn = 0; turn < 10; turn++) {
    const id = await create();
    await using one = await Task.begin("vcenter", 0);
    await using two = await Task.begin("vcenter", 1);
    const race = [one, two].map((task) => task.send(bytes.activate(1, id)));
    expect(await Promise.all(race)).toEqual(Array(2).fill(bytes.answers.activate(1, id)));
    expect(await two.send(bytes.getAttribute(2, id, "State"))).toBe(bytes.answers.state(2, id, 2));
  }
});

test("two vCenters of one instance make keys in parallel and see each other's", async () => {
  const ids = await Promise.all(Array.from({ length: 20 }, (_, at) => create(at)));
  expect(new Set(ids).size).toBe(20);
  await using task = await Task.begin();
  for (const [at, id] of ids.entries()) {
    expect(statuses(await task.exchange(bytes.get(at + 1, id)))).toEqual([0]);
  }
});

describe("the credential", () => {
  test("of another instance, with a wrong password or missing is refused; the right one is accepted", async () => {
    const id = idOf(await (await Task.begin("named")).exchange(bytes.create(1, true)));
    for (const node of [0, 1]) {
      await using right = await Task.begin("named", node);
      expect(statuses(await right.exchange(bytes.get(1, id, true)))).toEqual([0]);
      expect(reasons(await right.exchange(bytes.get(2, id)))).toEqual([
        authenticationNotSuccessful,
      ]);
      await using foreign = await Task.begin("other", node);
      expect(reasons(await foreign.exchange(bytes.get(1, id, true)))).toEqual([
        authenticationNotSuccessful,
      ]);
      const wrong = bytes.get(3, id, true).replace("6f70656e", "6f70656f");
      expect(reasons(await right.exchange(wrong))).toEqual([authenticationNotSuccessful]);
      expect(statuses(await right.exchange(bytes.get(4, id, true)))).toEqual([0]);
    }
  });
});

describe("connections without a message", () => {
  test("do not ban a client and log no errors: 20 bare ones and 20 failed handshakes in a burst (traps 13, 14)", async () => {
    const stranger = await selfSigned({
      commonName: "not trusted yet",
      notBeforeMs: Date.now() - 3_600_000,
      days: 2,
    });
    const burst = Array.from({ length: 20 }, async (_, at) => {
      await bareConnect(at);
      await unknownClient(at, stranger.certificate, stranger.key);
      await brokenHandshake(at);
    });
    await Promise.all(burst);
    for (const node of [0, 1]) {
      await using task = await Task.begin("vcenter", node);
      expect(await task.send(bytes.discoverVersions(1))).toBe(bytes.answers.discoverVersions(1));
    }
    for (const node of region.nodes) {
      // The log is written after the answers.
      for (const message of ["handshake failed", "client refused"]) {
        await until(message, () => node.logText().includes(`"msg":"${message}"`));
      }
      const lines = node
        .logText()
        .split("\n")
        .slice(0, -1)
        .map((line) => JSON.parse(line) as { readonly level: string });
      expect(lines.filter(({ level }) => level === "error" || level === "fatal")).toEqual([]);
    }
  });
});

/** Opens a TCP and TLS connection and ends it. */
async function bareConnect(node: number): Promise<void> {
  await using _ = await region.connect("vcenter", node);
}

/** A client that the server does not know yet: its handshake may succeed, but it gets no answer. */
async function unknownClient(node: number, certificate: string, key: string): Promise<void> {
  const target = { ...region.target("vcenter", node), certificate, key };
  const answered = KmipSocket.open(target).then(async (socket) => {
    await using _ = socket;
    return socket.exchange(Buffer.from(bytes.firstMessage, "hex"));
  });
  await expect(answered).rejects.toThrow();
}

/** A handshake that cannot succeed: no common cipher suite. */
async function brokenHandshake(node: number): Promise<void> {
  const { host, port, ca } = region.target("vcenter", node);
  const socket = connect({ host, port, ca, maxVersion: "TLSv1.2", ciphers: "AES256-SHA" });
  socket.on("error", () => undefined);
  await new Promise((resolve) => socket.once("close", resolve));
}

describe("the demonstration's sequence", () => {
  test("continues at the next node if one refuses or loses connections, and reports it", async () => {
    const { ca, certificate, key } = region.target("vcenter");
    const [one, two] = [region.node(0), region.node(1)];
    await using unsteady = await Relay.open(one.kmip);
    // The server's data passes; of five pieces of client data, the fourth cuts the connection.
    let flights = 0;
    unsteady.watch = (_, way) => {
      if (way === "back") return "pass";
      flights += 1;
      return flights % 5 === 4 ? "cut" : "pass";
    };
    const steps: string[] = [];
    const made = await playVcenter({
      nodes: [
        { name: "gone", region: "a", endpoint: `127.0.0.1:${await freePort()}` },
        { name: "unsteady", region: "a", endpoint: unsteady.address },
        { name: "steady", region: "a", endpoint: `${two.host}:${two.kmip}` },
      ],
      tls: { ca, certificate, key },
      report: ({ step, node, ok, next }) => {
        steps.push(ok ? `${step}: done` : `${step}: ${node} failed, next ${next}`);
      },
      answered: () => undefined,
    });
    expect(made.sha256).toMatch(/^[0-9a-f]{64}$/);
    expect(steps).toContain("trust: TLS only: gone failed, next unsteady");
    expect(steps.filter((step) => step.includes("unsteady failed, next steady"))).not.toEqual([]);
    expect(steps.at(-1)).toBe("key needed again: done");
    expect(steps.filter((step) => step.endsWith("next undefined"))).toEqual([]);
  });

  test("fails if the server answers anything but a key", async () => {
    const { ca } = region.target("vcenter");
    const { certificate, key } = region.target("other");
    const node = region.node(0);
    const failed: string[] = [];
    const work = playVcenter({
      nodes: [{ name: "a1", region: "a", endpoint: `${node.host}:${node.kmip}` }],
      tls: { ca, certificate, key },
      earlier: { uniqueIdentifier: randomUUID(), sha256: "" },
      report: ({ step, ok, next }) => {
        if (!ok && next === undefined) failed.push(step);
      },
      answered: () => undefined,
    });
    await expect(work).rejects.toThrow(/at a1: /);
    expect(failed.length).toBe(1);
  });
});
