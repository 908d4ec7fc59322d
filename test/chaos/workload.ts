import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { KmipClient } from "@holdfast/client";
import type { Response } from "@holdfast/kmip";
import type { VcenterSession } from "@holdfast/workbench";
import { hexOf, type Look, look, stateIn } from "../support/keys.ts";
import { rankOf } from "../support/ledger.ts";
import { seeded } from "../support/random.ts";
import { changingReferences } from "./attributes.ts";
import { type Clients, digestOf, isRefused, type Outcome } from "./clients.ts";
import type { Entry, History } from "./history.ts";
import { began, type Moment } from "./moment.ts";
import type { Asked, Asker } from "./recorder.ts";

const ranks = {
  active: rankOf("Active"),
  compromised: rankOf("Compromised"),
  destroyed: rankOf("DestroyedCompromised"),
};
const restMs = 40;
/** So many objects are known whose end began last. */
const endingMax = 4;
/** A vCenter step gives up after this many attempts. */
const triesMax = 60;

type Done<Answer> = Extract<Outcome<Answer>, { readonly kind: "done" }>;
/** What came of a task, and whether an earlier try of it had no answer. */
type Persisted<Answer> = Done<Answer> & { readonly isRepeated: boolean };

/** vCenter-like clients: they make keys over four connections, read and end keys. */
export class Workload {
  readonly #clients: Clients;
  readonly #history: History;
  readonly #random: () => number;
  readonly #workers: readonly Promise<void>[];
  /** Objects that their maker has completed. */
  readonly #finished: Entry[] = [];
  readonly #ending: Entry[] = [];
  #stopped = false;

  constructor(clients: Clients, history: History, workers: number, seed: number) {
    this.#clients = clients;
    this.#history = history;
    this.#random = seeded(seed);
    this.#workers = Array.from({ length: workers }, (_, at) => this.#work(`worker ${at + 1}`));
  }

  /** The completed objects, the latest last; it grows. */
  get finished(): readonly Entry[] {
    return this.#finished;
  }

  /** The objects whose revocation or destruction began last. */
  get ending(): readonly Entry[] {
    return this.#ending;
  }

  /** Any completed object. */
  any(dice: number): Entry | undefined {
    return this.#finished[Math.floor(dice * this.#finished.length)];
  }

  /** Ends the load, and waits for operations in progress. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#workers);
  }

  async #work(client: string): Promise<void> {
    while (!this.#stopped) {
      const dice = this.#random();
      const entry = this.any(this.#random());
      if (entry === undefined || dice < 0.4) await this.#newKey(client);
      else if (dice < 0.75) {
        const asker = { client, endpoint: this.#clients.next() };
        await readAt(this.#clients, this.#history, entry, asker);
      } else await this.#move(client, entry);
      await sleep(restMs);
    }
  }

  /**
   * Tries endpoint after endpoint until one succeeds; undefined if it gives up. An earlier try without an answer may have made
   * the change.
   */
  async #persist<Answer>(
    client: string,
    name: string,
    entry: Entry | undefined,
    work: (session: VcenterSession, asker: Asker) => Promise<Answer>,
  ): Promise<Persisted<Answer> | undefined> {
    let isRepeated = false;
    for (let left = triesMax; left > 0 && !this.#stopped; left--) {
      const asker = { client, endpoint: this.#clients.next() };
      const outcome = await this.#clients.vcenter(name, asker.endpoint, (session) =>
        work(session, asker),
      );
      if (outcome.kind === "done") return { ...outcome, isRepeated };
      if (outcome.kind === "failed") isRepeated = true;
      if (outcome.kind === "notFound" && entry !== undefined) {
        this.#history.notFound(entry, outcome.moment, false);
      }
      // Like real clients, it does not retry without a pause.
      await sleep(20);
    }
    return undefined;
  }

  async #newKey(client: string): Promise<void> {
    const history = this.#history;
    const made = await this.#persist(client, "Create", undefined, (session) => session.create());
    if (made === undefined) return;
    const id = made.answer;
    const entry = history.created(id, made.moment);
    history.recorder.outcome(client, id, { operation: "Create" }, made);
    const product = { "x-Vendor": "VMware, Inc.", "x-Product": "VMware vSphere" };
    if (!(await this.#describe(client, entry, product))) return;
    if (!(await this.#activate(client, entry))) return;
    const machine = { "x-Identifier": randomUUID(), "x-Component": "Virtual Machine" };
    if (await this.#describe(client, entry, machine)) this.#finished.push(entry);
  }

  async #activate(client: string, entry: Entry): Promise<boolean> {
    const { id } = entry;
    const history = this.#history;
    const { recorder } = history;
    entry.tried = ranks.active;
    const seen = { bytes: "", state: "" };
    const activated = await this.#persist(
      client,
      "Get and Activate",
      entry,
      async (session, asker) => {
        const get = () => session.get(id);
        const look = () => session.state(id);
        const activate = () => session.activate(id);
        seen.bytes = await recorder.watch(asker, id, { operation: "Get" }, get, (digest) => ({
          digest,
        }));
        const looked = { operation: "GetAttributes" } as const;
        seen.state = await recorder.watch(asker, id, looked, look, (state) => ({
          state,
        }));
        await recorder.watch(asker, id, { operation: "Activate" }, activate);
      },
    );
    if (activated === undefined) return false;
    history.sawBytes(entry, seen.bytes, activated.moment);
    history.sawState(entry, rankOf(seen.state as never), activated.moment);
    history.reached(entry, ranks.active, activated.moment, activated.isRepeated);
    return true;
  }

  async #describe(
    client: string,
    entry: Entry,
    values: Readonly<Record<string, string>>,
  ): Promise<boolean> {
    const { id } = entry;
    const { recorder } = this.#history;
    const described = await this.#persist(client, "AddAttribute", entry, async (session, asker) => {
      const lacking: [string, string][] = [];
      for (const [name, value] of Object.entries(values)) {
        const count = () => session.count(id, name);
        const looked = { operation: "GetAttributes" } as const;
        const found = await recorder.watch(asker, id, looked, count, (many) => ({
          attributes: { [name]: many === 0 ? [] : [value] },
        }));
        if (found === 0) lacking.push([name, value]);
      }
      if (lacking.length > 0) await this.#add(session, asker, id, lacking);
    });
    if (described === undefined) return false;
    this.#history.changed(described.moment, described.isRepeated);
    return true;
  }

  /** Adds values in one message; where that fails, it is not known which were added. */
  async #add(
    session: VcenterSession,
    { client, endpoint }: Asker,
    id: string,
    values: readonly (readonly [string, string])[],
  ): Promise<void> {
    const ended = began(endpoint);
    const note = (outcome: "done" | "unknown"): void => {
      const moment = ended();
      for (const [attribute, value] of values) {
        const content = { operation: "AddAttribute", attribute, value, outcome } as const;
        this.#history.recorder.note(client, id, moment, content);
      }
    };
    try {
      await session.addAttributes(id, Object.fromEntries(values));
      note("done");
    } catch (error) {
      note("unknown");
      throw error;
    }
  }

  /** Compromises a key, or destroys a compromised one; once, since a lost answer proves nothing. */
  async #move(client: string, entry: Entry): Promise<void> {
    if (entry.held || entry.destroyed) return;
    const uniqueIdentifier = entry.id;
    const isCompromised = entry.tried >= ranks.compromised;
    const to = isCompromised ? ranks.destroyed : ranks.compromised;
    entry.held = true;
    entry.tried = to;
    this.#ending.unshift(entry);
    this.#ending.length = Math.min(this.#ending.length, endingMax);
    const send = (session: KmipClient) =>
      isCompromised
        ? session.destroy({ uniqueIdentifier })
        : session.revoke({ uniqueIdentifier, revocationReason: { code: "KeyCompromise" } });
    const name = isCompromised ? "Destroy" : "Revoke";
    const outcome: Outcome<unknown> = await this.#clients.plain(name, this.#clients.next(), send);
    const asked: Asked = isCompromised
      ? { operation: "Destroy" }
      : { operation: "Revoke", compromise: true };
    this.#history.recorder.outcome(client, entry.id, asked, outcome);
    if (outcome.kind === "notFound") this.#history.notFound(entry, outcome.moment, false);
    // Destroy is denied only for an Active key: this endpoint does not know the compromise yet.
    if (outcome.kind === "denied" && isCompromised) {
      this.#history.sawState(entry, ranks.active, outcome.moment);
    } else if (outcome.kind === "denied") {
      this.#history.violation("wrongAnswer", `${entry.id}: Revoke denied`);
    }
    if (outcome.kind !== "done") return;
    entry.held = false;
    this.#history.reached(entry, to, outcome.moment);
  }
}

/** Reads state and bytes of an object at an endpoint and records them; false without an answer. */
export async function readAt(
  clients: Clients,
  history: History,
  entry: Entry,
  { client, endpoint }: Asker,
): Promise<boolean> {
  const outcome = await clients.plain("Get", endpoint, (session) =>
    look(session, entry.id, changingReferences),
  );
  if (outcome.kind !== "done") return false;
  return noteLook(history, client, entry, outcome.answer, outcome.moment);
}

/** Records what a read of an object showed; false if a part was not answered. */
export function noteLook(
  history: History,
  client: string,
  entry: Entry,
  seen: Look,
  moment: Moment,
  inTheEnd = false,
): boolean {
  const { state, key } = seen;
  history.recorder.look(client, entry.id, seen, moment);
  if (isRefused(state)) return false;
  if (state.reason === "ItemNotFound") {
    history.notFound(entry, moment, inTheEnd);
    return true;
  }
  if (state.status !== "Success") {
    history.violation("wrongAnswer", `${entry.id}: state at ${moment.node}: ${state.reason}`);
    return true;
  }
  const rank = rankOf(stateIn(state.payload as Response<"GetAttributes">));
  history.sawState(entry, rank, moment);
  if (isRefused(key)) return false;
  if (key.status === "Success") {
    history.sawBytes(entry, digestOf(hexOf(key.payload as Response<"Get">)), moment);
    return true;
  }
  // A destroyed object has no bytes; a Destroy may remove them after the read of the state.
  const mayBeGone = entry.tried >= rankOf("Destroyed");
  const gone = key.reason === "ItemNotFound" || key.reason === "ObjectDestroyed";
  if (!gone || !mayBeGone) {
    const kind = key.reason === "ItemNotFound" ? "wrongNotFound" : "wrongAnswer";
    history.violation(kind, `${entry.id}: bytes at ${moment.node}: ${key.reason}: ${key.message}`);
  }
  return true;
}
