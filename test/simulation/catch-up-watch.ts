import type { Levels, OwnStore } from "@holdfast/engine";
import type { PeerReader } from "@holdfast/regions";
import { CatchUpChecker } from "./catch-up-checker.ts";
import { Violation } from "./checker.ts";
import { replaced } from "./flaws.ts";
import type { SimNode } from "./node.ts";
import type { World } from "./world.ts";

/** What the duty that makes a store level works with. */
export interface Resyncing {
  readonly own: OwnStore;
  readonly readers: readonly PeerReader[];
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

  /** The own store, as it is used by what reads another region's changes. */
  reading(node: SimNode, own: OwnStore): OwnStore {
    /** Partitions whose cursor was read since the store's last outage. */
    const known = new Set<number>();
    own.onState(() => known.clear());
    return replaced(own, {
      cursor: (...args) => {
        const cursor = own.cursor(...args);
        this.#after(cursor, () => known.add(args[0]));
        return cursor;
      },
      setCursor: (...args) => {
        const [partition, , cursor] = args;
        const what = `${node.machine.name} saves how far it had read before an outage of its store`;
        if (!known.has(partition)) this.#world.fail(new Violation(what));
        const saved = own.setCursor(...args);
        this.#after(saved, () => this.#checker.saved(node, partition, cursor));
        return saved;
      },
    });
  }

  /** What reads another region's changes. */
  reader(node: SimNode, reader: PeerReader): PeerReader {
    return replaced(reader, {
      pullAll: (position, context) => {
        const isDoubted = node.own?.doubted() === true;
        const { losses } = this.#world.group(node.region);
        const pulled = reader.pullAll(position, context);
        this.#after(pulled, ({ left }) => {
          const isSame = this.#world.group(node.region).losses === losses;
          if (left === 0 && isSame && !isDoubted) this.#checker.pulled(node, position);
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
          this.#after(set, () => this.#checker.reached(node, reached));
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

  #after<Value>(work: Promise<Value>, check: (value: Value) => void): void {
    const checked = (value: Value): void => this.#world.guard(() => check(value));
    work.then(checked, () => undefined);
  }
}
