import type { AuditEvent } from "../audit/audit-event.ts";
import type { Change, FindQuery, StoredObject } from "../ports/objects.ts";
import { isDestroyed } from "../record/lifecycle.ts";
import type { ManagedObject } from "../record/record.ts";

interface Staged {
  /** The stored object that was changed; undefined if the batch made it. */
  readonly before: StoredObject | undefined;
  readonly object: ManagedObject;
  readonly position: number;
}

/** The changes of an Undo batch, which nobody else sees yet. */
export class Overlay {
  readonly #staged = new Map<string, Staged>();
  readonly #evidence: AuditEvent[] = [];

  get isEmpty(): boolean {
    return this.#staged.size === 0;
  }

  /** Evidence that is to be committed with the changes. */
  get evidence(): readonly AuditEvent[] {
    return this.#evidence;
  }

  /** One change per staged object: from the stored object to the batch's version of it. */
  changes(): readonly Change[] {
    return [...this.#staged.values()].map(({ before, object }) =>
      before === undefined
        ? { kind: "create", after: object }
        : { kind: "update", before, after: object },
    );
  }

  /** The object as the batch sees it; its tag is never the store's. */
  get(identifier: string): StoredObject | undefined {
    const staged = this.#staged.get(identifier);
    return staged && { object: staged.object, tag: "" };
  }

  /** Stages an object as the item at `position` leaves it; `before` is the stored object. */
  put(
    before: StoredObject | undefined,
    object: ManagedObject,
    position: number,
    evidence: readonly AuditEvent[],
  ): void {
    const { uniqueIdentifier } = object;
    const known = this.#staged.get(uniqueIdentifier);
    const stored = known === undefined ? before : known.before;
    this.#staged.set(uniqueIdentifier, { before: stored, object, position });
    this.#evidence.push(...evidence);
  }

  /** The item that last changed an object. */
  positionOf(identifier: string): number | undefined {
    return this.#staged.get(identifier)?.position;
  }

  /** A wider query, which also finds objects that match only in their staged form. */
  widened({ limit, after }: FindQuery): FindQuery {
    return { limit, live: true, destroyed: true, ...(after === undefined ? {} : { after }) };
  }

  /** A page with staged objects in place of stored ones. Objects that the batch made come first. */
  laidOver(query: FindQuery, objects: readonly StoredObject[]): readonly StoredObject[] {
    const made = query.after === undefined ? this.#made() : [];
    const seen = objects.map((stored) => this.get(stored.object.uniqueIdentifier) ?? stored);
    return [...made, ...seen].filter(({ object }) =>
      isDestroyed(object.facts) ? query.destroyed : query.live,
    );
  }

  /** Objects that the batch made, newest first. */
  #made(): readonly StoredObject[] {
    return [...this.#staged.values()]
      .filter(({ before }) => before === undefined)
      .map(({ object }) => ({ object, tag: "" }))
      .reverse();
  }
}
