import { kindOf, type ManagedObject } from "@holdfast/engine";
import type { Trust } from "../../access/trust.ts";
import type { NodeObserver } from "../../observe/events.ts";
import type { SystemView } from "../../records/system-view.ts";

export interface RecordedDenialsOptions {
  readonly trust: Pick<Trust, "awaitDenials" | "deny" | "allow">;
  readonly view: Pick<SystemView, "all" | "get" | "onChange" | "unreadDenials" | "freshAtMs">;
  readonly observe: NodeObserver;
  /** Called after each change of the trust. */
  readonly changed: () => void;
}

/**
 * Has the trust refuse what the system records deny. Nobody is admitted before these records were read once, or while
 * one of them cannot be read.
 */
export class RecordedDenials implements Disposable {
  readonly #options: RecordedDenialsOptions;
  readonly #unread = new Set<string>();
  readonly #stop: () => void;

  constructor(options: RecordedDenialsOptions) {
    this.#options = options;
    const { trust, view } = options;
    trust.awaitDenials(() => view.freshAtMs !== undefined);
    this.#apply(view.all("Deny").map(({ id }) => id));
    this.#stop = view.onChange((changed) => this.#take(changed));
  }

  [Symbol.dispose](): void {
    this.#stop();
  }

  #take(changed: readonly ManagedObject[]): void {
    const denials = changed.filter((object) => kindOf(object) === "Deny");
    const ids = denials.map(({ uniqueIdentifier }) => uniqueIdentifier);
    if (this.#apply(ids)) this.#options.changed();
  }

  /** Brings the trust up to date with these denials, and with those that cannot be read. */
  #apply(ids: readonly string[]): boolean {
    const { trust, view, observe } = this.#options;
    const readable = [...this.#unread].filter((id) => !view.unreadDenials.has(id));
    const changed = new Set([...ids, ...readable]);
    for (const id of changed) {
      const denial = view.get("Deny", id);
      this.#unread.delete(id);
      if (denial === undefined || denial.destroyed !== undefined) trust.allow(id);
      else trust.deny(id, denial.match);
    }
    const unread = [...view.unreadDenials].filter((id) => !this.#unread.has(id));
    for (const id of unread) {
      this.#unread.add(id);
      trust.deny(id, undefined);
      const message = `denial ${id} cannot be read: no client is admitted until it is repaired (docs/runbook.md, "A denial cannot be read")`;
      observe({ type: "warning", message });
    }
    return changed.size + unread.length > 0;
  }
}
