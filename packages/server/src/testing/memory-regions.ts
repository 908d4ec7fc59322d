import {
  type Change,
  type CommitOutcome,
  type InstanceStatus,
  kekRecord,
  type ManagedObject,
  type ObjectStore,
  StoreUnavailable,
  systemInstance,
} from "@holdfast/engine";
import { MemoryInstanceStore, MemoryOwnStore } from "@holdfast/engine/testing";
import {
  agreedCommit,
  type MayJoin,
  mergeInto,
  type Peer,
  provenChanges,
  pushOutcomes,
  sitesInOrder,
} from "@holdfast/regions";
import { systemClock as clock, systemIds as ids } from "../base/system.ts";
import { ConfigureInstance } from "../management/instances/configure.ts";
import { Deletion, type DeletionStep } from "../management/instances/deletion.ts";
import { InstancesDuty } from "../management/instances/instances-duty.ts";
import { StatusFollower } from "../management/instances/status-follower.ts";
import type { NodeEvent } from "../observe/events.ts";
import { PeerCommands } from "../records/peer-commands.ts";
import { instanceRecordId, Records } from "../records/records.ts";
import { SystemView } from "../records/system-view.ts";
import { certificateValues } from "./system-records.ts";

/** A region's own store in memory with its statuses; Redis also holds both. */
export class StoreInMemory extends MemoryOwnStore {
  declare readonly instances: MemoryInstanceStore;

  constructor(storeId: string) {
    super({ storeId, replicationId: storeId, instances: new MemoryInstanceStore() });
  }

  status(instance: string): Promise<InstanceStatus | undefined> {
    return this.instances.status(instance);
  }

  move(...given: Parameters<MemoryInstanceStore["move"]>): Promise<InstanceStatus | undefined> {
    return this.instances.move(...given);
  }
}

/** One of two regions in memory: its store, and the parts that manage instances there. */
export interface MemoryRegion {
  readonly name: string;
  readonly own: StoreInMemory;
  readonly store: Pick<ObjectStore, "read" | "commit" | "appendAudit">;
  readonly view: SystemView;
  readonly records: Records;
  readonly commands: PeerCommands;
  readonly statuses: StatusFollower;
  readonly deletion: Deletion;
  readonly duty: InstancesDuty;
  readonly events: NodeEvent[];
  /** Whether the other region can be reached. */
  readonly isLinked: () => boolean;
  /** What it takes from the other region; everything unless set. */
  mayJoin?: MayJoin;
  /** Called before each step of a deletion in this region. */
  step: (step: DeletionStep) => void;
}

/** Two regions in one process: real parts on stores in memory, and a link that can be cut. */
export class MemoryRegions implements AsyncDisposable {
  readonly a: MemoryRegion;
  readonly b: MemoryRegion;
  /** Whether the regions can reach each other. */
  linked = true;

  constructor() {
    const all = new Map<string, MemoryRegion>();
    const make = (name: string, other: string): MemoryRegion => {
      const made = this.#region(name, other, () => all.get(other) as MemoryRegion);
      all.set(name, made);
      return made;
    };
    this.a = make("a", "b");
    this.b = make("b", "a");
  }

  get both(): readonly [MemoryRegion, MemoryRegion] {
    return [this.a, this.b];
  }

  /** Runs the duty of both leaders once; a part that fails is tried again at the next call. */
  async lead(): Promise<void> {
    await this.level();
    for (const { own, duty } of this.both) {
      const epoch = await own.newEpoch();
      const context = { epoch, signal: new AbortController().signal, active: () => true };
      await duty.run(context).catch((error: unknown) => {
        if (!(error instanceof Error)) throw error;
      });
    }
  }

  /** Copies to each region the records that it lacks and the other has. */
  async level(): Promise<void> {
    if (!this.linked) return;
    for (const [to, from] of [this.both, this.both.toReversed()] as [
      MemoryRegion,
      MemoryRegion,
    ][]) {
      const { numbers } = await from.own.position();
      for (const [partition, number] of numbers.entries()) {
        if (number === 0) continue;
        const page = await from.own.changes(partition, 0, 10_000, 1 << 28);
        await this.push(to, page.objects);
      }
    }
  }

  /** An Installed instance with a KEK and a client certificate, in both regions. */
  async instance(instance: string, name = instance): Promise<void> {
    const { records, store } = this.a;
    const values = { instance, name, createdMs: 1, status: "Installed" } as const;
    await records.create("Instance", values, [], { id: instanceRecordId(instance) });
    const certificate = { ...certificateValues, instance, name: "vcenter" };
    await records.create("Certificate", certificate, []);
    const wrap = { rootOfTrust: "r", rootKeyVersion: "1", blob: new Uint8Array([1]) };
    const wraps = ["a", "b"].map((region) => ({ ...wrap, region }));
    const kek = { id: ids.uuid(), createdMs: 1, check: new Uint8Array([1]), wraps };
    const record = kekRecord({ instance, kek }, true, { us: 1, region: "a" });
    await store.commit(systemInstance, [{ kind: "create", after: record }], []);
    for (const { own } of this.both) await own.instances.install(instance);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { view, duty } of this.both) {
      duty[Symbol.dispose]();
      await view[Symbol.asyncDispose]();
    }
  }

  #region(name: string, other: string, there: () => MemoryRegion): MemoryRegion {
    const own = new StoreInMemory(`store ${name}`);
    const events: NodeEvent[] = [];
    const observe = (event: NodeEvent): void => void events.push(event);
    const peer = this.#peer(other, there);
    const store = this.#store(name, own, peer);
    const view = new SystemView({ own, peers: [], ...clock, observe, everyMs: 1_000_000 });
    const unexpected = (error: unknown): void => {
      throw error;
    };
    const commands = new PeerCommands({ region: name, peers: [peer], unexpected });
    const records = new Records({ region: name, others: () => [other], store, view, clock, ids });
    const regions = () => [name, other];
    const statuses = new StatusFollower({ own, regions });
    const made = { step: (_: DeletionStep): void => undefined };
    const parts = { region: name, own, store, view, records, commands, statuses, clock, ids };
    const deletion = new Deletion({ ...parts, step: (step) => made.step(step) });
    const configure = new ConfigureInstance({
      regions,
      view,
      records,
      commands,
      statuses,
      clock,
      settle: async () => undefined,
      sleep: clock.sleep,
    });
    const duty = new InstancesDuty({
      node: `${name}1`,
      own,
      view,
      statuses,
      deletion,
      configure,
      clock,
      observe,
      requestId: ids.uuid,
      abandonedMs: 0,
    });
    commands.serve({
      countStates: async ({ instance }) => ({ states: await own.counts(instance) }),
      followInstance: async ({ instance }) => {
        const followed = await statuses.follow(instance);
        return { ...(followed && { status: followed.status }) };
      },
    });
    return Object.assign(made, {
      name,
      own,
      store,
      view,
      records,
      commands,
      statuses,
      deletion,
      duty,
      events,
      isLinked: () => this.linked,
    });
  }

  /** A node's store over both regions' stores, made of the same parts as in production. */
  #store(name: string, own: StoreInMemory, peer: Peer): MemoryRegion["store"] {
    const merging = { from: peer.region, timers: clock, observe: () => undefined };
    return {
      read: (instance, wanted) => own.read(instance, wanted),
      appendAudit: (instance, events) => own.appendAudit(instance, events),
      commit: async (instance, changes, audit, { agreed = false } = {}): Promise<CommitOutcome> => {
        if (agreed) {
          if (!this.linked)
            throw new StoreUnavailable("noAgreement", "the other region is cut off");
          const sites = sitesInOrder(name, own, [peer], { given: [], merging });
          const wanted = { instance, changes, audit };
          const around = { timers: clock, ids, observe: () => undefined, reservedMs: 2_000 };
          return await agreedCommit(sites, wanted, around);
        }
        const outcome = await own.commit(instance, changes, audit);
        if (outcome.kind !== "committed") return outcome;
        const pushed = await peer.push(changes.map(({ after }) => after)).catch(() => undefined);
        const shared = pushed?.every((each) => each === "durable") === true;
        return { ...outcome, regions: shared ? [name, peer.region] : [name] };
      },
    };
  }

  #peer(region: string, there: () => MemoryRegion): Peer {
    const crossed = <Answer>(work: () => Promise<Answer>): Promise<Answer> => {
      if (this.linked) return work();
      return Promise.reject(new StoreUnavailable("peerUnreachable", `region ${region} is cut off`));
    };
    const judged = (changes: readonly Change[]): Promise<readonly Change[]> => {
      const from = region === "a" ? "b" : "a";
      const { mayJoin } = there();
      return provenChanges(changes, from, { mayJoin, observe: () => undefined });
    };
    const peer: Partial<Peer> = {
      region,
      state: () => (this.linked ? "up" : "down"),
      manage: (command) => crossed(() => there().commands.answer(command)),
      push: (objects) => crossed(() => this.push(there(), objects)),
      fetch: (instance, wanted) => crossed(() => there().own.read(instance, wanted)),
      reserve: (instance, wanted, operation, changes = []) =>
        crossed(async () => {
          await judged(changes);
          return there().own.reserve(instance, wanted, operation);
        }),
      release: (instance, operation) => crossed(() => there().own.release(instance, operation)),
      write: (instance, changes, audit, operation) =>
        // Like `PeerService`: the first region's write is the decision, whichever region asks for it.
        crossed(async () => {
          const proven = await judged(changes);
          const joined = instance !== systemInstance || region !== "a";
          return there().own.commit(instance, proven, audit, { operation, joined });
        }),
    };
    return peer as Peer;
  }

  /** Joins copies of the other region into this one, as a push or a catch-up does. */
  async push(to: MemoryRegion, objects: readonly ManagedObject[]) {
    const from = to === this.a ? "b" : "a";
    const merged = await mergeInto(to.own, objects, {
      from,
      timers: clock,
      observe: () => undefined,
      mayJoin: to.mayJoin,
    });
    const outcomes = merged.map(({ result }) => pushOutcomes[result]);
    const taken = objects.filter((_, at) => outcomes[at] === "durable");
    to.view.take(taken.filter(({ instance }) => instance === systemInstance));
    return outcomes;
  }
}
