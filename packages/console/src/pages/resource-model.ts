import { AdminProblem } from "@holdfast/admin/errors";
import { signal } from "@preact/signals";
import { call, callEvery, followed, hostOf } from "../base/api.ts";
import { type OperationName, operations } from "../base/contract.ts";
import { regions } from "../base/known-regions.ts";
import { go, link, type Place, place } from "../base/router.ts";
import { type Action, actionText } from "../parts/action-model.ts";
import { messageOf } from "../parts/notices.tsx";
import type { Page } from "./pages.ts";

/** A thing or a row as the service answered it. */
export type Item = Readonly<Record<string, unknown>>;
/** Parameters of a path. */
export type Params = Readonly<Record<string, string>>;

/** What was done last, and at which page a person reads it. */
export const said = signal({ text: "", path: "" });

/** The most rows that a list takes in by itself. */
const liveMax = 500;

/** Whether new events are added as they happen, and since when. */
export interface Live {
  readonly isLive: boolean;
  /** A point in time by the browser's clock. */
  readonly since: string;
}

/** What a page shows: a list, or one thing. */
export class ResourceModel {
  readonly items = signal<readonly Item[] | undefined>(undefined);
  readonly thing = signal<Item | undefined>(undefined);
  /** What the service answered in addition to the rows. */
  readonly beside = signal<Item>({});
  /** Where the next page of the list begins. */
  readonly next = signal<string | undefined>(undefined);
  readonly error = signal<unknown>(undefined);
  /** Why events of a region, or what nodes would answer, are not in the list. */
  readonly missing = signal("");
  /** Undefined until the first connection has begun, or failed; and on pages that do not grow by themselves. */
  readonly live = signal<Live | undefined>(undefined);
  /** Whether older rows, and the way to them, were given up for those that came live. */
  readonly isCut = signal(false);
  /** Whether an answer is on its way. */
  readonly busy = signal(false);
  /** What a person has begun here. */
  readonly action = signal<Action | undefined>(undefined);
  readonly #page: Page;
  readonly #params: Params;
  readonly #query: Place["query"];
  /** Where the page is. */
  readonly #path = place.value.path;
  /** What came live since the newest reading of the list began: its answer may not have it. */
  #fresh: readonly Item[] = [];
  /** Counts readings: only the answer of the newest one is shown. */
  #turn = 0;

  constructor(page: Page, params: Params, query: Place["query"]) {
    this.#page = page;
    this.#params = params;
    this.#query = query;
  }

  /** Reads the page; with a cursor, adds the rows that follow. */
  async load(cursor?: string): Promise<void> {
    this.#turn += 1;
    const turn = this.#turn;
    this.busy.value = true;
    if (cursor === undefined) this.#fresh = [];
    const { ofNodes } = this.#page;
    try {
      const show = ofNodes === undefined ? await this.#read(cursor) : await this.#askNodes(ofNodes);
      if (turn !== this.#turn) return;
      show();
      this.error.value = undefined;
    } catch (error) {
      if (turn === this.#turn) this.error.value = error;
    } finally {
      if (turn === this.#turn) this.busy.value = false;
    }
  }

  /** Asks the service; what comes back shows its answer. */
  async #read(cursor: string | undefined): Promise<() => void> {
    const { reads } = this.#page;
    const isPaged = operations[reads].query?.properties?.["cursor"] !== undefined;
    const query = cursor === undefined ? this.#query : { ...this.#query, cursor };
    try {
      const answer = await call(reads, { params: this.#params, ...(isPaged && { query }) });
      return () => this.#show(answer, cursor);
    } catch (error) {
      const isAbsent = error instanceof AdminProblem && error.code === "notFound";
      if (!isAbsent || this.#page.mayBeAbsent !== true) throw error;
      const { instance } = this.#params;
      // Where the instance itself is missing, this says so.
      if (instance !== undefined) await call("readInstance", { params: { instance } });
      return () => this.#show({ items: [] }, undefined);
    }
  }

  /** Asks every node, and says what may be missing: nodes without an answer, and regions without a row. */
  async #askNodes(rowsOf: NonNullable<Page["ofNodes"]>): Promise<() => void> {
    const { answers, faults } = await callEvery(this.#page.reads, { params: this.#params });
    const rows = rowsOf(answers, Date.now());
    // Rows of nodes have no region.
    const shown = new Set<unknown>(rows.map(({ region }) => region));
    const names = shown.has(undefined) ? [] : regions.peek();
    const absent = names.filter((region) => !shown.has(region));
    const missing = [
      ...faults.map(
        ({ at, error }) => `${hostOf(at)} gave no answer of its own (${messageOf(error)}).`,
      ),
      ...absent.map(
        (region) =>
          `No node of region ${region} has answered: admin.console.nodes names the nodes that are asked.`,
      ),
    ].join(" ");
    return () => {
      this.items.value = rows;
      this.missing.value = missing;
    };
  }

  /** Adds events to the top of the list as they happen, until `ending` is aborted or the service refuses. */
  async follow(ending: AbortSignal): Promise<void> {
    // Events of a time that is over do not happen now.
    if (this.#query["to"] !== undefined) return;
    const { from: _, to: __, limit: ___, region, ...query } = this.#query;
    let heard = false;
    const tell = (isLive: boolean) => {
      if (ending.aborted) return;
      this.#setLive(isLive);
      // A stream continues behind its last event; without one, what happened before it began is not in it.
      if (isLive && !heard) void this.load();
    };
    try {
      for await (const event of followed("followEvents", { query }, ending, tell)) {
        heard = true;
        if (region === undefined || event["region"] === region) this.#add(event);
      }
    } catch (error) {
      if (ending.aborted) return;
      this.#setLive(false);
      this.error.value = error;
    }
  }

  /** Begins an operation on what the page shows, or on one of its rows. */
  begin(
    name: OperationName,
    row?: { readonly item: Item; readonly params: Params; readonly given?: Item | undefined },
  ): void {
    said.value = { text: "", path: "" };
    const thing = row?.item ?? this.thing.value;
    const params = row?.params ?? this.#params;
    const read = (thing ?? {}) as Readonly<Record<string, string>>;
    const { name: text, id, subject, region } = read;
    const own = operations[name].params.includes("key") ? id : (text ?? id);
    // What is the region's own is done at the node that was read, although another one may be asked by then.
    const at = this.#page.ofNodes === undefined ? undefined : read["at"];
    const where = at === undefined ? undefined : `region ${region}`;
    const target = own ?? params["instance"] ?? subject ?? where ?? "";
    const given = row?.given === undefined ? {} : { given: row.given };
    this.action.value = { name, params, thing, target, at, ...given };
  }

  /**
   * Says what was done, and in which regions it is not yet; then reads the page again, or leaves what is gone. The person
   * may be at another page by then, which stays.
   */
  done({ name }: Action, answer: Item): void {
    const regions = (answer["pending"] ?? answer["regions"] ?? {}) as Item;
    const late = Object.entries(regions).flatMap(([region, state]) =>
      state === "pending" ? [region] : [],
    );
    const where = late.length === 0 ? "" : ` Region ${late.join(" and ")} does not have it yet.`;
    const isGone = this.thing.value !== undefined && operations[name].method === "DELETE";
    const next = isGone ? this.#path.replace(/\/[^/]+$/, "") : this.#path;
    const what = answer["state"] === "waiting" ? "ordered" : "done";
    said.value = { text: `${actionText(name)}: ${what}.${where}`, path: next };
    if (place.value.path !== this.#path) return;
    if (isGone) go(link(next));
    else void this.load();
  }

  #setLive(isLive: boolean): void {
    if (this.live.peek()?.isLive === isLive) return;
    this.live.value = { isLive, since: new Date().toISOString() };
  }

  /** Takes an event into the list; the rows that a person asked for stay until too many have come live. */
  #add(event: Item): void {
    this.#fresh = eachOnce([event, ...this.#fresh]);
    const items = eachOnce([event, ...(this.items.peek() ?? [])]);
    if (this.#fresh.length <= liveMax) {
      this.items.value = items;
      return;
    }
    this.#fresh = this.#fresh.slice(0, liveMax);
    this.items.value = items.slice(0, liveMax);
    // What the cursor leads to, or is on its way, no longer follows the last row.
    this.next.value = undefined;
    this.isCut.value = true;
    this.#turn += 1;
    this.busy.value = false;
  }

  #show(answer: Item, cursor: string | undefined): void {
    if (!Array.isArray(answer["items"])) {
      this.thing.value = answer;
      return;
    }
    const { items, ...beside } = answer;
    const got = items as readonly Item[];
    this.beside.value = beside;
    const ids = new Set(got.map(({ id }) => id));
    const before =
      cursor === undefined
        ? this.#fresh.filter(({ id }) => !ids.has(id))
        : (this.items.peek() ?? []);
    const all = [...before, ...got];
    this.items.value = this.#page.live === true ? eachOnce(all) : all;
    this.isCut.value = false;
    this.next.value = answer["next"] as string | undefined;
    const missing = (answer["missing"] ?? []) as readonly Item[];
    this.missing.value = missing
      .map(({ region, reason }) => `The events of region ${region} are missing: ${reason}.`)
      .join(" ");
  }
}

/** Each event once: the service tells of its begin and of its outcome, whose identifiers differ in the suffix. */
function eachOnce(entries: readonly Item[]): readonly Item[] {
  const events = new Map<string, Item>();
  for (const entry of entries) {
    const key = String(entry["id"] ?? "").replace(/-[po]$/, "");
    const known = events.get(key);
    if (known === undefined || known["outcome"] === "pending") events.set(key, entry);
  }
  return [...events.values()];
}
