import {
  type Change,
  type KeyRingOptions,
  type ManagedObject,
  type ObjectStore,
  type OwnStore,
  readAnyRecord,
  recordFormat,
  StoreUnavailable,
  type Writer,
} from "@holdfast/engine";
import { MemoryRootOfTrust } from "@holdfast/engine/testing";
import {
  type CommandLine,
  type RedisStore,
  type StoreConnection,
  type StoreConnections,
  storeFailure,
} from "@holdfast/redis";
import type {
  Duty,
  Peer,
  PeerHello,
  PeerStore,
  RegionalParts,
  RegionalStore,
} from "@holdfast/regions";
import { recordHeaderLength } from "../../packages/redis/src/connection/record-header.ts";
import type { Scanned } from "../../packages/server/src/backup/archive/scan.ts";
import type {
  Deletion,
  DeletionOptions,
} from "../../packages/server/src/management/instances/deletion.ts";
import type { Records } from "../../packages/server/src/records/records.ts";
import type { SystemView } from "../../packages/server/src/records/system-view.ts";
import { lookAt } from "./look.ts";
import { editedBy } from "./script-edits.ts";
import type { Member } from "./store/member.ts";

/** Faults that can be planted in a simulation; none of them can be switched on in the product. */
export type Flaw =
  | "no tag check"
  | "a counter as version"
  | "acknowledge before the barrier"
  | "no-change answered without a barrier"
  | "WAITAOF on another connection"
  | "Item Not Found on an unreachable peer"
  | "a fetch answered through the remote store"
  | "Destroy with preferred instead of agreement"
  | "local store used too early after an outage"
  | "last writer wins without the stamp rule"
  | "a region as the writer of a value"
  | "a format that only one region reads"
  | "dates that no leader writes"
  | "counts that nobody corrects"
  | "a change without evidence"
  | "a newer format counts as damage"
  | "a key-encryption key of one region"
  | "a root of trust of each process"
  | "a copy that is put aside counts as kept"
  | "an older release on a store of the next one"
  | "a region that hands over no changes"
  | "a node that does not name its store"
  | "a region that is not told of its stores"
  | "a deletion that one region decides"
  | "a deletion that nobody finishes"
  | "a deletion that leaves the wraps"
  | "a deletion that leaves the objects"
  | "a deletion that closes no access"
  | "a backup that lacks records"
  | "a restore without the keys"
  | "a version that is not compared"
  | "a name that one region gives";

/** Functions that replace a node's parts by faulty ones; without a flaw they return the parts. */
export interface Flaws {
  /** What really runs in place of a script. */
  readonly edited: ((source: string) => string) | undefined;
  /** The connections of the region's own store. */
  readonly connections: (made: StoreConnections) => StoreConnections;
  readonly parts: Partial<RegionalParts>;
  /** `primary` is the primary of the region's Redis. */
  readonly own: (own: OwnStore, primary: () => Member) => OwnStore;
  readonly peer: (peer: Peer) => Peer;
  readonly service: (service: PeerStore, store: RegionalStore, peers: readonly Peer[]) => PeerStore;
  readonly client: (store: ObjectStore) => ObjectStore;
  /** The name for the values that a process adds. */
  readonly writer: (own: Writer, region: string) => Writer;
  readonly keyRing: (options: KeyRingOptions) => KeyRingOptions;
  /** What a leader does. */
  readonly duties: (duties: readonly Duty[]) => readonly Duty[];
  readonly alter: (changes: readonly Change[], region: string, wallMs: number) => readonly Change[];
  /** What a deletion of an instance works with, the deletion, and the records that the list of clients follows. */
  readonly deletion: (options: DeletionOptions) => DeletionOptions;
  readonly deleting: (deletion: Deletion) => Deletion;
  /** What the handlers of instances write with. */
  readonly records: (records: Records) => Records;
  readonly trusted: (view: SystemView) => SystemView;
  /** What a backup is made from, and what is restored. */
  readonly backedUp: (own: RedisStore) => RedisStore;
  readonly scanned: (scanned: Scanned) => Scanned;
}

/** The parts of a node with one flaw, or with none. */
export function flawsOf(flaw: Flaw | undefined): Flaws {
  const sound: Flaws = {
    edited: undefined,
    connections: (made) => made,
    parts: {},
    own: (own) => own,
    peer: (peer) => peer,
    service: (service) => service,
    client: (store) => store,
    writer: (own) => own,
    keyRing: (options) => options,
    duties: (duties) => duties,
    alter: (changes) => changes,
    deletion: (options) => options,
    deleting: (deletion) => deletion,
    records: (records) => records,
    trusted: (view) => view,
    backedUp: (own) => own,
    scanned: (scanned) => scanned,
  };
  return flaw === undefined ? sound : { ...sound, ...faultyParts[flaw] };
}

/** The parts that each flaw replaces. */
const faultyParts: Readonly<Record<Flaw, Partial<Flaws>>> = {
  "no tag check": { edited: editedBy("anyTag") },
  "a counter as version": { own: storeWithNumbers, edited: editedBy("anyVersion") },
  "acknowledge before the barrier": { connections: connectionsThatDoNotWait },
  "no-change answered without a barrier": { connections: connectionsThatShowAllAsCovered },
  "WAITAOF on another connection": { connections: connectionsThatWaitElsewhere },
  "Item Not Found on an unreachable peer": { peer: peerThatHasNothing },
  "a fetch answered through the remote store": { service: serviceThatForwards },
  "Destroy with preferred instead of agreement": { client: storeWithoutAgreement },
  "local store used too early after an outage": { own: storeThatIsLevel },
  "last writer wins without the stamp rule": { alter: clockStamps },
  "a region as the writer of a value": {
    writer: (own, region) => replaced(own, { next: () => region }),
  },
  "a format that only one region reads": {
    service: serviceThatSays({ recordFormat: Number.MAX_SAFE_INTEGER }),
  },
  "a node that does not name its store": { service: serviceThatSays({ storeId: "" }) },
  "a region that is not told of its stores": { service: serviceThatSays({ callingStores: [] }) },
  "dates that no leader writes": { duties: withoutDuty("due-dates") },
  "counts that nobody corrects": { duties: withoutDuty("recount") },
  "a change without evidence": { own: storeWithoutEvidence },
  "a copy that is put aside counts as kept": { service: serviceThatKeepsAll },
  "a root of trust of each process": { keyRing: ringOfOneProcess },
  "an older release on a store of the next one": { edited: editedBy("noFormat") },
  "a region that hands over no changes": { service: serviceWithoutChanges },
  "a key-encryption key of one region": {
    keyRing: (options) => ({ ...options, requiredRegions: () => [options.region] }),
  },
  "a deletion that one region decides": { deletion: deletionOfOneRegion },
  "a deletion that nobody finishes": {
    deleting: (deletion) => replaced(deletion, { resume: async () => undefined }),
  },
  "a deletion that leaves the wraps": { deletion: deletionThatFindsNoWraps },
  "a deletion that leaves the objects": {
    deleting: (deletion) =>
      replaced(deletion, { eraseObjects: async () => ({ done: 0, all: true, unproven: 0 }) }),
  },
  "a deletion that closes no access": { trusted: viewWithoutDeletions },
  "a version that is not compared": {
    records: (records) =>
      replaced(records, {
        change: (kind, id, edit, audit, options) =>
          records.change(kind, id, edit, audit, { ...options, ifMatch: undefined }),
      }),
  },
  "a name that one region gives": {
    records: (records) =>
      replaced(records, {
        create: (kind, values, audit, options) =>
          records.create(kind, values, audit, { ...options, agreed: false }),
      }),
  },
  "a backup that lacks records": { backedUp: storeThatSkipsRecords },
  "a restore without the keys": { scanned: (scanned) => ({ ...scanned, system: [] }) },
  "a newer format counts as damage": {
    connections: connectionsThatCutNewerRecords,
    edited: editedBy("anyRepair"),
  },
};

export const flawNames = Object.keys(faultyParts) as readonly Flaw[];

/** An object with some of its methods replaced. */
export function replaced<Target extends object>(target: Target, methods: Partial<Target>): Target {
  return new Proxy(target, {
    get(of, name) {
      const own = (methods as Record<PropertyKey, unknown>)[name];
      if (own !== undefined) return own;
      const value: unknown = Reflect.get(of, name, of);
      return typeof value === "function" ? value.bind(of) : value;
    },
  });
}

function peerThatHasNothing(peer: Peer): Peer {
  return replaced(peer, {
    fetch: async (instance: string, ids: readonly string[]) => {
      try {
        return await peer.fetch(instance, ids);
      } catch (error) {
        if (error instanceof StoreUnavailable) return ids.map(() => undefined);
        throw error;
      }
    },
  });
}

function withoutDuty(name: string): Flaws["duties"] {
  return (duties) => duties.filter((duty) => duty.name !== name);
}

function storeWithoutEvidence(own: OwnStore): OwnStore {
  return replaced(own, {
    commit: (instance, changes, _audit, options) => own.commit(instance, changes, [], options),
  });
}

function ringOfOneProcess(options: KeyRingOptions): KeyRingOptions {
  const root = new MemoryRootOfTrust(options.ids, options.ids.uuid());
  return { ...options, rootOf: () => root };
}

/** As if there were no other region. */
function deletionOfOneRegion(options: DeletionOptions): DeletionOptions {
  const records = replaced(options.records, {
    change: (kind, id, edit, audit) => options.records.change(kind, id, edit, audit),
  });
  return { ...options, records, commands: replaced(options.commands, { others: [] }) };
}

function deletionThatFindsNoWraps(options: DeletionOptions): DeletionOptions {
  const view = replaced(options.view, {
    of: (kind, instance) => (kind === "Kek" ? new Map() : options.view.of(kind, instance)),
  });
  return { ...options, view };
}

function storeThatSkipsRecords(own: RedisStore): RedisStore {
  return replaced(own, {
    changes: async (...asked) => {
      const page = await own.changes(...asked);
      return { ...page, objects: page.objects.slice(1) };
    },
  });
}

/** Removals are not followed: neither that one is under way, nor its end. */
function viewWithoutDeletions(view: SystemView): SystemView {
  return replaced(view, {
    onChange: (listener) =>
      view.onChange((changed) =>
        listener(
          changed.filter((object) => {
            const record = readAnyRecord(object);
            const removed = record?.type === "Instance" && record.removal !== undefined;
            return !removed && object.facts.destroyed === undefined;
          }),
        ),
      ),
  });
}

function serviceThatKeepsAll(service: PeerStore): PeerStore {
  return replaced(service, {
    push: async (objects: readonly ManagedObject[]) =>
      (await service.push(objects)).map(() => "durable" as const),
  });
}

function serviceWithoutChanges(service: PeerStore): PeerStore {
  return replaced(service, {
    changes: async (...asked: Parameters<PeerStore["changes"]>) => ({
      ...(await service.changes(...asked)),
      objects: [],
    }),
  });
}

function serviceThatSays(said: Partial<PeerHello>): Flaws["service"] {
  return (service) =>
    replaced(service, { hello: async () => ({ ...(await service.hello()), ...said }) });
}

function serviceThatForwards(
  service: PeerStore,
  store: RegionalStore,
  [peer]: readonly Peer[],
): PeerStore {
  return replaced(service, {
    fetch: async (instance: string, ids: readonly string[]) => {
      const forward = peer !== undefined && store.serving().from === "remote";
      return forward ? peer.remote.read(instance, ids) : service.fetch(instance, ids);
    },
  });
}

function storeWithoutAgreement(store: ObjectStore): ObjectStore {
  return replaced(store, {
    commit: (instance, changes, audit) => store.commit(instance, changes, audit),
  });
}

function storeThatIsLevel(own: OwnStore): OwnStore {
  return replaced(own, {
    requestResync: async () => 0,
    levels: async () => ({ asked: 0, reached: Number.MAX_SAFE_INTEGER, lost: 0 }),
  });
}

/** Stamps come only from the clock, even if they replace a later one. */
function clockStamps(
  changes: readonly Change[],
  region: string,
  wallMs: number,
): readonly Change[] {
  return changes.map((change) => {
    if (change.kind === "create") return change;
    const before = new Set(change.before.object.registers);
    const registers = change.after.registers.map((register) =>
      before.has(register) ? register : { ...register, stamp: { us: wallMs * 1_000, region } },
    );
    return { ...change, after: { ...change.after, registers } };
  });
}

/** A record of a format that this release does not read looks cut off. */
function connectionsThatCutNewerRecords(made: StoreConnections): StoreConnections {
  const isNewer = (value: Buffer): boolean =>
    value.length > formatAt + 4 && value.readInt32BE(formatAt) === recordFormat + 1;
  const cut = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(cut);
    return Buffer.isBuffer(value) && isNewer(value) ? value.subarray(0, -8) : value;
  };
  return connectionsWith(made, async (connection, lines) =>
    (await connection.batch(lines)).map((outcome) =>
      "value" in outcome ? { value: cut(outcome.value) } : outcome,
    ),
  );
}

/** Bytes of a record's value before its format: the header and two headers of items. */
const formatAt = recordHeaderLength + 16;

/** A store that compares change numbers, not contents: it takes a change if the record has the number that was read. */
function storeWithNumbers(own: OwnStore, primary: () => Member): OwnStore {
  const numbers = new WeakMap<ManagedObject, number>();
  const now = ({ instance, uniqueIdentifier }: ManagedObject) =>
    lookAt(primary(), instance, uniqueIdentifier);
  return replaced(own, {
    read: async (instance: string, ids: readonly string[]) => {
      const found = await own.read(instance, ids);
      for (const stored of found) {
        if (stored !== undefined) numbers.set(stored.object, now(stored.object)?.number ?? 0);
      }
      return found;
    },
    commit: (...[instance, changes, ...rest]: Parameters<OwnStore["commit"]>) => {
      const altered = changes.map((change) => {
        const stored = change.kind === "create" ? undefined : now(change.before.object);
        if (change.kind === "create" || stored === undefined) return change;
        const same = numbers.get(change.before.object) === stored.number;
        return same ? { ...change, before: { ...change.before, tag: stored.tag } } : change;
      });
      return own.commit(instance, altered, ...rest);
    },
  });
}

/** Connections of which each batch goes through `batch`. */
function connectionsWith(
  made: StoreConnections,
  batch: (
    connection: StoreConnection,
    lines: readonly CommandLine[],
    settings: Parameters<StoreConnections["to"]>[0],
  ) => ReturnType<StoreConnection["batch"]>,
): StoreConnections {
  const wrapped = (connection: StoreConnection, settings: Parameters<StoreConnections["to"]>[0]) =>
    replaced(connection, {
      batch: (lines) => batch(connection, lines, settings),
      call: async (...line) => {
        const [outcome] = await batch(connection, [line], settings);
        if (outcome !== undefined && "value" in outcome) return outcome.value;
        throw storeFailure(outcome?.error, connection.address);
      },
    });
  return {
    to: async (settings, ...rest) => wrapped(await made.to(settings, ...rest), settings),
    toPrimary: async (settings, ...rest) =>
      wrapped(await made.toPrimary(settings, ...rest), settings),
  };
}

function isBarrier([name]: CommandLine): boolean {
  return name === "waitaof";
}

function connectionsThatDoNotWait(made: StoreConnections): StoreConnections {
  return connectionsWith(made, async (connection, lines) => {
    const outcomes = [...(await connection.batch(lines.filter((line) => !isBarrier(line))))];
    return lines.map((line) =>
      isBarrier(line) ? { value: [1, Number(line[2])] } : (outcomes.shift() ?? { error: "none" }),
    );
  });
}

/** Redis answers at once that everything is covered on a connection that has written nothing. */
function connectionsThatWaitElsewhere(made: StoreConnections): StoreConnections {
  return connectionsWith(made, async (connection, lines, settings) => {
    if (!lines.some(isBarrier)) return connection.batch(lines);
    const other = await made.to(settings, connection.address, "barrier").catch(() => connection);
    const outcomes = await other.batch(lines);
    if (other !== connection) other.destroy("asked");
    return outcomes;
  });
}

/** Bytes of a partition's head: a store's identifier (16), the number up to which all is covered (6), and the least storage key (2). */
const headLength = 24;

function connectionsThatShowAllAsCovered(made: StoreConnections): StoreConnections {
  const covered = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(covered);
    if (!Buffer.isBuffer(value) || value.length !== headLength) return value;
    return Buffer.concat([value.subarray(0, 16), Buffer.alloc(6, 0x7f), value.subarray(22)]);
  };
  return connectionsWith(made, async (connection, lines) =>
    (await connection.batch(lines)).map((outcome) =>
      "value" in outcome ? { value: covered(outcome.value) } : outcome,
    ),
  );
}
