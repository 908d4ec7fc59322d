import { setTimeout } from "node:timers/promises";
import {
  type Change,
  type CommitOutcome,
  type Event,
  type ManagedObject,
  type OwnStore,
  StoreUnavailable,
} from "@holdfast/engine";
import { MemoryOwnStore } from "@holdfast/engine/testing";
import { PeerClient, type PeerClientOptions } from "../../peer/client/peer-client.ts";
import { PeerServer, type PeerServerOptions } from "../../peer/server/peer-server.ts";
import type { PeerHello, PeerStore, PushOutcome } from "../../ports/ports.ts";
import { positionOf } from "../../store/peer-service.ts";
import { TestTime } from "../test-time.ts";
import { type TestAuthority, testAuthority } from "./test-pki.ts";

const tickMs = 5;
const peersAuthority = await testAuthority("peers");

/** An object of a test. */
export function testObject(
  uniqueIdentifier: string,
  { instance = "one", bytes = 48 }: { instance?: string; bytes?: number } = {},
): ManagedObject {
  return {
    uniqueIdentifier,
    instance,
    objectType: 2,
    fixed: [],
    material: {
      kekId: "11111111-1111-4111-8111-111111111111",
      nonce: Buffer.alloc(12, 7),
      ciphertext: Buffer.alloc(bytes, 3),
    },
    facts: {},
    registers: [],
    lastChange: 1_700_000_000,
  };
}

/** An identifier of a test. */
export function testId(number: number): string {
  return `${number.toString(16).padStart(8, "0")}-0000-4000-8000-000000000000`;
}

/**
 * A region's own store as another region sees it, without joining: what `PeerServer` needs, without
 * decisions.
 */
export class TestPeerStore implements PeerStore {
  readonly own: OwnStore;
  readonly region: string;
  readonly pushed: ManagedObject[] = [];
  readonly keks = new Map<string, Uint8Array>();
  managed = (command: Uint8Array): Uint8Array => command;
  /** Called at each request. */
  before: (method: string) => Promise<void> | void = () => undefined;

  constructor(region: string, own: OwnStore = new MemoryOwnStore()) {
    this.region = region;
    this.own = own;
  }

  async hello(): Promise<PeerHello> {
    await this.before("hello");
    return {
      region: this.region,
      generation: 3,
      retired: 2,
      serving: true,
      wallMs: 1_234_567,
      recordFormat: 1,
      storeId: "0f".repeat(16),
      callingStores: [{ node: "a1:5697", storeId: "ab".repeat(16) }],
    };
  }

  async push(objects: readonly ManagedObject[]): Promise<readonly PushOutcome[]> {
    await this.before("push");
    this.pushed.push(...objects);
    return objects.map(() => "durable");
  }

  async fetch(instance: string, ids: readonly string[]) {
    await this.before("fetch");
    return this.own.read(instance, ids);
  }

  position = () => positionOf(this.own);
  changes = async (...asked: Parameters<PeerStore["changes"]>) => {
    await this.before("changes");
    return this.own.changes(...asked);
  };
  digests = async (partition: number) => this.own.digests(partition);
  leaves = async (...asked: Parameters<PeerStore["leaves"]>) => this.own.leaves(...asked);
  records = async (...asked: Parameters<PeerStore["records"]>) => this.own.records(...asked);
  reserve = async (instance: string, ids: readonly string[], operation: string) =>
    this.own.reserve(instance, ids, operation);
  release = async (instance: string, operation: string) => this.own.release(instance, operation);

  async write(
    instance: string,
    changes: readonly Change[],
    audit: Parameters<PeerStore["write"]>[2],
    operation: string,
  ): Promise<CommitOutcome> {
    await this.before("write");
    return this.own.commit(instance, changes, audit, { operation });
  }

  async kek(instance: string, kekId: string): Promise<Uint8Array> {
    await this.before("kek");
    const kek = this.keks.get(`${instance}/${kekId}`);
    if (kek === undefined) throw new StoreUnavailable("corrupt", "unknown KEK");
    return Uint8Array.from(kek);
  }

  async manage(command: Uint8Array): Promise<Uint8Array> {
    await this.before("manage");
    return this.managed(command);
  }

  readonly remote: PeerStore["remote"] = {
    read: async (...asked) => {
      await this.before("read");
      return this.own.read(...asked);
    },
    commit: async (...asked) => {
      await this.before("commit");
      const outcome = await this.own.commit(...asked);
      await this.before("committed");
      return outcome;
    },
    markServed: async (...asked) => this.own.markServed(...asked),
    find: async (...asked) => this.own.find(...asked),
    appendAudit: async (...asked) => this.own.appendAudit(...asked),
  };
}

/** Both ends of a connection of region `a` to nodes of region `b`, with what they reported. */
export class TestPeers implements AsyncDisposable {
  readonly authority: TestAuthority;
  readonly events: Event[] = [];
  /** The clock of both ends: it stops while this process does, on a machine that is busy with other work. */
  readonly time = new TestTime(Date.now());
  readonly #open: AsyncDisposable[] = [];
  #over = false;

  constructor(authority: TestAuthority = peersAuthority) {
    this.authority = authority;
    void this.#tick();
  }

  readonly observe = (event: Event): void => {
    this.events.push(event);
  };

  async serve(
    store: PeerStore,
    options: Partial<PeerServerOptions> = {},
  ): Promise<{ readonly server: PeerServer; readonly address: string }> {
    const server = await PeerServer.open({
      region: "b",
      listen: { host: "127.0.0.1", port: 0 },
      tls: this.authority.node("b"),
      peers: ["a"],
      store: () => store,
      timers: this.time,
      observe: this.observe,
      ...options,
    });
    this.#open.push(server);
    return { server, address: `127.0.0.1:${server.address.port}` };
  }

  connect(addresses: readonly string[], options: Partial<PeerClientOptions> = {}): PeerClient {
    const client = PeerClient.open({
      region: "b",
      ownRegion: "a",
      addresses,
      tls: this.authority.node("a"),
      timers: this.time,
      observe: this.observe,
      ...options,
    });
    this.#open.push(client);
    return client;
  }

  /** A client that is up. */
  async connected(
    addresses: readonly string[],
    options: Partial<PeerClientOptions> = {},
  ): Promise<PeerClient> {
    const client = this.connect(addresses, options);
    await eventually(() => client.nodesUp === addresses.length);
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const part of this.#open.reverse()) await part[Symbol.asyncDispose]();
    this.#over = true;
  }

  /**
   * Lets real time pass, but little of it in one turn: what came meanwhile is read before more
   * passes.
   */
  async #tick(): Promise<void> {
    while (!this.#over) {
      const before = performance.now();
      await setTimeout(tickMs);
      await this.time.pass(Math.min(performance.now() - before, 2 * tickMs));
    }
  }
}

/** Waits until something holds; a busy machine may need long. */
export async function eventually(holds: () => boolean): Promise<void> {
  for (const started = performance.now(); !holds(); ) {
    if (performance.now() - started > 120_000) throw new Error("it did not happen within 120 s");
    await setTimeout(5);
  }
}
