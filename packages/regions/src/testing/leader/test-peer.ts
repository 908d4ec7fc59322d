import { randomBytes, randomUUID } from "node:crypto";
import {
  type ManagedObject,
  type OwnStoredObject,
  type RecordsAnswer,
  StoreUnavailable,
  type Timers,
} from "@holdfast/engine";
import type { MemoryOwnStore } from "@holdfast/engine/testing";
import { mergeInto } from "../../join/merge.ts";
import type { DutyContext } from "../../leader/duty.ts";
import type { Peer, PeerHello, PeerState, PushOutcome } from "../../ports/ports.ts";
import { positionOf, pushOutcomes } from "../../store/peer-service.ts";
import { openStore } from "./test-leader.ts";

/** Another region whose own store is in memory, for tests; it refuses every call that a leader does not make. */
export class MemoryPeer implements Peer {
  readonly region: string;
  readonly store: MemoryOwnStore;
  /** Calls by method. */
  readonly calls = new Map<string, number>();
  /** Time that each call takes: the way there and back. */
  delayMs = 0;
  now: PeerState = "up";
  keks: (instance: string, id: string) => Promise<Uint8Array> = () => Promise.reject(refused());
  /** Runs before each call, by method. */
  before: (method: string) => Promise<void> | void = () => undefined;
  readonly #timers: Timers;

  constructor(region: string, store: MemoryOwnStore, timers: Timers) {
    this.region = region;
    this.store = store;
    this.#timers = timers;
  }

  state(): PeerState {
    return this.now;
  }

  onState(): () => void {
    return () => undefined;
  }

  onHello(): () => void {
    return () => undefined;
  }

  hello(): Promise<PeerHello> {
    return Promise.reject(refused());
  }

  push(objects: readonly ManagedObject[]): Promise<readonly PushOutcome[]> {
    return this.#ask("push", async () => {
      const options = { from: "", timers: this.#timers, observe: () => undefined };
      const merged = await mergeInto(this.store, objects, options);
      return merged.map(({ result }) => pushOutcomes[result]);
    });
  }

  fetch(
    instance: string,
    ids: readonly string[],
  ): Promise<readonly (OwnStoredObject | undefined)[]> {
    return this.#ask("fetch", () => this.store.read(instance, ids));
  }

  position() {
    return this.#ask("position", () => positionOf(this.store));
  }

  changes(partition: number, after: number, limit: number, bytesMax: number) {
    return this.#ask("changes", () => this.store.changes(partition, after, limit, bytesMax));
  }

  digests(partition: number) {
    return this.#ask("digests", () => this.store.digests(partition));
  }

  leaves(partition: number, mask: Uint8Array, after: number | undefined) {
    return this.#ask("leaves", () => this.store.leaves(partition, mask, after));
  }

  records(partition: number, ids: readonly string[]): Promise<RecordsAnswer> {
    return this.#ask("records", () => this.store.records(partition, ids));
  }

  reserve(instance: string, ids: readonly string[], operation: string) {
    return this.#ask("reserve", () => this.store.reserve(instance, ids, operation));
  }

  write(): ReturnType<Peer["write"]> {
    return Promise.reject(refused());
  }

  release(instance: string, operation: string) {
    return this.#ask("release", () => this.store.release(instance, operation));
  }

  kek(instance: string, kekId: string): Promise<Uint8Array> {
    return this.#ask("kek", () => this.keks(instance, kekId));
  }

  manage(): ReturnType<Peer["manage"]> {
    return Promise.reject(refused());
  }

  get remote(): Peer["remote"] {
    throw refused();
  }

  async #ask<Result>(method: string, work: () => Promise<Result>): Promise<Result> {
    this.calls.set(method, (this.calls.get(method) ?? 0) + 1);
    await this.before(method);
    if (this.now !== "up") throw refused();
    if (this.delayMs > 0) await this.#timers.sleep(this.delayMs);
    return work();
  }
}

function refused(): StoreUnavailable {
  return new StoreUnavailable("peerUnreachable", "the other region cannot be asked");
}

/** A term that does not end, for duties that are run by hand. */
export function termOf(epoch: number): DutyContext {
  return { epoch, signal: new AbortController().signal, active: () => true };
}

/** An object of an instance with some material. */
export function objectOf(more: Partial<ManagedObject> = {}, materialBytes = 48): ManagedObject {
  return {
    uniqueIdentifier: randomUUID(),
    instance: "i",
    objectType: 2,
    fixed: [],
    material: {
      kekId: "00000000-0000-4000-8000-000000000000",
      nonce: new Uint8Array(randomBytes(12)),
      ciphertext: new Uint8Array(randomBytes(materialBytes)),
    },
    facts: {},
    registers: [],
    lastChange: 1_700_000_000,
    ...more,
  };
}

/** Puts objects into a store, as its own region would. */
export async function put(store: MemoryOwnStore, objects: readonly ManagedObject[]): Promise<void> {
  for (const instance of new Set(objects.map((object) => object.instance))) {
    const group = objects.filter((object) => object.instance === instance);
    const changes = group.map((after) => ({ kind: "create", after }) as const);
    const outcome = await store.commit(instance, changes, []);
    if (outcome.kind !== "committed") throw new Error(`not committed: ${outcome.kind}`);
  }
}

/** Changes a record as its own region would. */
export async function change(
  store: MemoryOwnStore,
  { instance, uniqueIdentifier }: ManagedObject,
  more: Partial<ManagedObject>,
): Promise<void> {
  const [before] = await store.read(instance, [uniqueIdentifier]);
  if (before === undefined) throw new Error("no such record");
  const after = { ...before.object, ...more };
  const outcome = await store.commit(instance, [{ kind: "update", before, after }], []);
  if (outcome.kind !== "committed") throw new Error(`not committed: ${outcome.kind}`);
}

/** The records of an instance, as a store has them. */
export async function recordsOf(
  store: MemoryOwnStore,
  instance = "i",
): Promise<ReadonlyMap<string, ManagedObject>> {
  const query = { live: true, destroyed: true, limit: 1_000_000 };
  const { objects } = await store.find(instance, query);
  return new Map(objects.map(({ object }) => [object.uniqueIdentifier, object]));
}

/** The own store of region a, and region b. */
export async function openRegions(timers: Timers) {
  const own = await openStore({ storeId: "a", replicationId: "a1" });
  const store = await openStore({ storeId: "b", replicationId: "b1" });
  return { own, peer: new MemoryPeer("b", store, timers) };
}
