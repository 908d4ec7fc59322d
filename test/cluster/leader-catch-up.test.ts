import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { type ManagedObject, partitionOf, StoreUnavailable, type Timers } from "@holdfast/engine";
import { sampleObject } from "@holdfast/engine/testing";
import type { RedisStore } from "@holdfast/redis";
import {
  catchUp,
  type DutyContext,
  digestCheck,
  type Peer,
  PeerReader,
  Resync,
} from "@holdfast/regions";
import { until } from "@holdfast/testing";
import { describe, expect, test } from "vitest";
import { partitionKeys, sysKeys } from "../../packages/redis/src/connection/keys.ts";
import { valueProofLength } from "../../packages/redis/src/storage-keys/value-proof.ts";
import { positionOf } from "../../packages/regions/src/store/peer-service.ts";
import { RedisServer } from "../support/redis.ts";
import {
  initStore,
  type OpenStore,
  openNewStore,
  patientOptions,
  systemClock,
} from "../support/redis-store.ts";

const timers: Timers = {
  ...systemClock,
  sleep: (ms, signal) => sleep(ms, undefined, signal && { signal }),
};

/** The stores of two regions, each in its own Redis, and the leader of `a`, which reads `b`. */
class Regions implements AsyncDisposable {
  readonly instance = randomUUID();
  readonly calls = new Map<string, number>();
  readonly #stack = new AsyncDisposableStack();
  readonly #servers: Record<"a" | "b", RedisServer>;
  readonly #opened: Record<"a" | "b", OpenStore>;
  #reader: PeerReader;
  #context: DutyContext | undefined;

  private constructor(
    servers: Record<"a" | "b", RedisServer>,
    opened: Record<"a" | "b", OpenStore>,
  ) {
    this.#servers = servers;
    this.#opened = opened;
    for (const each of [...Object.values(opened), ...Object.values(servers)]) {
      this.#stack.defer(() => each[Symbol.asyncDispose]());
    }
    this.#reader = this.#newReader();
  }

  static async start(): Promise<Regions> {
    const servers = { a: await RedisServer.start(), b: await RedisServer.start() };
    // The duties are tested here, not the lease: on a busy machine it must not end in the middle of one.
    const patient = { ...patientOptions, leaseWaitMs: 120_000 };
    const opened = {
      a: await openNewStore({ ...patient, address: servers.a.address, allowOtherStore: true }),
      b: await openNewStore({ ...patient, address: servers.b.address }),
    };
    const regions = new Regions(servers, opened);
    await regions.a.install(regions.instance);
    await regions.b.install(regions.instance);
    return regions;
  }

  get a(): RedisStore {
    return this.#opened.a.store;
  }

  get b(): RedisStore {
    return this.#opened.b.store;
  }

  server(region: "a" | "b"): RedisServer {
    return this.#servers[region];
  }

  /** Runs one of the leader's duties. */
  async run(duty: "resync" | "catch-up" | "digests") {
    this.#context ??= await this.#newContext();
    const readers = [this.#reader];
    if (duty === "resync") return new Resync(this.a, readers, timers).run(this.#context);
    if (duty === "catch-up") return catchUp(this.a, readers).run(this.#context);
    return digestCheck(this.a, readers).run(this.#context);
  }

  /** From now on another leader runs the duties, and knows only what is in the store. */
  async nextLeader(): Promise<void> {
    this.#reader = this.#newReader();
    this.#context = await this.#newContext();
  }

  async #newContext(): Promise<DutyContext> {
    const { signal } = new AbortController();
    const epoch = await this.a.newEpoch();
    return { epoch, signal, active: () => this.a.state() === "full" };
  }

  #newReader(): PeerReader {
    // The other region answers a leader's questions from its own store.
    const peer = new Proxy(this.b, {
      get: (store, name) => {
        if (name === "region") return "b";
        if (name === "state") return () => "up";
        const position = () => positionOf(store);
        const value: unknown = name === "position" ? position : Reflect.get(store, name);
        if (typeof value !== "function") return value;
        const method = String(name);
        return (...args: unknown[]) => {
          this.calls.set(method, (this.calls.get(method) ?? 0) + 1);
          return Reflect.apply(value, store, args);
        };
      },
    }) as unknown as Peer;
    return new PeerReader({ peer, own: this.a, timers, observe: () => undefined });
  }

  async put(store: RedisStore, count: number): Promise<readonly ManagedObject[]> {
    const objects = Array.from({ length: count }, () => sampleObject(this.instance, randomUUID()));
    for (let at = 0; at < count; at += 100) {
      const changes = objects
        .slice(at, at + 100)
        .map((after) => ({ kind: "create", after }) as const);
      const outcome = await store.commit(this.instance, changes, []);
      expect(outcome.kind).toBe("committed");
    }
    return objects;
  }

  /** Expects that both stores have the same records, byte for byte. */
  async expectEqual(): Promise<void> {
    const partition = partitionOf(this.instance);
    const [a, b] = await Promise.all([this.a.digests(partition), this.b.digests(partition)]);
    expect(Buffer.from(a)).toEqual(Buffer.from(b));
  }

  async usable(store: RedisStore): Promise<void> {
    await until("the store's lease", async () => store.state() === "full");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

describe("a leader that reads another region's store", () => {
  test("fills an empty store by catch-up, continues from the cursor, and asks for nothing twice", async () => {
    await using regions = await Regions.start();
    await regions.put(regions.b, 5_000);
    await regions.a.requestResync();
    expect(await regions.run("resync")).toEqual({ done: 5_000, left: 0 });
    expect(await regions.a.levels()).toMatchObject({ asked: 1, reached: 1 });
    await regions.expectEqual();
    await regions.put(regions.b, 10);
    await regions.nextLeader();
    regions.calls.clear();
    expect(await regions.run("catch-up")).toEqual({ done: 10, left: 0 });
    expect(regions.calls.get("changes")).toBe(1);
    expect(regions.calls.get("digests")).toBeUndefined();
    await regions.expectEqual();
  });

  test("compares digests once another process numbers the changes, and fetches only what differs", async () => {
    await using regions = await Regions.start();
    await regions.put(regions.b, 1_000);
    await regions.run("catch-up");
    await regions.server("b").kill();
    await regions.server("b").restart();
    await regions.usable(regions.b);
    await regions.put(regions.b, 7);
    regions.calls.clear();
    expect(await regions.run("catch-up")).toEqual({ done: 7, left: 0 });
    expect(regions.calls.get("digests")).toBe(1);
    await regions.expectEqual();
    regions.calls.clear();
    await regions.put(regions.b, 1);
    expect(await regions.run("catch-up")).toEqual({ done: 1, left: 0 });
    expect(regions.calls.get("digests")).toBeUndefined();
  });

  test("reads everything again after its own store lost its data", async () => {
    await using regions = await Regions.start();
    await regions.put(regions.b, 500);
    await regions.run("catch-up");
    await regions.server("a").command("flushall");
    await until("the loss", async () => regions.a.state() === "none");
    await initStore({ address: regions.server("a").address });
    await regions.usable(regions.a);
    await regions.a.install(regions.instance);
    await regions.nextLeader();
    await regions.a.requestResync();
    expect((await regions.run("resync")).left).toBe(0);
    expect((await regions.a.levels()).reached).toBe(1);
    await regions.expectEqual();
  });

  test("finds by digests what the cursor skips, and does not write reserved objects", async () => {
    await using regions = await Regions.start();
    const [first] = await regions.put(regions.b, 50);
    await regions.run("catch-up");
    await regions.nextLeader();
    const partition = partitionOf(regions.instance);
    const cursor = await regions.a.cursor(partition, "b");
    await regions.put(regions.b, 5);
    const { replicationId, numbers } = await regions.b.position();
    await regions.a.setCursor(
      partition,
      "b",
      { replicationId, number: numbers[partition] ?? 0 },
      2,
    );
    expect(cursor?.number).toBe((numbers[partition] ?? 0) - 5);
    expect(await regions.run("catch-up")).toEqual({ done: 0, left: 0 });
    expect(await regions.run("digests")).toEqual({ done: 5, left: 0 });
    await regions.expectEqual();

    const id = first?.uniqueIdentifier ?? "";
    const [before] = await regions.b.read(regions.instance, [id]);
    if (before === undefined) throw new Error("no record");
    const after = { ...before.object, lastChange: before.object.lastChange + 1 };
    await regions.b.commit(regions.instance, [{ kind: "update", before, after }], []);
    await regions.a.reserve(regions.instance, [id], randomUUID());
    expect((await regions.run("catch-up")).left).toBe(1);
    const [{ operation = "" } = {}] = await regions.a.reservations();
    await regions.a.release(regions.instance, operation);
    expect((await regions.run("catch-up")).left).toBe(0);
    await regions.expectEqual();
  });

  test("skips nothing when somebody sets cursor and level forward in Redis", async () => {
    await using regions = await Regions.start();
    await regions.put(regions.b, 20);
    await regions.run("catch-up");
    await regions.put(regions.b, 5);
    const { replicationId, numbers } = await regions.b.position();
    const partition = partitionOf(regions.instance);
    const cursor = `${numbers[partition] ?? 0} ${replicationId}`;
    const forged = Buffer.concat([Buffer.from(cursor), Buffer.alloc(valueProofLength)]);
    const asked = await regions.a.requestResync();
    const redis = regions.server("a");
    await redis.command("hset", partitionKeys(partition).cursors, "b", forged);
    await redis.command("hset", sysKeys.levels, "reached", asked);
    await regions.nextLeader();
    expect((await regions.run("resync")).left).toBe(0);
    expect(await regions.a.levels()).toMatchObject({ asked, reached: asked });
    await regions.expectEqual();
  });

  test("is refused once another leader has a newer epoch", async () => {
    await using regions = await Regions.start();
    await regions.put(regions.b, 1);
    await regions.run("catch-up");
    await regions.a.newEpoch();
    await regions.put(regions.b, 1);
    await expect(regions.run("catch-up")).rejects.toThrow(StoreUnavailable);
  });
});
