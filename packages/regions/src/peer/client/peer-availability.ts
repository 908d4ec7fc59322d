import { type Observer, StoreUnavailable } from "@holdfast/engine";
import type { PeerState } from "../../ports/ports.ts";
import type { NodeLink } from "./node-link.ts";

type LinkState = Pick<NodeLink, "alive" | "tried" | "stalled" | "unwilling" | "reason" | "address">;
type Listener = (state: PeerState, reason: string) => void;

/** Whether a region can be asked, and which of its nodes first. */
export class PeerAvailability<Link extends LinkState> {
  readonly #region: string;
  readonly #links: readonly Link[];
  readonly #observe: Observer;
  readonly #listeners = new Set<Listener>();
  #state: PeerState = "down";
  /** Whether a state was reported: a region that is down from the start is reported once every node was tried. */
  #reported = false;
  #retired = false;
  /** The one that was asked first last time. */
  #preferred: Link | undefined;

  constructor(region: string, links: readonly Link[], observe: Observer) {
    this.#region = region;
    this.#links = links;
    this.#observe = observe;
  }

  get state(): PeerState {
    return this.#state;
  }

  onState(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  setRetired(retired: boolean): void {
    this.#retired = retired;
    this.update();
  }

  /** Called when a node came or went. */
  update(): void {
    const up = this.#links.some((link) => link.alive);
    const state = this.#retired ? "retired" : up ? "up" : "down";
    const news =
      state !== this.#state || (!this.#reported && this.#links.every((link) => link.tried));
    if (!news) return;
    this.#state = state;
    this.#reported = true;
    const reason = this.#retired ? "an operator retired it" : this.#reasons(up);
    this.#observe({ type: "peer", region: this.#region, state, reason });
    for (const listener of [...this.#listeners]) listener(state, reason);
  }

  /**
   * The nodes that are alive: the one that was asked first last time comes first, those that do not
   * answer now come last. Throws without any.
   */
  choose(evenRetired = false): readonly Link[] {
    if (this.#retired && !evenRetired) throw this.#unreachable("an operator retired it");
    const living = this.#links.filter((link) => link.alive);
    if (living.length === 0) throw this.#unreachable(this.#reasons(false));
    if (living.length === 1) return living;
    const rank = (link: Link) =>
      (link.stalled ? 4 : 0) + (link.unwilling ? 2 : 0) + (link === this.#preferred ? 0 : 1);
    const order = living.toSorted((a, b) => rank(a) - rank(b));
    this.#preferred = order[0];
    return order;
  }

  #reasons(up: boolean): string {
    const links = this.#links.filter((link) => link.alive === up);
    return [...new Set(links.map(({ reason }) => reason))]
      .map((reason) => {
        const those = links.filter((link) => link.reason === reason);
        return `${those.map(({ address }) => address).join(", ")}: ${reason}`;
      })
      .join("; ");
  }

  #unreachable(reason: string): StoreUnavailable {
    return new StoreUnavailable(
      "peerUnreachable",
      `region ${this.#region} cannot be asked: ${reason}`,
    );
  }
}
