import { ManagementError } from "@holdfast/admin";
import { type Clock, systemIdentifier } from "@holdfast/engine";
import { reasonOf } from "../base/operator-error.ts";
import type { NodeObserver } from "../observe/events.ts";
import type { Records } from "../records/records.ts";
import type { SystemView } from "../records/system-view.ts";

/** The pause between two reports, at first and at most. */
const firstMs = 1000;
const mostMs = 60_000;

/**
 * How often a node reports its news to others: at once after a quiet time, and with growing pauses while they keep
 * coming, so that strangers cannot make it write often.
 */
export class PublishPace {
  #lastMs = Number.NEGATIVE_INFINITY;
  #pauseMs = firstMs;

  /** Whether the node may report now; if so, this counts as a report. */
  may(nowMs: number): boolean {
    const sinceMs = nowMs - this.#lastMs;
    if (sinceMs < this.#pauseMs) return false;
    const quiet = sinceMs >= 2 * mostMs;
    this.#pauseMs = quiet ? firstMs : Math.min(mostMs, this.#pauseMs * 2);
    this.#lastMs = nowMs;
    return true;
  }
}

export interface NewsSite {
  readonly region: string;
  readonly node: string;
  readonly view: Pick<SystemView, "all" | "get">;
  readonly records: Pick<Records, "create" | "change">;
  readonly clock: Clock;
  readonly observe: NodeObserver;
}

/** What a node reports, and when. */
export interface News {
  /** The kind of the records; each node has one record of it. */
  readonly kind: string;
  readonly field: "clients" | "told";
  /** What it is about, in the plural. */
  readonly about: string;
  readonly tickMs: number;
  readonly isNew: () => boolean;
  /** The report, of bounded size, and what follows once it was sent. */
  readonly next: () => { readonly text: string; readonly told?: () => void };
}

/** Shares what each node of both regions reports, in system records: an administrator asks one node for all. */
export class NodeNews implements Disposable {
  readonly #site: NewsSite;
  readonly #news: News;
  readonly #id: string;
  readonly #timer: NodeJS.Timeout;
  readonly #pace = new PublishPace();
  #reporting = false;

  constructor(site: NewsSite, news: News) {
    this.#site = site;
    this.#news = news;
    const { region, node } = site;
    this.#id = systemIdentifier("Setting", `${news.kind}\0${region}\0${node}`);
    this.#timer = setInterval(() => void this.tick(), news.tickMs).unref();
  }

  /** What this node reported last, even before its last start. */
  get own(): string | undefined {
    return this.#site.view.get("Setting", this.#id)?.[this.#news.field];
  }

  /** What the other nodes reported last. */
  others(): readonly {
    readonly region: string;
    readonly node: string;
    readonly text: string | undefined;
  }[] {
    const { kind, field } = this.#news;
    return this.#site.view
      .all("Setting")
      .filter((one) => one.kind === kind && one.id !== this.#id && one.destroyed === undefined)
      .map((one) => ({ region: one.region, node: one.node, text: one[field] }));
  }

  /** Reports what is new to the other nodes, if it is time. */
  async tick(): Promise<void> {
    const { clock, observe } = this.#site;
    const { isNew, next, about } = this.#news;
    if (this.#reporting || !isNew() || !this.#pace.may(clock.monotonicMs())) return;
    this.#reporting = true;
    try {
      const { text, told } = next();
      await this.#tell(text);
      told?.();
    } catch (cause) {
      // A store out of reach is reported elsewhere, and a later tick tries again.
      if (!(cause instanceof ManagementError)) {
        const message = `${about} cannot be sent to other nodes: ${reasonOf(cause)}`;
        observe({ type: "warning", message, cause });
      }
    } finally {
      this.#reporting = false;
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  async #tell(text: string): Promise<void> {
    const { region, node, view, records } = this.#site;
    const { kind, field } = this.#news;
    const fields = { [field]: text };
    const id = this.#id;
    if (view.get("Setting", id) === undefined) {
      try {
        await records.create("Setting", { kind, region, node, ...fields }, [], { id });
        return;
      } catch (error) {
        if (!(error instanceof ManagementError) || error.code !== "conflict") throw error;
      }
    }
    await records.change("Setting", id, () => fields, []);
  }
}
