import { ConnectionError, type KmipClient, KmipClientError } from "@holdfast/client";
import { attributeItem } from "@holdfast/kmip";
import { until } from "@holdfast/testing";
import type { Item } from "@holdfast/ttlv";
import { expect, test } from "vitest";
import { judge } from "../linearizability/judge.ts";
import { seeded } from "../support/random.ts";
import { valuesIn } from "./attributes.ts";
import { calm } from "./calm.ts";
import type { Clients, Endpoint, Outcome } from "./clients.ts";
import { batchOutcome, Edits } from "./edits.ts";
import { type Entry, History } from "./history.ts";
import { lookAnswer } from "./look-answer.ts";
import { began } from "./moment.ts";

/** A promise that a server breaks. */
type Flaw = "add" | "set" | "delete" | "undo" | "miss" | "stray" | "stranger";

interface Kept {
  readonly groups: Set<string>;
  note: string | undefined;
}

/** A change of an attribute, as a request has it. */
interface Change {
  readonly uniqueIdentifier: string;
  readonly newAttribute?: { readonly item: Item };
  readonly currentAttribute?: { readonly item: Item };
}

const success = { status: "Success" } as const;
const failure = { status: "OperationFailed", reason: "AttributeInstanceNotFound" } as const;

/** A server in memory, over connections that lose some answers, done or not. */
class Flaky {
  readonly objects = new Map<string, Kept>();
  readonly #flaw: Flaw | undefined;
  readonly #random = seeded(7);

  constructor(flaw?: Flaw) {
    this.#flaw = flaw;
  }

  async #ask<Answer>(work: () => Answer): Promise<Answer> {
    const dice = this.#random();
    if (dice < 0.03) throw new ConnectionError("lost", "no answer");
    const answer = work();
    if (dice > 0.97) throw new ConnectionError("lost", "no answer");
    return answer;
  }

  #of(id: string): Kept {
    const found = this.objects.get(id);
    if (found === undefined) throw new Error(`no ${id}`);
    return found;
  }

  #make(operation: string, { uniqueIdentifier, newAttribute, currentAttribute }: Change): boolean {
    const kept = this.#of(uniqueIdentifier);
    const item = newAttribute?.item ?? currentAttribute?.item;
    const value = String(item?.value);
    if (operation === "AddAttribute") {
      if (this.#flaw !== "add" || this.#random() < 0.5) kept.groups.add(value);
    } else if (operation === "DeleteAttribute") {
      if (!kept.groups.has(value)) return false;
      if (this.#flaw !== "delete") kept.groups.delete(value);
    } else if (this.#flaw !== "set") kept.note = value;
    return true;
  }

  #change(operation: string) {
    return (change: Change) =>
      this.#ask(() => {
        if (!this.#make(operation, change)) {
          throw new KmipClientError({ operation: "DeleteAttribute", message: "", ...failure });
        }
      });
  }

  #answer({ operation, payload }: { readonly operation: string; readonly payload: Change }) {
    return lookAnswer(operation, { state: "Active", ...this.#of(payload.uniqueIdentifier) });
  }

  #batch(items: readonly { readonly operation: string; readonly payload: Change }[]) {
    const before = new Map(
      [...this.objects].map(([id, { groups, note }]) => [id, { groups: new Set(groups), note }]),
    );
    const isDone = items.map(({ operation, payload }) => this.#make(operation, payload));
    if (isDone.every(Boolean)) return { items: isDone.map(() => success) };
    if (this.#flaw !== "undo") {
      for (const [id, kept] of before) Object.assign(this.#of(id), kept);
    }
    const undone = { status: "OperationUndone" } as const;
    return { items: isDone.map((one) => (one ? undone : failure)) };
  }

  #search(wanted: string) {
    const found = [...this.objects].filter(([, { groups }]) => groups.has(wanted));
    const ids = found.map(([id]) => id);
    if (this.#flaw === "miss") return [];
    if (this.#flaw === "stray") return [...ids, ...this.objects.keys()];
    return this.#flaw === "stranger" ? [...ids, "stranger"] : ids;
  }

  readonly client = {
    version: "1.4",
    addAttribute: this.#change("AddAttribute"),
    setAttribute: this.#change("SetAttribute"),
    modifyAttribute: this.#change("ModifyAttribute"),
    deleteAttribute: this.#change("DeleteAttribute"),
    locate: ({ attributes }: { readonly attributes: readonly { readonly item: Item }[] }) =>
      this.#ask(() => ({ uniqueIdentifiers: this.#search(String(attributes[0]?.item.value)) })),
    request: (
      _: string,
      items: readonly { readonly operation: string; readonly payload: Change }[],
      { header }: { readonly header: { readonly batchErrorContinuationOption: string } },
    ) =>
      this.#ask(() =>
        header.batchErrorContinuationOption === "Undo"
          ? this.#batch(items)
          : { items: items.map((item) => this.#answer(item)) },
      ),
  };
}

const endpoint: Endpoint = { node: "a1", region: "a", target: { host: "", port: 0 } as never };

/** Clients of the server in memory; all that the load needs of them. */
function clientsOf(server: Flaky): Clients {
  const steady = async <Answer>(
    _: string,
    __: Endpoint,
    work: (client: KmipClient) => Promise<Answer>,
  ): Promise<Outcome<Answer>> => {
    const moment = began(endpoint);
    try {
      const answer = await work(server.client as unknown as KmipClient);
      return { kind: "done", answer, moment: moment() };
    } catch (error) {
      if (error instanceof KmipClientError) {
        return { kind: "denied", moment: moment(), reason: error.reason ?? "" };
      }
      if (error instanceof ConnectionError) return { kind: "failed", moment: moment() };
      throw error;
    }
  };
  return { next: () => endpoint, steady } as unknown as Clients;
}

/** Runs the clients until each kind of request was done often, and decides what they noted. */
async function judged(server: Flaky) {
  const history = new History();
  const finished: Entry[] = [];
  for (let at = 0; at < 30; at += 1) {
    const id = `key ${at}`;
    const now = performance.now();
    const moment = { node: "a1", region: "a", beganMs: now, endedMs: now } as const;
    const entry = history.created(id, moment);
    entry.tried = 4;
    history.recorder.outcome(
      "first",
      id,
      { operation: "Create" },
      { kind: "done", answer: id, moment },
    );
    history.recorder.outcome(
      "first",
      id,
      { operation: "Activate" },
      { kind: "done", answer: id, moment },
    );
    server.objects.set(id, { groups: new Set(), note: undefined });
    finished.push(entry);
  }
  const settings = { count: 6, seed: 1, restMs: 0 };
  const edits = new Edits(clientsOf(server), history, { finished, ending: [] }, settings);
  const found = () => history.recorder.history(calm);
  await until("each kind of request", () => {
    const { operations } = found();
    const often = (name: string, outcome: string) =>
      operations.filter((one) => one.operation === name && one.outcome === outcome).length > 20;
    const names = ["AddAttribute", "SetAttribute", "DeleteAttribute", "Locate", "GetAttributes"];
    return names.every((name) => often(name, "done")) && often("AddAttribute", "refused");
  });
  await edits.stop();
  const { violations, undecided } = judge(found());
  return [...violations, ...undecided, ...history.judge(calm).map(({ kind }) => kind)];
}

test("what clients note of a server that keeps its promises is linearizable", async () => {
  expect(await judged(new Flaky())).toEqual([]);
});

test.each<readonly [Flaw, RegExp]>([
  ["add", /no order explains (GetAttributes|Locate)/],
  ["set", /no order explains GetAttributes/],
  ["delete", /no order explains (GetAttributes|Locate)/],
  ["undo", /GetAttributes/],
  ["miss", /no order explains Locate Object Group .*: not found/],
  ["stray", /no order explains Locate Object Group .*: found/],
  ["stranger", /wrongSearch/],
])("a broken promise is found: %s", async (flaw, expected) => {
  expect((await judged(new Flaky(flaw))).join("\n")).toMatch(expected);
});

test("a batch with Undo is done, or none of it is, or it is not known", () => {
  const done = { operation: "AddAttribute", status: "Success" } as never;
  const refused = { ...failure, operation: "DeleteAttribute" } as never;
  const unsure = { ...failure, operation: "AddAttribute", reason: "GeneralFailure" } as never;
  const of = (items: readonly never[], isUndone: boolean) =>
    batchOutcome(items, 2, isUndone).outcome;
  expect(of([done, done], false)).toBe("done");
  expect(of([done, refused], true)).toBe("refused");
  expect(of([done, refused], false)).toBe("unknown");
  expect(of([unsure], true)).toBe("unknown");
});

test("shows every value of the attributes that change", () => {
  const attributes = ["g", "h"].map((group) => ({ item: attributeItem("ObjectGroup", group) }));
  expect(valuesIn({ uniqueIdentifier: "k", attributes } as never)).toEqual({
    "Object Group": ["g", "h"],
    "Contact Information": [],
  });
});
