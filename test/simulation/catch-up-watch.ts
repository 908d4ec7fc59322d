import type { Levels, OwnStore } from "@holdfast/engine";
import type { PeerReader } from "@holdfast/regions";
import { CatchUpChecker } from "./catch-up-checker.ts";
import { Places } from "./catch-up-places.ts";
import { Violation } from "./checker.ts";
import { replaced } from "./flaws.ts";
import type { SimNode } from "./node.ts";
import type { World } from "./world.ts";

/** What the duty that makes a store level works with. */
export interface Resyncing {
  readonly own: OwnStore;
  readonly readers: readonly PeerReader[];
}

/** What reads another region's changes. */
export interface Reading {
  readonly own: OwnStore;
  readonly reader: (reader: PeerReader) => PeerReader;
}

/** Watches how leaders read the other region's changes, and when they call a store level. */
export class CatchUpWatch {
  readonly #checker: CatchUpChecker;
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
    this.#checker = new CatchUpChecker(world);
  }

  /** A node asks for a resync of its store. */
  resyncs(node: SimNode, request: () => Promise<number>): Promise<number> {
    const before = this.#checker.mark(node);
    const asked = request();
    this.#after(asked, (number) => this.#checker.asked(node, number, before));
    return asked;
  }

  /** What reads another region's changes, and the own store for it. */
  reading(node: SimNode, own: OwnStore): Reading {
    const places = new Places(node.machine.name);
    own.onState(() => places.outage());
    return {
      own: replaced(own, {
        cursor: (...args) => {
          const cursor = own.cursor(...args);
          this.#after(cursor, (read) => places.read(args[0], read));
          return cursor;
        },
        digests: (partition) => {
          places.compares(partition);
          return own.digests(partition);
        },
        setCursor: (...args) => {
          const [partition, , cursor] = args;
          this.#world.guard(() => places.saves(partition, cursor));
          const saved = own.setCursor(...args);
          this.#afterwards(node, saved, () => this.#checker.saved(node, partition, cursor));
          return saved;
        },
      }),
      reader: (reader) => this.#reader(node, reader, places),
    };
  }

  #reader(node: SimNode, reader: PeerReader, places: Places): PeerReader {
    return replaced(reader, {
      pullAll: (position, context) => {
        places.pulls(position.replicationId);
        const isDoubted = node.own?.doubted() === true;
        const pulled = reader.pullAll(position, context);
        this.#afterwards(node, pulled, ({ left }) => {
          if (left === 0 && !isDoubted) this.#checker.pulled(node, position);
        });
        return pulled;
      },
    });
  }

  /** What makes a store level. */
  resyncing(node: SimNode, { own, readers }: Resyncing): Resyncing {
    let levels: Levels | undefined;
    /** What its pulls of this run have left. */
    let left = 0;
    /** The last request that it knew when it last asked a region for its position. */
    let known = 0;
    const name = node.machine.name;
    return {
      own: replaced(own, {
        levels: () => {
          const answer = own.levels();
          this.#after(answer, (read) => {
            levels = read;
            left = 0;
          });
          return answer;
        },
        setLevel: (reached, epoch) => {
          const what = `${name} calls its store level, although ${left} changes are left`;
          if (left > 0) this.#world.fail(new Violation(what));
          const late = `${name} answers a request for a resync that came after it asked what the other region has`;
          const isAlone = readers.every(({ peer }) => peer.state() === "retired");
          if (reached > known && !isAlone) this.#world.fail(new Violation(late));
          const set = own.setLevel(reached, epoch);
          this.#afterwards(node, set, () => this.#checker.reached(node, reached));
          return set;
        },
      }),
      readers: readers.map((reader) =>
        replaced(reader, {
          peer: replaced(reader.peer, {
            position: () => {
              known = levels?.asked ?? 0;
              return reader.peer.position();
            },
          }),
          pullAll: (...args) => {
            const pulled = reader.pullAll(...args);
            this.#after(pulled, (result) => {
              left += result.left;
            });
            return pulled;
          },
        }),
      ),
    };
  }

  /** Checks what is there afterwards, unless the store was lost meanwhile: the answer may be from before that. */
  #afterwards<Value>(node: SimNode, work: Promise<Value>, check: (value: Value) => void): void {
    const { losses } = this.#world.group(node.region);
    this.#after(work, (value) => {
      if (this.#world.group(node.region).losses === losses) check(value);
    });
  }

  #after<Value>(work: Promise<Value>, check: (value: Value) => void): void {
    const checked = (value: Value): void => this.#world.guard(() => check(value));
    work.then(checked, () => undefined);
  }
}
