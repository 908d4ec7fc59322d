import { ManagementError } from "@holdfast/admin";
import { type ManagedObject, StoreUnavailable, type Tag } from "@holdfast/engine";
import { hasMax, type PeerCommands } from "./peer-commands.ts";
import { type Applied, versionOf } from "./records.ts";
import type { SystemView } from "./system-view.ts";

export interface PresenceOptions {
  readonly region: string;
  readonly commands: Pick<PeerCommands, "others" | "ask">;
  readonly view: Pick<SystemView, "record">;
  readonly monotonicMs: () => number;
}

/** How long a "no" is valid: lists are read more often than pending records change. */
const noMs = 500;
const knownMax = 50_000;

/** Which regions have a system record as this node sees it: for lists, which show what is still pending. */
export class Presence {
  readonly #options: PresenceOptions;
  /** Region and identifier → the version that the region said it has. */
  readonly #had = new Map<string, Tag>();
  /** The same → the version that it did not have, and until when this "no" is valid. */
  readonly #lacked = new Map<string, { readonly tag: Tag; readonly untilMs: number }>();

  constructor(options: PresenceOptions) {
    this.#options = options;
  }

  /** By identifier; for a region that cannot be asked, its earlier answers count. */
  async of(ids: readonly string[]): Promise<ReadonlyMap<string, Applied>> {
    const { region, commands, view } = this.#options;
    const records = ids.flatMap((id) => {
      const record = view.record(id);
      return record === undefined ? [] : [[id, versionOf(record)] as const];
    });
    const { others } = commands;
    await Promise.all(others.map((other) => this.#ask(other, records)));
    return new Map(
      records.map(([id, tag]) => {
        const rest = others.map((other) => [
          other,
          this.#had.get(`${other} ${id}`) === tag ? "applied" : "pending",
        ]);
        return [id, Object.fromEntries([[region, "applied"], ...rest]) as Applied];
      }),
    );
  }

  /** Of one record. */
  async ofOne(id: string): Promise<Applied> {
    return (await this.of([id])).get(id) ?? { [this.#options.region]: "applied" };
  }

  /** Notes what a write's acknowledgement said. */
  note(record: ManagedObject, regions: Applied): void {
    const tag = versionOf(record);
    for (const [region, state] of Object.entries(regions)) {
      if (state === "applied") this.#remember(`${region} ${record.uniqueIdentifier}`, tag);
    }
  }

  async #ask(other: string, records: readonly (readonly [string, Tag])[]): Promise<void> {
    const now = this.#options.monotonicMs();
    const unknown = records.filter(([id, tag]) => {
      const place = `${other} ${id}`;
      if (this.#had.get(place) === tag) return false;
      const lacked = this.#lacked.get(place);
      return lacked?.tag !== tag || lacked.untilMs <= now;
    });
    for (let at = 0; at < unknown.length; at += hasMax) {
      const some = unknown.slice(at, at + hasMax);
      const had = await this.#hadBy(other, some);
      if (had === undefined) return;
      for (const [index, [id, tag]] of some.entries()) {
        const place = `${other} ${id}`;
        if (had[index] === true) this.#remember(place, tag);
        else this.#lacked.set(place, { tag, untilMs: now + noMs });
      }
    }
    if (this.#lacked.size > knownMax) this.#lacked.clear();
  }

  async #hadBy(
    other: string,
    records: readonly (readonly [string, Tag])[],
  ): Promise<readonly boolean[] | undefined> {
    try {
      const asked = records.map(([id, tag]): [string, string] => [id, tag]);
      return (await this.#options.commands.ask(other, "has", { records: asked })).had;
    } catch (error) {
      if (error instanceof ManagementError || error instanceof StoreUnavailable) return undefined;
      throw error;
    }
  }

  #remember(place: string, tag: Tag): void {
    if (this.#had.size >= knownMax) this.#had.clear();
    this.#had.set(place, tag);
    this.#lacked.delete(place);
  }
}

/** This region's answer to which of these records it has. */
export function has(
  view: Pick<SystemView, "record">,
  records: readonly (readonly [string, string])[],
): boolean[] {
  return records.map(([id, tag]) => {
    const record = view.record(id);
    return record !== undefined && versionOf(record) === tag;
  });
}
