import { seeded } from "../support/random.ts";
import { bits, type Facts, isPermitted, type LifecycleEvent, stateOf } from "./lifecycle.ts";
import { type ClientHistory, type Operation, readRecord, type StoreEvent } from "./operation.ts";

const regions = ["a", "b"] as const;
type Region = (typeof regions)[number];

/** One region's copy of the object. */
interface Copy {
  facts: Facts;
  groups: string[];
  note: { readonly value: string; readonly atMs: number } | undefined;
}

/** What a request is, beside who asked when. */
type Content = Readonly<Record<string, unknown>> & { readonly operation: string };

/** Between two operations; each is under way for up to twice as long. */
const everyMs = 10;
export const object = "key-1";
export const digest = "d1".repeat(32);

/** The history of one object in two regions that keep every promise, with a cut in its middle; the same for a seed. */
export function sampleHistory(seed: number, length = 40): ClientHistory {
  return new Sample(seed).run(length);
}

class Sample {
  readonly #random: () => number;
  readonly #copies: Record<Region, Copy> = { a: newCopy(), b: newCopy() };
  readonly #operations: Operation[] = [];
  readonly #events: StoreEvent[] = [];
  #atMs = 100;
  #isCut = false;
  #texts = 0;

  constructor(seed: number) {
    this.#random = seeded(seed);
  }

  run(length: number): ClientHistory {
    this.#add(this.#pick(regions), { operation: "Create", ...this.#acknowledged("a") });
    for (let at = 0; at < length; at += 1) {
      if (at === Math.floor(length / 3)) this.#isCut = true;
      if (at === Math.floor((length * 2) / 3)) this.#join();
      this.#atMs += everyMs;
      this.#one(this.#pick(regions));
    }
    // Nothing of the history is under way any more.
    this.#atMs += 10 * everyMs;
    for (const region of regions) this.#look(region);
    return { regions, operations: this.#operations, events: this.#events };
  }

  #one(region: Region): void {
    const dice = this.#random();
    if (dice < 0.3) this.#look(region);
    else if (dice < 0.4) this.#get(region);
    else if (dice < 0.45) this.#add(region, { operation: "Locate", outcome: "done", found: true });
    else if (dice < 0.5) this.#search(region);
    else if (dice < 0.6) this.#write(region, "AddAttribute", "Object Group");
    else if (dice < 0.7) this.#write(region, "SetAttribute", "Contact Information");
    else if (dice < 0.75) this.#delete(region);
    else if (dice < 0.85) this.#event(region, "activate", { operation: "Activate" });
    else if (dice < 0.9) this.#revoke(region);
    else this.#event(region, "destroy", { operation: "Destroy" });
  }

  #look(region: Region): void {
    const { facts, groups, note } = this.#copies[region];
    const attributes = {
      "Object Group": groups,
      "Contact Information": note === undefined ? [] : [note.value],
    };
    const state = stateOf(facts);
    this.#add(region, { operation: "GetAttributes", outcome: "done", state, attributes });
  }

  #get(region: Region): void {
    const isGone = (this.#copies[region].facts & bits.destroy) !== 0;
    const answer = isGone
      ? { outcome: "refused", reason: "ObjectDestroyed" }
      : { outcome: "done", digest };
    this.#add(region, { operation: "Get", ...answer });
  }

  /** Searches for a value that was written some time, now or no longer there. */
  #search(region: Region): void {
    const value = `v${1 + Math.floor(this.#random() * (this.#texts + 1))}`;
    const found = this.#copies[region].groups.includes(value);
    const searched = { operation: "Locate", attribute: "Object Group", value };
    this.#add(region, { ...searched, outcome: "done", found });
  }

  #revoke(region: Region): void {
    const compromise = this.#random() < 0.5;
    const event = compromise ? "compromise" : "deactivate";
    this.#event(region, event, { operation: "Revoke", compromise });
  }

  #event(region: Region, event: LifecycleEvent, content: Content): void {
    const { facts } = this.#copies[region];
    if (!isPermitted(facts, event)) {
      this.#add(region, { ...content, outcome: "refused", reason: "WrongKeyLifecycleState" });
      return;
    }
    if (event === "destroy" && this.#isCut) {
      this.#add(region, { ...content, outcome: "unknown" });
      return;
    }
    this.#change(region, content, (copy) => {
      copy.facts |= bits[event];
    });
  }

  #write(region: Region, operation: "AddAttribute" | "SetAttribute", attribute: string): void {
    this.#texts += 1;
    const value = `v${this.#texts}`;
    const atMs = this.#atMs;
    this.#change(region, { operation, attribute, value }, (copy) => {
      if (operation === "AddAttribute") copy.groups = [...copy.groups, value];
      else copy.note = { value, atMs };
    });
  }

  #delete(region: Region): void {
    const [value] = this.#copies[region].groups;
    if (value === undefined || this.#isCut) return;
    const content = { operation: "DeleteAttribute", attribute: "Object Group", value };
    this.#change(region, content, (copy) => {
      copy.groups = copy.groups.filter((one) => one !== value);
    });
  }

  /** Makes a change where it can be made; sometimes the answer is lost, and then it may not have been made either. */
  #change(region: Region, content: Content, make: (copy: Copy) => void): void {
    const isLost = this.#random() < 0.15;
    if (!isLost || this.#random() < 0.5) {
      for (const each of this.#isCut ? [region] : regions) make(this.#copies[each]);
    }
    this.#add(region, {
      ...content,
      ...(isLost ? { outcome: "unknown" } : this.#acknowledged(region)),
    });
  }

  #acknowledged(region: Region) {
    return { outcome: "done", acknowledged: this.#isCut ? [region] : [...regions] };
  }

  #join(): void {
    const { a, b } = this.#copies;
    const groups = [...new Set([...a.groups, ...b.groups])];
    const note = (a.note?.atMs ?? 0) >= (b.note?.atMs ?? 0) ? a.note : b.note;
    for (const copy of [a, b]) Object.assign(copy, { facts: a.facts | b.facts, groups, note });
    this.#isCut = false;
    this.#atMs += 3 * everyMs;
    this.#events.push({ event: "converged", at: this.#atMs });
    this.#atMs += 3 * everyMs;
  }

  #add(region: Region, content: Content): void {
    const call = this.#atMs - this.#random() * everyMs;
    const number = this.#operations.length;
    const isLost = content["outcome"] === "unknown" && this.#random() < 0.5;
    const record = {
      object,
      client: `client ${number % 4}`,
      node: `${region}${1 + (number % 2)}`,
      region,
      store: region,
      call,
      ...(isLost ? {} : { return: this.#atMs + this.#random() * everyMs }),
      ...content,
    };
    this.#operations.push(readRecord(record) as Operation);
  }

  #pick<Item>(items: readonly Item[]): Item {
    return items[Math.floor(this.#random() * items.length)] as Item;
  }
}

function newCopy(): Copy {
  return { facts: 0, groups: [], note: undefined };
}
