import { partitionOf, recordTag, type StorePosition } from "@holdfast/engine";
import { identifierIn, partitionKeys } from "../../packages/redis/src/connection/keys.ts";
import {
  readPartitionHead,
  readRecordHeader,
  recordHeaderLength,
} from "../../packages/redis/src/connection/record-header.ts";
import { joinAll } from "../../packages/regions/src/join/join.ts";
import { Violation } from "./checker.ts";
import { instance } from "./client.ts";
import { noticedMs } from "./level-checker.ts";
import { bytesOf, lookAt, operationsIn } from "./look.ts";
import type { SimNode } from "./node.ts";
import type { Member } from "./store/member.ts";
import type { World } from "./world.ts";

/** The only partition that clients' objects are in. */
const partition = partitionOf(instance);
const { head, record } = partitionKeys(partition);
/** An identifier follows a record's prefix. */
const idLength = 16;
const tagLength = 16;

/** Up to where the changes of a region were read: which process numbers them, and the last number. */
export interface Mark {
  readonly replicationId: string;
  readonly number: number;
}

/** What the other region had before a resync was asked for. */
interface Before extends Mark {
  /** The agreed operations that held records there alone. */
  readonly operations: ReadonlySet<string>;
  readonly atMs: number;
}

/** A leader waits so long for agreed operations that are under way; after that it calls its store level. */
const underWayMaxMs = 15_000;

/** Checks that a region has what its leader says that it has read from the other region. */
export class CatchUpChecker {
  readonly #world: World;
  /** Region, its store's losses and the process that numbers the other one's changes → the last number that was checked. */
  readonly #checked = new Map<string, number>();
  /** Region and its store → what the other region had before each resync was asked for, by the number of the request. */
  readonly #asked = new Map<string, Map<number, Before>>();

  constructor(world: World) {
    this.#world = world;
  }

  /** Up to where the other region's store has covered its changes at this moment, and what holds records there. */
  mark({ region }: SimNode): Before | undefined {
    const primary = this.#elsewhere(region);
    if (primary === undefined) return undefined;
    const own = operationsIn(this.#world.group(region).primary);
    const operations = new Set([...operationsIn(primary)].filter((each) => !own.has(each)));
    const number = headOf(primary)?.covered ?? 0;
    return { replicationId: processOf(primary), number, operations, atMs: this.#nowMs };
  }

  /** A pull has ended with nothing left. Where nothing was new, it did not ask the own store, which may have been lost by then. */
  pulled(node: SimNode, { replicationId, numbers }: StorePosition): void {
    const { lostMs } = this.#world.group(node.region);
    if (this.#nowMs - lostMs < noticedMs) return;
    const number = numbers[partition] ?? 0;
    this.#require(node, { replicationId, number }, "has pulled everything, and lacks");
  }

  /** A leader has saved up to where it has read. */
  saved(node: SimNode, of: number, mark: Mark): void {
    if (of === partition) this.#require(node, mark, "has saved a cursor that is past");
  }

  /** A node has asked for a resync; `before` is what the other region had before that. */
  asked({ region, own }: SimNode, request: number, before: Before | undefined): void {
    if (before === undefined) return;
    const key = `${region} ${own?.storeId}`;
    const requests = this.#asked.get(key) ?? new Map<number, Before>();
    this.#asked.set(key, requests.set(request, before));
  }

  /** A leader tells its nodes that the store has everything that was there before a request. */
  reached(node: SimNode, reached: number): void {
    const requests = this.#asked.get(`${node.region} ${node.own?.storeId}`);
    for (const [request, before] of requests ?? []) {
      if (request > reached) continue;
      requests?.delete(request);
      this.#require(node, before, "calls its store level, which lacks");
      this.#requireOver(node, before);
    }
  }

  /** No agreed operation from before still holds records in the other region alone: the own store may have lost its reservation. */
  #requireOver(node: SimNode, { operations, atMs }: Before): void {
    const theirs = this.#elsewhere(node.region);
    if (theirs === undefined || !this.#applies(node)) return;
    if (this.#nowMs - atMs >= underWayMaxMs) return;
    const own = operationsIn(this.#world.group(node.region).primary);
    const left = [...operationsIn(theirs)].filter((each) => operations.has(each) && !own.has(each));
    if (left.length === 0) return;
    const what = "calls its store level while the other region alone has the reservation of";
    throw new Violation(`${node.machine.name} ${what} ${left.join()}`);
  }

  get #nowMs(): number {
    return this.#world.scheduler.nowMs;
  }

  /** The own store has each record that the other one changed up to there, or something that contains it. */
  #require(node: SimNode, { replicationId, number }: Mark, what: string): void {
    const { region } = node;
    const theirs = this.#elsewhere(region);
    if (theirs === undefined || !this.#applies(node) || processOf(theirs) !== replicationId) return;
    const group = this.#world.group(region);
    const key = `${region} ${group.losses} ${replicationId}`;
    const from = this.#checked.get(key) ?? 0;
    if (number <= from) return;
    const lacking = this.#lacking(group.primary, theirs, from, number);
    if (lacking !== undefined) {
      const other = this.#world.groups.find((each) => each !== group)?.region;
      const where = `as region ${other} has it, which numbered the change ${lacking.number} of ${number}`;
      throw new Violation(`${node.machine.name} ${what} ${lacking.id}, ${where}`);
    }
    this.#checked.set(key, number);
  }

  #lacking(
    own: Member,
    theirs: Member,
    from: number,
    upTo: number,
  ): { readonly id: string; readonly number: number } | undefined {
    const keyLength = record.length + idLength;
    for (const key of theirs.redis.data.keys()) {
      if (key.length !== keyLength || !key.startsWith(record)) continue;
      const text = theirs.redis.data.text(key) ?? "";
      const header = readRecordHeader(Buffer.from(text.slice(0, recordHeaderLength), "latin1"));
      const number = header?.changed ?? 0;
      if (number <= from || number > upTo) continue;
      // The tag is what a value begins with.
      const mine = own.redis.data.text(key);
      if (mine?.slice(0, tagLength) === text.slice(0, tagLength)) continue;
      const id = identifierIn(Buffer.from(key.slice(record.length), "latin1"));
      if (!this.#world.older.has(id) && !contains(own, theirs, id)) return { id, number };
    }
    return undefined;
  }

  #elsewhere(region: string): Member | undefined {
    return this.#world.groups.find((group) => group.region !== region)?.primary;
  }

  /** Whether a region must have everything, and the region's store is the one that the node uses. */
  #applies({ isElsewhere, own }: SimNode): boolean {
    const { checker, damaged, groups, older, order } = this.#world;
    if (isElsewhere || own === undefined || own.doubted()) return false;
    // Nodes pass over what they remember to be newer than an old copy has it, and take nothing else for that.
    if (damaged > 0 || groups.some(({ region }) => older.has(region))) return false;
    return !checker.excusesAlone && order?.hasRevived !== true;
  }
}

/** The name of the process that numbers the changes in a member's data. */
function processOf(member: Member): string {
  return `${headOf(member)?.storeId}-${member.runId}`;
}

function headOf({ redis }: Member): ReturnType<typeof readPartitionHead> {
  const text = redis.data.text(head);
  return text === undefined ? undefined : readPartitionHead(Buffer.from(text, "latin1"));
}

/** Whether a copy adds nothing to the own one. One that cannot be read, or that contradicts the own one, is not taken. */
function contains(own: Member, theirs: Member, id: string): boolean {
  const copy = lookAt(theirs, instance, id)?.object;
  if (copy === undefined || copy.instance !== instance) return true;
  const mine = lookAt(own, instance, id)?.object;
  if (mine === undefined && bytesOf(own, instance, id) !== undefined) return true;
  const joined = joinAll([...(mine ? [mine] : []), copy]);
  if (joined?.kind !== "joined") return true;
  return mine !== undefined && recordTag(joined.object) === recordTag(mine);
}
