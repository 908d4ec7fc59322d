import { setTimeout as sleep } from "node:timers/promises";
import { createKey, keyBytes } from "../support/keys.ts";
import { type Clients, digestOf, type Endpoint, type Patience } from "./clients.ts";
import type { Gap, Gaps } from "./gaps.ts";
import type { Entry, History } from "./history.ts";

/** Long enough for a request between regions, short enough to try the next endpoint soon. */
const patience: Patience = { connectTimeoutMs: 1_000, requestTimeoutMs: 1_500 };
const restMs = 30;

/** Clients that repeat one operation at each endpoint in turn; a time without success is a gap. */
export class Probes {
  readonly #clients: Clients;
  readonly #history: History;
  readonly #gaps: Gaps;
  readonly #kinds = new Map<string, Gap["kind"]>();
  readonly #loops: readonly Promise<void>[];
  #stopped = false;

  /** `known` is the object that the reads get. */
  constructor(clients: Clients, history: History, gaps: Gaps, known: Entry, each: number) {
    this.#clients = clients;
    this.#history = history;
    this.#gaps = gaps;
    this.#loops = (["write", "read"] as const).flatMap((kind) =>
      Array.from({ length: each }, (_, at) => this.#loop(kind, `${kind} ${at}`, at, known)),
    );
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#loops);
    this.#gaps.ended(this.#kinds, performance.now());
  }

  async #loop(kind: Gap["kind"], name: string, first: number, known: Entry): Promise<void> {
    const { endpoints } = this.#clients;
    this.#kinds.set(name, kind);
    this.#gaps.rests(name, performance.now());
    for (let turn = first, failed = 0; !this.#stopped; turn++) {
      const endpoint = endpoints[turn % endpoints.length];
      if (endpoint === undefined) return;
      const done =
        kind === "write"
          ? await this.#write(name, endpoint)
          : await this.#read(name, endpoint, known);
      if (done) this.#gaps.succeeded(name, kind, performance.now());
      failed = done ? 0 : failed + 1;
      // It tries the other endpoints at once before it rests.
      if (done || failed % endpoints.length === 0) await sleep(restMs);
    }
  }

  async #write(name: string, endpoint: Endpoint): Promise<boolean> {
    const outcome = await this.#clients.plain("Create", endpoint, createKey, patience);
    if (outcome.kind !== "done") return false;
    this.#history.created(outcome.answer, outcome.moment);
    this.#history.recorder.outcome(name, outcome.answer, { operation: "Create" }, outcome);
    return true;
  }

  async #read(name: string, endpoint: Endpoint, known: Entry): Promise<boolean> {
    const get = (client: Parameters<typeof keyBytes>[0]) => keyBytes(client, known.id);
    const outcome = await this.#clients.plain("Get", endpoint, get, patience);
    if (outcome.kind === "notFound") this.#history.notFound(known, outcome.moment, false);
    this.#history.recorder.got(name, known.id, outcome);
    if (outcome.kind !== "done") return false;
    this.#history.sawBytes(known, digestOf(outcome.answer), outcome.moment);
    return true;
  }
}
