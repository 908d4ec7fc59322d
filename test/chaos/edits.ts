import { setTimeout as sleep } from "node:timers/promises";
import type { KmipClient } from "@holdfast/client";
import type { ClientRequestItem, ResponseItem } from "@holdfast/kmip";
import { lookAtAll } from "../support/keys.ts";
import { seeded } from "../support/random.ts";
import {
  type Changing,
  changing,
  changingReferences,
  groupAdded,
  itemOf,
  newText,
  version,
} from "./attributes.ts";
import type { Clients, Endpoint, Outcome } from "./clients.ts";
import type { Entry, History } from "./history.ts";
import type { Asked } from "./recorder.ts";
import { noteLook, type Workload } from "./workload.ts";

/** So many objects get the same group. */
const membersMax = 5;
/** Clients change the latest objects, so that no object's history becomes too long to decide. */
const latest = 500;
/** How often they turn to an object that ends just now: other clients must see its end at one moment. */
const endingShare = 0.25;
/** Clients begin when there are so many objects; on fewer, they would all change the same ones. */
const objectsMin = 20;
const retryMs = 20;
/** So many objects are read with one message of several. */
const together = 8;

/** One request of a client about an object. */
interface Turn {
  readonly client: string;
  readonly entry: Entry;
  readonly endpoint: Endpoint;
}

interface Edit {
  /** How often it is drawn, compared with the others. */
  readonly weight: number;
  readonly run: (edits: Edits, turn: Turn) => Promise<Outcome<unknown> | undefined>;
}

/** What the clients do. */
const editKinds: Readonly<Record<string, Edit>> = {
  look: { weight: 20, run: (edits, turn) => edits.look(turn, 1) },
  "look at several": { weight: 20, run: (edits, turn) => edits.look(turn, together) },
  Locate: { weight: 15, run: (edits, turn) => edits.locate(turn) },
  AddAttribute: { weight: 10, run: (edits, turn) => edits.add(turn) },
  SetAttribute: { weight: 10, run: (edits, turn) => edits.set(turn, "SetAttribute") },
  ModifyAttribute: { weight: 8, run: (edits, turn) => edits.set(turn, "ModifyAttribute") },
  DeleteAttribute: { weight: 7, run: (edits, turn) => edits.remove(turn) },
  "batch with Undo": { weight: 6, run: (edits, turn) => edits.batch(turn, false) },
  "batch that is undone": { weight: 4, run: (edits, turn) => edits.batch(turn, true) },
};

/** Clients that change attributes and search by them, over connections that stay open. */
export class Edits {
  readonly #clients: Clients;
  readonly #history: History;
  readonly #finished: readonly Entry[];
  readonly #ending: readonly Entry[];
  readonly #random: () => number;
  readonly #count: number;
  readonly #loops: readonly Promise<void>[];
  /** Group → the objects that a client wanted in it. */
  readonly #members = new Map<string, Entry[]>();
  /** The groups that a client wanted an object in, and has not deleted. */
  readonly #groups = new WeakMap<Entry, string[]>();
  #open = newText();
  #stopped = false;

  /** `finished` are the objects that their makers have completed, `ending` those that end just now; both change. */
  constructor(
    clients: Clients,
    history: History,
    { finished, ending }: Pick<Workload, "finished" | "ending">,
    {
      count,
      seed,
      restMs,
    }: { readonly count: number; readonly seed: number; readonly restMs: number },
  ) {
    this.#clients = clients;
    this.#history = history;
    this.#finished = finished;
    this.#ending = ending;
    this.#random = seeded(seed);
    this.#count = count;
    this.#loops = Array.from({ length: count }, (_, at) => this.#loop(`client ${at + 1}`, restMs));
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#loops);
  }

  async #loop(client: string, restMs: number): Promise<void> {
    while (!this.#stopped) {
      const entry = this.#any();
      if (entry === undefined || this.#finished.length < objectsMin) {
        await sleep(retryMs);
        continue;
      }
      const edit = drawn(this.#random());
      const endpoint = this.#clients.next(this.#count);
      const outcome = await edit.run(this, { client, entry, endpoint });
      await sleep(outcome?.kind === "failed" ? Math.max(restMs, retryMs) : restMs);
    }
  }

  /** One that ends just now, or any of the latest objects: the later, the more often, so that several clients change one. */
  #any(): Entry | undefined {
    if (this.#ending.length > 0 && this.#random() < endingShare) {
      return this.#ending[Math.floor(this.#random() * this.#ending.length)];
    }
    const count = Math.min(latest, this.#finished.length);
    return this.#finished.at(-1 - Math.floor(this.#random() ** 3 * count));
  }

  /** Reads so many objects with one message. */
  async look({ client, entry, endpoint }: Turn, count: number) {
    const others = Array.from({ length: count - 1 }, () => this.#any() ?? entry);
    const entries = [...new Set([entry, ...others])];
    const ids = entries.map(({ id }) => id);
    const name = count === 1 ? "Get Attributes, Get" : "Get Attributes, Get of several objects";
    const outcome = await this.#clients.steady(name, endpoint, (session) =>
      lookAtAll(session, ids, changingReferences),
    );
    if (outcome.kind !== "done") return outcome;
    for (const [at, one] of entries.entries()) {
      const seen = outcome.answer[at];
      if (seen === undefined) {
        this.#history.violation(
          "wrongAnswer",
          `${one.id} at ${endpoint.node}: no item in the answer`,
        );
        continue;
      }
      noteLook(this.#history, client, one, seen, outcome.moment);
    }
    return outcome;
  }

  add(turn: Turn) {
    const value = this.#groupFor(turn.entry);
    const { asked, send } = groupAdded(turn.entry.id, value);
    return this.#change(turn, "AddAttribute", asked, send);
  }

  set(turn: Turn, name: "SetAttribute" | "ModifyAttribute") {
    const value = newText();
    const request = {
      uniqueIdentifier: turn.entry.id,
      newAttribute: { item: itemOf(changing.note, value) },
    };
    const send = (session: KmipClient) =>
      name === "SetAttribute"
        ? session.setAttribute(request, { version })
        : session.modifyAttribute(request, { version });
    return this.#change(
      turn,
      name,
      { operation: "SetAttribute", attribute: changing.note, value },
      send,
    );
  }

  async remove(turn: Turn) {
    // Once only: whether a second try finds the value depends on the first one.
    const value = this.#groups.get(turn.entry)?.shift();
    if (value === undefined) return undefined;
    const send = (session: KmipClient) =>
      session.deleteAttribute(
        {
          uniqueIdentifier: turn.entry.id,
          currentAttribute: { item: itemOf(changing.group, value) },
        },
        { version },
      );
    return await this.#change(
      turn,
      "DeleteAttribute",
      { operation: "DeleteAttribute", attribute: changing.group, value },
      send,
    );
  }

  /** Two changes in one message with the Undo option; with `isUndone` a third one that the server must refuse. */
  async batch({ client, entry, endpoint }: Turn, isUndone: boolean) {
    const uniqueIdentifier = entry.id;
    const values = { [changing.group]: newText(), [changing.note]: newText() };
    const items = Object.entries(values).map(([attribute, value]) => ({
      operation:
        attribute === changing.group ? ("AddAttribute" as const) : ("SetAttribute" as const),
      attribute,
      value,
      payload: { uniqueIdentifier, newAttribute: { item: itemOf(attribute as Changing, value) } },
    }));
    const message: ClientRequestItem[] = items.map(({ operation, payload }) => ({
      operation,
      payload,
    }));
    if (isUndone) {
      // No object has this value.
      const currentAttribute = { item: itemOf(changing.group, newText()) };
      message.push({
        operation: "DeleteAttribute",
        payload: { uniqueIdentifier, currentAttribute },
      });
    }
    const header = { batchErrorContinuationOption: "Undo" } as const;
    const outcome = await this.#clients.steady("batch with Undo", endpoint, (session) =>
      session.request(version, message, { header }),
    );
    const came =
      outcome.kind === "done"
        ? batchOutcome(outcome.answer.items, message.length, isUndone)
        : unknown;
    if (isUndone && came.outcome === "done") {
      this.#history.violation(
        "wrongAnswer",
        `${entry.id}: a batch whose last item must fail is done`,
      );
    }
    for (const { operation, attribute, value } of items) {
      const asked = { operation, attribute, value } as const;
      this.#history.recorder.note(client, entry.id, outcome.moment, { ...asked, ...came });
    }
    if (came.outcome === "done") this.#history.changed(outcome.moment);
    return outcome;
  }

  /** Searches for the members of a group: each object is found, or not, as its own history says. */
  async locate({ client, endpoint }: Turn) {
    const groups = [...this.#members.keys()].slice(-latest);
    const value = groups[Math.floor(this.#random() * groups.length)];
    if (value === undefined) return undefined;
    const attributes = [{ item: itemOf(changing.group, value) }];
    const outcome = await this.#clients.steady("Locate", endpoint, (session) =>
      session.locate({ attributes }, { version }),
    );
    const { recorder } = this.#history;
    const asked = { operation: "Locate", attribute: changing.group, value } as const;
    if (outcome.kind !== "done") return outcome;
    const found = new Set(outcome.answer.uniqueIdentifiers ?? []);
    const members = (this.#members.get(value) ?? []).map(({ id }) => id);
    for (const id of new Set([...members, ...found])) {
      if (this.#history.entries.has(id)) {
        const shown = { outcome: "done", found: found.has(id) } as const;
        recorder.note(client, id, outcome.moment, { ...asked, ...shown });
      } else {
        this.#history.violation("wrongSearch", `${id} at ${endpoint.node}: no client knows it`);
      }
    }
    return outcome;
  }

  async #change(
    turn: Turn,
    name: string,
    asked: Asked,
    send: (session: KmipClient) => Promise<unknown>,
  ) {
    const { client, entry, endpoint } = turn;
    const outcome = await this.#clients.steady(name, endpoint, send);
    this.#history.recorder.outcome(client, entry.id, asked, outcome);
    if (outcome.kind === "notFound") this.#history.notFound(entry, outcome.moment, false);
    if (outcome.kind === "done") this.#history.changed(outcome.moment);
    return outcome;
  }

  /** A group that the object was never in. */
  #groupFor(entry: Entry): string {
    const members = this.#members.get(this.#open) ?? [];
    if (members.length >= membersMax || members.includes(entry)) this.#open = newText();
    const value = this.#open;
    this.#members.set(value, [...(this.#members.get(value) ?? []), entry]);
    this.#groups.set(entry, [...(this.#groups.get(entry) ?? []), value]);
    return value;
  }
}

const unknown = { outcome: "unknown" } as const;

/** What came of the items of a message with the Undo option: all are done or, where one was refused as it must be, none is. */
export function batchOutcome(items: readonly ResponseItem[], length: number, isUndone: boolean) {
  if (items.length === length && items.every(({ status }) => status === "Success")) {
    return { outcome: "done" } as const;
  }
  const failed = items.find(({ status }) => status === "OperationFailed");
  const isRefused = failed !== undefined && failed.reason !== "GeneralFailure";
  if (!isUndone || !isRefused) return unknown;
  return { outcome: "refused", reason: "OperationUndone" } as const;
}

function drawn(dice: number): Edit {
  const edits = Object.values(editKinds);
  let left = dice * edits.reduce((sum, { weight }) => sum + weight, 0);
  for (const edit of edits) {
    left -= edit.weight;
    if (left < 0) return edit;
  }
  throw new RangeError(`${dice}: a number in [0, 1)`);
}
