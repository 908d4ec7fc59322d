import {
  CountsByInstance,
  type InstanceCounts,
  isCorrupt,
  partitionOf,
  type Recount,
  type State,
  type StateCounts,
  type StoredObject,
  stateCounts,
  stateValues,
} from "@holdfast/engine";
import type { Argument } from "../connection/command-line.ts";
import { identifierIn, partitionKeys } from "../connection/keys.ts";
import { changedOf } from "../connection/record-header.ts";
import { Answers } from "../session/answers.ts";
import type { StoreContext } from "../session/primary-session.ts";
import type { PrimarySessions } from "../session/primary-sessions.ts";
import { monthDigits, stateDigit } from "./commit-plan.ts";

/** Most records, and most bytes, that one step looks at. */
const recordsPerStep = 128;
const bytesPerStep = 1 << 18;

/** States by the digit that the store counts them by. */
export const stateOfDigit: ReadonlyMap<string, State> = new Map(
  Object.entries(stateValues).map(([state, value]) => [String(value), state as State]),
);

/** State, month and instance. */
const fieldForm = /^(\d)(\d{4})(.*)$/s;

/** The progress of a recount. */
interface Place {
  /** Empty before the recount begins. */
  readonly at: string;
}

/** How many objects each instance has, by state and month: numbers that `commit.lua` keeps. */
export class RedisStateCounts {
  readonly #context: StoreContext;
  readonly #sessions: PrimarySessions;
  readonly #answers: Answers;
  /** As far as this process knows; another one may be further. */
  readonly #places = new Map<number, Place>();

  constructor(context: StoreContext, sessions: PrimarySessions) {
    this.#context = context;
    this.#sessions = sessions;
    this.#answers = new Answers(context, sessions);
  }

  /** See `OwnStore.counts`. */
  readonly counts = async (instance: string): Promise<StateCounts | undefined> => {
    const all = await this.countsIn(partitionOf(instance));
    return all && (all.get(instance)?.states ?? stateCounts());
  };

  /** See `OwnStore.countsIn`. */
  readonly countsIn = async (
    partition: number,
  ): Promise<ReadonlyMap<string, InstanceCounts> | undefined> => {
    const { head, counters, states } = partitionKeys(partition);
    const answer = await this.#answers.ask("counts", [head, counters, states], []);
    await this.#answers.cover(answer.session, partition, answer.head, answer.number);
    const [counted, list] = answer.rest as [number, Buffer[]];
    if (counted !== 1) return undefined;
    const found = new CountsByInstance();
    for (let at = 0; at + 1 < list.length; at += 2) {
      const [, digit = "", month = "", instance = ""] = fieldForm.exec(String(list[at])) ?? [];
      const state = stateOfDigit.get(digit);
      const count = Number(list[at + 1]);
      if (state === undefined || !Number.isSafeInteger(count) || count < 0) return undefined;
      found.add({ instance, state, month: Number(month) }, count);
    }
    return found.all;
  };

  /** See `OwnStore.recount`. */
  readonly recount = async (partition: number): Promise<Recount> => {
    const { at } = this.#places.get(partition) ?? { at: "" };
    const keys = partitionKeys(partition);
    const page = await this.#page(partition, at === "" ? "0" : at);
    const session = this.#sessions.now("write") ?? (await this.#sessions.require("write"));
    const script = this.#context.scripts.recount;
    const scriptKeys = [keys.head, keys.counters, keys.changes, keys.states];
    const args = [at, String(page.upTo), ...page.lines];
    const reply = await session.groupCommit.submit(script, partition, scriptKeys, args);
    if (reply.result === "conflict") {
      // Another leader continued the recount, or a record was repaired.
      this.#places.set(partition, { at: String(reply.rest[0]) });
      return { done: 0, left: 1, wrong: 0 };
    }
    const [whole, wrong] = reply.rest.map(Number);
    this.#places.set(partition, { at: whole === 1 ? "" : String(page.upTo) });
    const left = whole === 1 ? 0 : Math.max(1, reply.number - page.upTo);
    return { done: page.lines.length / 3, left, wrong: wrong ?? 0 };
  };

  /**
   * Some changed records: number, identifier and tag, state and instance of each. Damaged records
   * are left out.
   */
  async #page(partition: number, after: string) {
    const { head, counters, changes, record } = partitionKeys(partition);
    const args = [after, String(recordsPerStep), String(bytesPerStep), record];
    const answer = await this.#answers.ask("changes", [head, counters, changes], args);
    await this.#answers.cover(answer.session, partition, answer.head, answer.number);
    const { storageKeys } = answer.session;
    const entries = answer.rest[1] as Buffer[];
    const lines: Argument[] = [];
    for (let at = 0; at + 1 < entries.length; at += 2) {
      const [id, value] = [entries[at], entries[at + 1]];
      if (id === undefined || value === undefined) continue;
      const place = { partition, identifier: identifierIn(id) };
      const open = () => this.#context.records.open(storageKeys, place, value);
      lines.push(...lineOf(id, value, open));
    }
    return { upTo: answer.number, lines };
  }
}

function lineOf(id: Buffer, value: Buffer, open: () => StoredObject): Argument[] {
  try {
    const { object, tag } = open();
    const state = stateDigit(object);
    const member = Buffer.concat([id, Buffer.from(tag, "hex"), Buffer.from(state)]);
    return [String(changedOf(value)), member, `${state}${monthDigits(object)}${object.instance}`];
  } catch (error) {
    // Otherwise a record of another release's format would be left out of the counts.
    if (isCorrupt(error)) return [];
    throw error;
  }
}
