import { stateOf, stateValues } from "@holdfast/engine";
import { instance } from "../client.ts";
import { objectsIn } from "../look.ts";
import type { SimNode } from "../node.ts";
import type { Member } from "../store/member.ts";
import type { RedisGroup } from "../store/redis-group.ts";
import type { StoryEvent } from "./events.ts";
import type { KeyNames } from "./names.ts";
import type { RecordedWorld } from "./recorder.ts";

/** One letter for each state, by its number. */
const stateLetters = "?PADCXX";

interface NodeState {
  /** The process that this state belongs to; a restart begins a new one. */
  readonly life: object | undefined;
  from: string;
  writes: boolean;
  leads: boolean;
}

/** The state of each place in a world, and which of them changed. */
export class Picture {
  readonly #world: RecordedWorld;
  readonly #names: KeyNames;
  readonly #nodes = new Map<string, NodeState>();
  #last: ReadonlyMap<string, string> = new Map();

  constructor(world: RecordedWorld, names: KeyNames) {
    this.#world = world;
    this.#names = names;
  }

  /** Takes a node's event in; returns true if the node was in that state already. */
  note(event: Extract<StoryEvent, { readonly kind: "serving" | "leader" }>): boolean {
    const node = this.#world.nodes.find(({ machine }) => machine.name === event.node);
    if (node === undefined) return false;
    const state = this.#stateOf(node);
    if (event.kind === "leader") {
      const leads = event.state === "leader";
      const same = state.leads === leads;
      state.leads = leads;
      return same;
    }
    const { from, writes } = event;
    const same = state.from === from && state.writes === writes;
    state.from = from;
    state.writes = writes;
    return same;
  }

  /** The places whose state differs from the last call. */
  changes(): Readonly<Record<string, string>> {
    const now = new Map<string, string>();
    for (const node of this.#world.nodes) now.set(node.machine.name, this.#node(node));
    for (const group of this.#world.groups) this.#group(group, now);
    this.#links(now);
    const changed = [...now].filter(([place, look]) => this.#last.get(place) !== look);
    this.#last = now;
    return Object.fromEntries(changed);
  }

  #stateOf(node: SimNode): NodeState {
    const { name, life } = node.machine;
    const known = this.#nodes.get(name);
    if (known !== undefined && known.life === life) return known;
    const fresh = { life, from: "none", writes: false, leads: false };
    this.#nodes.set(name, fresh);
    return fresh;
  }

  #node(node: SimNode): string {
    const { from, writes, leads } = this.#stateOf(node);
    const { frozen } = node.machine;
    const life = node.lives ? (frozen ? "frozen" : "up") : "down";
    return [life, from, writes ? "writes" : "", leads ? "leads" : ""].join("/");
  }

  #group(group: RedisGroup, now: Map<string, string>): void {
    for (const member of group.members) {
      const named = member === group.primary;
      const stale = member.role === "primary" ? "stale" : "replica";
      const role = named ? "primary" : stale;
      const full = member.redis.full ? "full" : "";
      now.set(member.name, [member.state, role, full, this.#keysIn(member)].join("/"));
    }
  }

  #keysIn(member: Member): string {
    return objectsIn(member, instance)
      .map(({ uniqueIdentifier, facts }) => {
        const number = Number(this.#names.of(uniqueIdentifier).slice("key ".length));
        return { number, letter: stateLetters[stateValues[stateOf(facts)]] ?? "?" };
      })
      .toSorted((one, other) => one.number - other.number)
      .map(({ number, letter }) => `${number}${letter}`)
      .join(",");
  }

  /** The state of each line that the page draws: open, or cut one way or both ways. */
  #links(now: Map<string, string>): void {
    const { network, nodes, groups } = this.#world;
    const cut = (one: readonly string[], other: readonly string[]): string => {
      const ways = (from: readonly string[], to: readonly string[]) =>
        from.every((each) => to.every((there) => !network.open(each, there)));
      return `${ways(one, other) ? ">" : ""}${ways(other, one) ? "<" : ""}`;
    };
    const names = (region: string) =>
      nodes.filter((node) => node.region === region).map(({ machine }) => machine.name);
    now.set("a~b", cut(names("a"), names("b")));
    for (const { region, members, sentinels } of groups) {
      const [first, second] = members.map(({ name }) => name);
      const watchers = sentinels.map(({ name }) => name);
      const drawn = `${region}:sentinel`;
      for (const node of names(region)) {
        for (const { name } of members) now.set(`${node}~${name}`, cut([node], [name]));
        now.set(`${node}~${drawn}`, cut([node], watchers));
      }
      for (const { name } of members) now.set(`${drawn}~${name}`, cut(watchers, [name]));
      if (first === undefined || second === undefined) continue;
      now.set(`${first}~${second}`, cut([first], [second]));
    }
  }
}
