import {
  type AuditEvent,
  type Change,
  type ClockReading,
  KeyRingUnavailable,
  type ManagedObject,
  type ObjectStore,
  SealBroken,
  StoreUnavailable,
  sysPartition,
} from "@holdfast/engine";
import {
  type Peer,
  type PeerHello,
  type PeerState,
  type PeerStore,
  type PushOutcome,
  type StoreUse,
  usesIn,
} from "@holdfast/regions";
import type { Answered } from "../../packages/regions/src/peer/client/attempt.ts";
import { keptUnlessInDoubt, settled } from "../../packages/regions/src/peer/client/remote-store.ts";
import { CallFailed } from "../../packages/regions/src/peer/status.ts";
import { askedCarefully, type Outcome } from "./careful-calls.ts";
import { Violation } from "./checker.ts";
import type { Life, Machine } from "./machine.ts";
import type { Network } from "./network.ts";

/** Of the partitions that histories do not use. */
const noDigests = new Uint8Array(256 * 16);
const attemptMs = 450;
const probeMs = 400;
const downAfterMs = 1_000;

/** A node of the other region: its machine, and its service while it runs. */
interface PeerNode {
  readonly machine: Machine;
  readonly service: PeerStore | undefined;
}

/** The options of a `SimPeer`. */
export interface SimPeerOptions {
  readonly life: Life;
  readonly network: Network;
  readonly region: string;
  /** The region that asks. */
  readonly calling: string;
  readonly nodes: readonly PeerNode[];
  /** Called when a node has answered a probe. */
  readonly met: (at: number) => void;
  /** Called for each record that the other region reports as durable. */
  readonly pushed: (region: string, object: ManagedObject) => void;
  /** Called for an error that no store returns: a bug. */
  readonly crashed: (error: unknown) => void;
  /** Called when a request is sent whose kind is known, and when it is answered. */
  readonly called?: (call: Call) => void;
}

/** Requests that must not be made twice, or not late. */
const changing: ReadonlySet<string> = new Set(["remote commit", "agreed write", "reserve"]);

/** The errors that a node answers, as in the product. */
type Refusal = StoreUnavailable | KeyRingUnavailable;

/** A request to another region, or its answer, on its way. */
export interface Call {
  readonly kind: string;
  readonly part: "request" | "answer";
  /** The machine that asks. */
  readonly asking: string;
}

const notSent = { fault: { kind: "notSent", reason: "not reached" } } as const;
const unknown = { fault: { kind: "unknown", reason: "no answer" } } as const;

/** Another region over the simulated network, through any node that answers: like `PeerClient`. */
export class SimPeer implements Peer {
  readonly region: string;
  readonly remote: ObjectStore;
  readonly #options: SimPeerOptions;
  readonly #listeners = new Set<(state: PeerState, reason: string) => void>();
  readonly #meetings = new Set<(hello: PeerHello) => void>();
  #state: PeerState = "down";
  #retired = false;
  /** What the clock of the region's node showed that answered last. */
  clock: ClockReading | undefined;
  /** What its nodes last said about stores. */
  readonly #stores = new Map<number, readonly StoreUse[]>();
  #heardMs = Number.NEGATIVE_INFINITY;
  /** The node at which the next call begins. */
  #next: number;

  constructor(options: SimPeerOptions) {
    this.#options = options;
    this.region = options.region;
    this.#next = options.life.machine.random.below(options.nodes.length);
    this.remote = {
      read: (...args) => this.#call(true, ({ remote }) => remote.read(...args), "remote read"),
      commit: async (...args) => {
        const [instance, changes] = args;
        const work = ({ remote }: PeerStore) => remote.commit(...args);
        const answered = await this.#called(false, work, "remote commit");
        return settled(answered, changes, this.region, (ids) => this.remote.read(instance, ids));
      },
      markServed: (...args) =>
        this.#call(false, ({ remote }) => remote.markServed(...args)).catch(() => false),
      find: (...args) => this.#call(true, ({ remote }) => remote.find(...args), "find"),
      appendAudit: (...args) => this.#call(true, ({ remote }) => remote.appendAudit(...args)),
    };
    for (const at of options.nodes.keys()) this.#probe(at);
  }

  state(): PeerState {
    return this.#state;
  }

  onState(listener: (state: PeerState, reason: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  onHello(listener: (hello: PeerHello) => void): () => void {
    this.#meetings.add(listener);
    return () => this.#meetings.delete(listener);
  }

  /** A retired region is not used; only `hello` is asked of it. */
  setRetired(retired: boolean): void {
    if (this.#retired === retired) return;
    this.#retired = retired;
    this.#update("an operator retired it, or it is back");
  }

  storeUses(): readonly StoreUse[] {
    return [...this.#stores.values()].flat();
  }

  hello(): Promise<PeerHello> {
    return this.#ask(true, (peer) => peer.hello());
  }

  async push(objects: readonly ManagedObject[]): Promise<readonly PushOutcome[]> {
    const outcomes = await this.#call(true, (peer) => peer.push(objects), "push");
    for (const [at, object] of objects.entries()) {
      if (outcomes[at] === "durable") this.#options.pushed(this.region, object);
    }
    return outcomes;
  }

  fetch(instance: string, ids: readonly string[]) {
    return this.#call(true, (peer) => peer.fetch(instance, ids), "fetch");
  }

  position() {
    return this.#call(true, (peer) => peer.position());
  }

  changes(partition: number, after: number, limit: number, bytesMax: number) {
    return this.#call(true, (peer) => peer.changes(partition, after, limit, bytesMax));
  }

  digests(partition: number) {
    // Histories use one partition, and that of the system's own records.
    if (partition > 0 && partition < sysPartition) return Promise.resolve(noDigests);
    return this.#call(true, (peer) => peer.digests(partition));
  }

  leaves(partition: number, mask: Uint8Array, after: number | undefined) {
    return this.#call(true, (peer) => peer.leaves(partition, mask, after));
  }

  records(partition: number, ids: readonly string[]) {
    return this.#call(true, (peer) => peer.records(partition, ids));
  }

  async reserve(...given: Parameters<Peer["reserve"]>) {
    const [instance, ids, operation] = given;
    const answered = await this.#called(true, (peer) => peer.reserve(...given), "reserve");
    const release = () => this.release(instance, operation);
    return keptUnlessInDoubt(answered, { ids, operation }, release);
  }

  async write(
    instance: string,
    changes: readonly Change[],
    audit: readonly AuditEvent[],
    operation: string,
  ) {
    const work = (peer: PeerStore) => peer.write(instance, changes, audit, operation);
    const answered = await this.#called(false, work, "agreed write");
    return settled(answered, changes, this.region, (ids) => this.fetch(instance, ids));
  }

  release(instance: string, operation: string) {
    return this.#call(true, (peer) => peer.release(instance, operation), "release");
  }

  kek(instance: string, kekId: string) {
    return this.#call(true, (peer) => peer.kek(instance, kekId));
  }

  manage(command: Uint8Array) {
    return this.#call(true, (peer) => peer.manage(command));
  }

  async #call<Value>(
    again: boolean,
    work: (peer: PeerStore) => Promise<Value>,
    kind?: string,
  ): Promise<Value> {
    return (await this.#called(again, work, kind)).result;
  }

  /** An answer, and whether another node may have done it too. */
  async #called<Value>(
    again: boolean,
    work: (peer: PeerStore) => Promise<Value>,
    kind?: string,
  ): Promise<Answered<Value>> {
    if (this.#retired) throw this.#unreachable();
    if (this.#options.network.rules.broken !== undefined) return this.#askCarefully(work, kind);
    return { result: await this.#ask(again, work, kind), doubt: false };
  }

  /** Asks as the product does. */
  async #askCarefully<Value>(
    work: (peer: PeerStore) => Promise<Value>,
    kind?: string,
  ): Promise<Answered<Value>> {
    const { life, nodes } = this.#options;
    const order = nodes.map((_, turn) => (this.#next + turn) % nodes.length);
    const attempt = (at: number) => this.#attempt(at, work, kind);
    try {
      const { result, doubt } = await askedCarefully({ life, order, attempt });
      this.#next = result.at;
      return { result: result.value, doubt };
    } catch (error) {
      if (!(error instanceof CallFailed)) throw error;
      throw error.fault.kind === "answered" ? error.fault.error : this.#unreachable();
    }
  }

  /** Tries one node after another; `again` means that two nodes may carry it out without harm. `kind` is for a story. */
  async #ask<Value>(
    again: boolean,
    work: (peer: PeerStore) => Promise<Value>,
    kind?: string,
  ): Promise<Value> {
    const { nodes } = this.#options;
    let failure: Refusal | undefined;
    for (let turn = 0; turn < nodes.length; turn += 1) {
      const at = (this.#next + turn) % nodes.length;
      const outcome = await this.#attempt(at, work, kind);
      if ("value" in outcome) {
        this.#next = at;
        return outcome.value;
      }
      if (outcome.fault.kind === "answered") failure = outcome.fault.error;
      if (outcome.fault.kind !== "notSent" && !again) break;
    }
    throw failure ?? this.#unreachable();
  }

  #attempt<Value>(
    at: number,
    work: (peer: PeerStore) => Promise<Value>,
    kind?: string,
  ): Promise<Outcome<Value>> {
    const { life, network, nodes, called } = this.#options;
    const node = nodes[at];
    const from = life.machine.name;
    const tell = (part: Call["part"]): void => {
      if (kind !== undefined) called?.({ kind, part, asking: from });
    };
    return life.wait((resolve) => {
      if (node === undefined) {
        resolve(notSent);
        return;
      }
      const to = node.machine.name;
      const callOff = life.after(attemptMs, () => resolve(unknown));
      const back = (outcome: Outcome<Value>): void => {
        if ("value" in outcome) tell("answer");
        const ends = kind !== undefined && network.breaks(changing.has(kind));
        network.send(to, from, () => {
          callOff();
          resolve(ends ? unknown : outcome);
        });
      };
      const come = (): void => {
        const { life: there } = node.machine;
        if (there === undefined) back(notSent);
        else there.run(() => this.#serve(node.service, work, back));
      };
      tell("request");
      network.send(from, to, come, kind);
    });
  }

  #serve<Value>(
    service: PeerStore | undefined,
    work: (peer: PeerStore) => Promise<Value>,
    back: (outcome: Outcome<Value>) => void,
  ): void {
    if (service === undefined) {
      back(notSent);
      return;
    }
    work(service).then(
      (value) => back({ value }),
      (error: unknown) => {
        const isRefusal = error instanceof StoreUnavailable || error instanceof KeyRingUnavailable;
        if (isRefusal) back({ fault: { kind: "answered", error } });
        else this.#options.crashed(error instanceof SealBroken ? unopened(error) : error);
      },
    );
  }

  #unreachable(): StoreUnavailable {
    return new StoreUnavailable("peerUnreachable", `region ${this.region} does not answer`);
  }

  /** Probes one node again and again. */
  #probe(at: number): void {
    const { life, nodes, calling, met } = this.#options;
    const node = nodes[at]?.machine.name ?? "";
    const ask = async (): Promise<void> => {
      const askedMs = life.machine.monotonicMs();
      const outcome = await this.#attempt(at, (peer) => peer.hello());
      const answered = "value" in outcome || outcome.fault.kind === "answered";
      const atMs = life.machine.monotonicMs();
      if (answered) this.#heardMs = atMs;
      if ("value" in outcome) {
        this.clock = { of: this.region, wallMs: outcome.value.wallMs, atMs };
        this.#stores.set(at, usesIn(outcome.value, { node, calling, atMs: askedMs }));
        met(at);
        for (const listener of this.#meetings) listener(outcome.value);
      }
      this.#update(answered ? "answers" : "no answer");
      life.after(probeMs, () => void ask());
    };
    void ask();
  }

  #update(reason: string): void {
    const silentMs = this.#options.life.machine.monotonicMs() - this.#heardMs;
    const state = this.#retired ? "retired" : silentMs > downAfterMs ? "down" : "up";
    if (this.#state === state) return;
    this.#state = state;
    for (const listener of this.#listeners) listener(state, reason);
  }
}

/** A region must open what it has wrapped itself: the product has no refusal for it. */
function unopened({ message }: SealBroken): Violation {
  return new Violation(
    `a node does not open for the other region what its own has wrapped: ${message}`,
  );
}
