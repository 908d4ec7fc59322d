import type { Message, Network } from "../network.ts";

/** A message from one place to another, as the page draws it. */
export interface Arrow {
  readonly from: string;
  readonly to: string;
  readonly lost: boolean;
}

/** Longer than any request lasts. */
const keptMs = 8_000;
const arrowsMax = 12;

const readKinds = new Set(["read", "fetch", "remote read", "find"]);
const changeKinds = new Set([
  ...["write", "copy", "push", "fetch", "remote commit", "reserve", "agreed write", "release"],
]);

/** Finds the messages that led to an answer. */
export class Paths {
  #messages: Message[] = [];

  constructor(network: Network) {
    network.watch = (message) => this.#note(message);
  }

  /** The messages that a node, and the nodes that it asked, sent since a time; each way once. */
  since(sinceMs: number, node: string, changes: boolean): readonly Arrow[] {
    const kinds = changes ? changeKinds : readKinds;
    const recent = this.#messages.filter(
      (message) => message.sentMs >= sinceMs && kinds.has(message.kind),
    );
    const reached = new Set([node]);
    const arrows = new Map<string, Arrow>();
    for (const { from, to, lost } of recent.toSorted((one, other) => one.sentMs - other.sentMs)) {
      if (!reached.has(from)) continue;
      const way = `${from}>${to}`;
      if (!lost) reached.add(to);
      if (arrows.get(way)?.lost !== false) arrows.set(way, { from, to, lost });
    }
    return [...arrows.values()].slice(0, arrowsMax);
  }

  #note(message: Message): void {
    this.#messages.push(message);
    const [first] = this.#messages;
    // Cleaned up only now and then, since this runs for each message.
    if (first === undefined || first.sentMs > message.sentMs - 2 * keptMs) return;
    this.#messages = this.#messages.filter(({ sentMs }) => sentMs > message.sentMs - keptMs);
  }
}
