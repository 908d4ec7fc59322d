import { Violation } from "../checker.ts";
import type { Network } from "../network.ts";
import type { SimNode } from "../node.ts";
import type { RedisGroup } from "../store/redis-group.ts";
import type { EventKind, StoryEvent } from "./events.ts";
import { KeyNames } from "./names.ts";
import { type Arrow, Paths } from "./paths.ts";
import { Picture } from "./picture.ts";
import { brokenBy } from "./promises.ts";
import { wishTellings } from "./request-tellings.ts";
import { type Told, tell } from "./tellings.ts";

/** The parts of a world that a recorder reads. */
export interface RecordedWorld {
  readonly scheduler: { readonly nowMs: number };
  readonly network: Network;
  readonly groups: readonly RedisGroup[];
  readonly nodes: readonly SimNode[];
}

/** One event as the story and the page tell it. */
export interface Step extends Told {
  readonly kind: EventKind;
  readonly atMs: number;
  /** The key that it is about. */
  readonly key: string | undefined;
  /** Whether it is a change that was acknowledged, and by how many regions. */
  readonly acknowledged: "shared" | "alone" | undefined;
  /** The messages that led to it. */
  readonly arrows: readonly Arrow[];
  /** The places that look different from the step before, with their new state. */
  readonly changed: Readonly<Record<string, string>>;
  /** The promise that it breaks. */
  readonly breaks: string | undefined;
}

/** Records the events of a world without any influence on it. */
export class Recorder {
  readonly #world: RecordedWorld;
  readonly #names = new KeyNames();
  readonly #paths: Paths;
  readonly #picture: Picture;
  readonly #steps: Step[] = [];
  #open = false;
  /** True while every key is read at the end: those answers are counted, not told. */
  #checking = false;
  #checked = 0;
  /** Acknowledged changes that were lost with the only store that had them. */
  #lostAlone = 0;

  constructor(world: RecordedWorld) {
    this.#world = world;
    this.#paths = new Paths(world.network);
    this.#picture = new Picture(world, this.#names);
  }

  get steps(): readonly Step[] {
    return this.#steps;
  }

  nameOf(id: string): string | undefined {
    return id === "" ? undefined : this.#names.of(id);
  }

  /** Records an event; before the history begins, only the state that it leaves counts. */
  tell(happened: StoryEvent, askedMs = this.#world.scheduler.nowMs): void {
    const event = this.#noted(happened);
    if (event.kind === "begin") this.#open = true;
    if (!this.#open) return;
    if (this.#checking && event.kind === "request") {
      this.#checked += 1;
      return;
    }
    const { nowMs } = this.#world.scheduler;
    const told = tell(event);
    this.#steps.push({
      ...told,
      what: this.#names.in(told.what),
      why: this.#names.in(told.why),
      kind: event.kind,
      atMs: nowMs,
      key: keyIn(event, this.#names),
      acknowledged: acknowledgedBy(event),
      arrows: event.kind === "request" ? this.#arrows(event, askedMs) : [],
      changed: this.#picture.changes(),
      breaks: event.kind === "violation" ? brokenBy(event.message).id : undefined,
    });
  }

  /** A promise was broken, or the code failed. */
  failed(error: unknown): void {
    const message = error instanceof Violation ? error.message : `it failed with ${String(error)}`;
    this.tell({ kind: "violation", message });
  }

  /** From now on every key is read at every node. */
  beginChecks(): void {
    this.#checking = true;
  }

  endChecks(): void {
    this.#checking = false;
    this.tell({ kind: "checked", answers: this.#checked });
  }

  end(): void {
    const count = (by: Step["acknowledged"]) =>
      this.#steps.filter(({ acknowledged }) => acknowledged === by).length;
    const violation = this.#steps.find(({ breaks }) => breaks !== undefined)?.what;
    const counts = { shared: count("shared"), alone: count("alone"), lostAlone: this.#lostAlone };
    this.tell({ kind: "end", ...counts, violation });
  }

  #noted(event: StoryEvent): StoryEvent {
    if (event.kind === "storeLost") this.#lostAlone = event.changes;
    if (event.kind === "leader") this.#picture.note(event);
    return event.kind === "serving" ? { ...event, again: this.#picture.note(event) } : event;
  }

  #arrows(event: Extract<StoryEvent, { readonly kind: "request" }>, askedMs: number) {
    const { changes } = wishTellings[event.wish];
    const client: Arrow = { from: "client", to: event.node, lost: false };
    return [client, ...this.#paths.since(askedMs, event.node, changes)];
  }
}

function keyIn(event: StoryEvent, names: KeyNames): string | undefined {
  if (event.kind === "request") return event.key;
  if (event.kind !== "violation") return undefined;
  return /\bkey \d+\b/.exec(names.in(event.message))?.[0];
}

function acknowledgedBy(event: StoryEvent): "shared" | "alone" | undefined {
  if (event.kind !== "request" || event.answer?.kind !== "done") return undefined;
  if (event.regions.length === 0) return undefined;
  return event.regions.length > 1 ? "shared" : "alone";
}
