import { seeded } from "../support/random.ts";
import {
  type ChangeOperation,
  type ClientHistory,
  type Operation,
  readRecord,
} from "./operation.ts";

const regions = ["a", "b"] as const;
type Region = (typeof regions)[number];
type Change = Pick<Extract<ChangeOperation, { value: string }>, "operation" | "value"> & {
  /** Of two that set a value, the later one stays. */
  readonly stampMs: number;
};

/** One region's copy of the object. */
interface Copy {
  readonly groups: Set<string>;
  note: { readonly value: string; readonly stampMs: number } | undefined;
  /** What the other region did during a cut. */
  readonly missed: Change[];
}

const groups = "Object Group";
const note = "Contact Information";
const everyMs = 10;
/** Requests under way at a time. */
const together = 8;
/** Cuts, each as long as the time before it. */
const cuts = 15;
/** A change without an answer happens within so many of the next requests, or never. */
const lateMax = 40;

/**
 * The history of one object that many clients change in two regions, which are often cut off from each other and are
 * the same only in its end: many changes have no clear outcome, or come to the other region at an unknown time. It keeps
 * every promise; it is the same for a seed.
 */
export function busyHistory(seed: number, length: number): ClientHistory {
  return new Busy(seed).run(length);
}

class Busy {
  readonly #random: () => number;
  readonly #copies: Record<Region, Copy> = { a: newCopy(), b: newCopy() };
  readonly #operations: Operation[] = [];
  readonly #late: { readonly at: number; readonly region: Region; readonly change: Change }[] = [];
  /** Values that clients wanted in the group, and have not deleted. */
  readonly #wanted: string[] = [];
  #atMs = 0;
  #texts = 0;
  #isCut = false;
  /** Whether nobody knows which store serves requests. */
  #isVague = false;

  constructor(seed: number) {
    this.#random = seeded(seed);
  }

  run(length: number): ClientHistory {
    this.#note("a", { operation: "Create", outcome: "done", acknowledged: regions });
    this.#rest();
    const phase = length / (2 * cuts + 1);
    for (let at = 0; at < length; at += 1) {
      this.#cutOrHeal(Math.floor(at / phase) % 2 === 1);
      this.#atMs += everyMs;
      for (const one of this.#late.filter((late) => late.at <= at)) this.#arrive(one);
      this.#one(this.#pick(regions), at);
    }
    this.#cutOrHeal(false);
    for (const one of [...this.#late]) this.#arrive(one);
    this.#rest();
    const events = [{ event: "converged", at: this.#atMs }] as const;
    this.#rest();
    for (const region of regions) this.#look(region);
    return { regions, operations: this.#operations, events };
  }

  #one(region: Region, at: number): void {
    const dice = this.#random();
    if (dice < 0.4) this.#look(region);
    else if (dice < 0.55) this.#search(region);
    else if (dice < 0.71) {
      const value = this.#text();
      this.#wanted.push(value);
      this.#change(region, at, "AddAttribute", value);
    } else if (dice < 0.9) this.#change(region, at, "SetAttribute", this.#text());
    else this.#delete(region, at);
  }

  #look(region: Region): void {
    const copy = this.#copies[region];
    const attributes = {
      [groups]: [...copy.groups],
      [note]: copy.note === undefined ? [] : [copy.note.value],
    };
    this.#note(region, { operation: "GetAttributes", outcome: "done", attributes });
  }

  #search(region: Region): void {
    const value = this.#pick([...this.#wanted, "v0"]);
    const found = this.#copies[region].groups.has(value);
    const searched = { operation: "Locate", attribute: groups, value };
    this.#note(region, { ...searched, outcome: "done", found });
  }

  #delete(region: Region, at: number): void {
    const value = this.#wanted.shift();
    if (value === undefined) return;
    if (this.#copies[region].groups.has(value)) {
      this.#change(region, at, "DeleteAttribute", value);
      return;
    }
    const deleted = { operation: "DeleteAttribute", attribute: groups, value };
    this.#note(region, { ...deleted, outcome: "refused", reason: "AttributeInstanceNotFound" });
  }

  #change(region: Region, at: number, operation: Change["operation"], value: string): void {
    const change = { operation, value, stampMs: this.#atMs };
    const attribute = operation === "SetAttribute" ? note : groups;
    const asked = { operation, attribute, value };
    if (this.#random() < 0.15) {
      const late = at + Math.floor(this.#random() * lateMax);
      if (this.#random() < 0.7) this.#late.push({ at: late, region, change });
      this.#note(region, { ...asked, outcome: "unknown" });
      return;
    }
    this.#make(region, change);
    const alone = this.#isVague ? [] : [region];
    const acknowledged = this.#isCut ? alone : regions;
    const tries = this.#isVague && operation === "SetAttribute" ? { tries: 2 } : {};
    this.#note(region, { ...asked, outcome: "done", acknowledged, ...tries });
  }

  #make(region: Region, change: Change): void {
    const other = this.#copies[region === "a" ? "b" : "a"];
    apply(this.#copies[region], change);
    if (this.#isCut) other.missed.push(change);
    else apply(other, change);
  }

  #arrive(late: { readonly region: Region; readonly change: Change }): void {
    this.#late.splice(this.#late.indexOf(late as never), 1);
    this.#make(late.region, late.change);
  }

  #cutOrHeal(isCut: boolean): void {
    if (isCut === this.#isCut) return;
    this.#isCut = isCut;
    this.#isVague = isCut && this.#random() < 0.5;
    if (isCut) return;
    for (const copy of Object.values(this.#copies)) {
      for (const change of copy.missed.splice(0)) apply(copy, change);
    }
  }

  /** Nothing is under way any more. */
  #rest(): void {
    this.#atMs += 2 * together * everyMs;
  }

  #note(region: Region, content: Readonly<Record<string, unknown>>): void {
    const call = this.#atMs - this.#random() * everyMs * together;
    const end = this.#atMs + this.#random() * everyMs * together;
    const isLost = content["outcome"] === "unknown" && this.#random() < 0.5;
    const record = {
      object: "key",
      client: `client ${this.#operations.length + 1}`,
      node: `${region}1`,
      region,
      ...(this.#isVague ? {} : { store: region }),
      call,
      ...(isLost ? {} : { return: end }),
      ...content,
    };
    this.#operations.push(readRecord(record) as Operation);
  }

  #text(): string {
    this.#texts += 1;
    return `v${this.#texts}`;
  }

  #pick<Item>(items: readonly Item[]): Item {
    return items[Math.floor(this.#random() * items.length)] as Item;
  }
}

function newCopy(): Copy {
  return { groups: new Set(), note: undefined, missed: [] };
}

function apply(copy: Copy, { operation, value, stampMs }: Change): void {
  if (operation === "AddAttribute") copy.groups.add(value);
  else if (operation === "DeleteAttribute") copy.groups.delete(value);
  else if (copy.note === undefined || copy.note.stampMs <= stampMs) copy.note = { value, stampMs };
}
