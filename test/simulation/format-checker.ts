import { Violation } from "./checker.ts";
import { formatsEveryMs, type SimNode } from "./node.ts";

/** A node that is silent for longer counts no more when a format is agreed on. */
const silentMs = 3 * formatsEveryMs;
/** How late a node may hear what its region, and the other one, note. */
const lateMs = 2 * formatsEveryMs + 1_000;
/** A node's lease ends at most so long after its store required another format. */
const leaseMs = 1_500;

/** Checks that a format is required only once every node reads it, and that no other node uses the store then. */
export class FormatChecker {
  readonly #nodes: readonly SimNode[];
  readonly #nowMs: () => number;
  /** Node → the process that serves from its own store, with writes, and since when. */
  readonly #serving = new Map<SimNode, { readonly life: unknown; readonly sinceMs: number }>();
  /** Region → the format that it requires, and since when. */
  readonly #required = new Map<string, { readonly format: number; readonly sinceMs: number }>();

  constructor(nodes: readonly SimNode[], nowMs: () => number) {
    this.#nodes = nodes;
    this.#nowMs = nowMs;
  }

  /** A node serves from its own store from now on, or does not. */
  serves(name: string, own: boolean): void {
    const node = this.#nodes.find(({ machine }) => machine.name === name);
    if (node === undefined) return;
    const { life } = node.machine;
    if (!own) this.#serving.delete(node);
    else if (this.#serving.get(node)?.life !== life) {
      this.#serving.set(node, { life, sinceMs: this.#nowMs() });
    }
  }

  /** A region's leader required a format of every node. */
  agreed(region: string, format: number): void {
    for (const node of this.#nodes) {
      if (!this.#isSteady(node) || node.running.format >= format) continue;
      throw new Violation(
        `region ${region} requires format ${format}, which ${node.machine.name} does not read`,
      );
    }
    const known = this.#required.get(region)?.format ?? 0;
    if (format > known) this.#required.set(region, { format, sinceMs: this.#nowMs() });
  }

  /** A region's store was lost, and with it what it required. */
  lost(region: string): void {
    this.#required.delete(region);
  }

  /** A node's own store has answered it. */
  used({ region, running, machine, isElsewhere }: SimNode): void {
    const required = this.#required.get(region);
    if (isElsewhere || required === undefined || running.format >= required.format) return;
    if (this.#nowMs() - required.sinceMs < leaseMs) return;
    throw new Violation(
      `${machine.name} uses a store that requires format ${required.format}, which it does not read`,
    );
  }

  /** Whether it has noted its format for long enough, and has not been silent. */
  #isSteady(node: SimNode): boolean {
    const { lives, isElsewhere, machine } = node;
    const serving = this.#serving.get(node);
    if (!lives || isElsewhere || machine.frozen || serving === undefined) return false;
    if (serving.life !== machine.life) return false;
    return this.#nowMs() - serving.sinceMs > silentMs + lateMs;
  }
}
