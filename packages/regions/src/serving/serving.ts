import type { StoreState } from "@holdfast/engine";
import type { PeerState } from "../ports/ports.ts";

/** From where this node serves its clients, and why. */
export interface Serving {
  readonly from: "local" | "remote" | "none";
  readonly writes: boolean;
  readonly reason: string;
  /**
   * The own store serves although it is not level: every read also asks another region, so that
   * nothing that was answered there is missed here.
   */
  readonly through: boolean;
  /** The own store takes part in what all regions agree on. */
  readonly agrees: boolean;
  /** It serves although it may be an older one: nothing is changed, and only what this node remembers is answered. */
  readonly doubted: boolean;
}

/** What is known of the stores, for health and metrics; nothing in it waits. */
export interface RegionalHealth {
  readonly serving: Serving;
  readonly lease: StoreState;
  readonly level: boolean;
  readonly retired: boolean;
  readonly peers: readonly { readonly region: string; readonly state: PeerState }[];
}

/** The other regions as one: there are none (or all are retired), not met yet since the start, unreachable, or up. */
export type Others = "absent" | "unknown" | "down" | "up";

/** What the decision depends on. */
export interface ServingState {
  readonly lease: StoreState;
  /** The id of the store, as last known. */
  readonly storeId: string | undefined;
  /** Grows with every outage: answers from before the last one do not count. */
  readonly outage: number;
  /** This outage's request for a resync, once the store has it. */
  readonly request: number | undefined;
  /**
   * The own store has all that another region had when it came back, and accepted everything that
   * it sent since.
   */
  readonly level: boolean;
  /** It had no room for something that is not in it yet. */
  readonly lacking: boolean;
  /** The own store serves as in a cut, until it is level or has another outage. */
  readonly asInCut: boolean;
  /** The others did not serve when they were asked to, since they were last met. */
  readonly refused: boolean;
  readonly others: Others;
  readonly retired: boolean;
  /** The own store may be an older one than this node remembers. */
  readonly doubted: boolean;
}

export type ServingEvent =
  | { readonly type: "lease"; readonly lease: StoreState; readonly storeId: string | undefined }
  | { readonly type: "doubt"; readonly doubted: boolean }
  | { readonly type: "others"; readonly others: Others }
  /** The store's levels, as read in an outage; `request` where this node asked. */
  | {
      readonly type: "levels";
      readonly outage: number;
      readonly reached: number;
      readonly lost: number;
      readonly request?: number;
    }
  /** The other region was asked to serve, and could not. */
  | { readonly type: "refused" }
  /** The other region says that it serves. */
  | { readonly type: "serves" }
  | { readonly type: "retired"; readonly retired: boolean };

/** A node at its start: an outage whose beginning nobody saw. */
export const servingAtStart: ServingState = {
  lease: "none",
  storeId: undefined,
  outage: 1,
  request: undefined,
  level: false,
  lacking: false,
  asInCut: false,
  refused: false,
  others: "unknown",
  retired: false,
  doubted: false,
};

/** The next state; the same object where the event changes nothing. */
export function serveStep(state: ServingState, event: ServingEvent): ServingState {
  const next = { ...state, ...changeOf(state, event) };
  const settled = { ...next, ...consequenceOf(next) };
  const keys = Object.keys(state) as (keyof ServingState)[];
  return keys.every((key) => settled[key] === state[key]) ? state : settled;
}

function changeOf(state: ServingState, event: ServingEvent): Partial<ServingState> {
  switch (event.type) {
    case "lease":
      return leaseChange(state, event);
    case "doubt":
      // What the others acknowledged may be missing: it is no longer level. When the doubt ends, what was refused meanwhile is.
      return event.doubted === state.doubted
        ? {}
        : { doubted: event.doubted, ...anotherOutage(state) };
    case "others":
      return { others: event.others, refused: state.refused && event.others === "up" };
    case "levels":
      return event.outage === state.outage ? levelChange(state, event) : {};
    case "refused":
      return state.lease === "full" ? { asInCut: true, refused: state.others === "up" } : {};
    case "serves":
      // A doubted store leaves its clients to them again; another one continues as in a cut.
      return { refused: state.refused && !state.doubted };
    case "retired":
      // The others continued without it: it is no longer level.
      return state.retired && !event.retired
        ? { retired: false, ...anotherOutage(state) }
        : { retired: event.retired };
  }
}

/** A resync that another loss has requested since is waited for like this node's own. */
function levelChange(
  state: ServingState,
  { reached, lost, request: asked }: Extract<ServingEvent, { readonly type: "levels" }>,
): Partial<ServingState> {
  // Without other regions it was level without a request.
  const before = asked ?? state.request ?? (state.level ? 0 : undefined);
  if (before === undefined) return {};
  const request = Math.max(before, lost);
  const level = reached >= request;
  const lacking = lost > reached;
  // A full store does not have all records: the region that has them serves, unless it lacks something too.
  const over = lost > before && state.others === "up" && !state.refused;
  return { request, level, lacking, asInCut: state.asInCut && !over };
}

/** A lease that ends is an outage, and so is another store than the known one. */
function leaseChange(
  state: ServingState,
  { lease, storeId }: Extract<ServingEvent, { readonly type: "lease" }>,
): Partial<ServingState> {
  const over = lease !== "full" && state.lease === "full";
  const other = storeId !== undefined && storeId !== state.storeId;
  const known = { lease, storeId: storeId ?? state.storeId };
  return over || other ? { ...known, ...anotherOutage(state) } : known;
}

/** A level store has none of these, and each outage begins without them. */
const nothingLacks = { asInCut: false, lacking: false };

function anotherOutage({ outage }: ServingState): Partial<ServingState> {
  return { ...nothingLacks, level: false, outage: outage + 1, request: undefined };
}

/** What follows without an event of its own. */
function consequenceOf(state: ServingState): Partial<ServingState> {
  if (state.level) return nothingLacks;
  if (state.lease !== "full") return {};
  // Without other regions there is nothing to be level with.
  if (state.others === "absent") return { ...nothingLacks, level: true };
  return state.others === "down" ? { asInCut: true } : {};
}

/** Whether the node must request a resync of the store. */
export function mustRequestResync(state: ServingState): boolean {
  return state.lease === "full" && !state.level && state.request === undefined;
}

/** The decision. */
export function serving(state: ServingState): Serving {
  const { lease, others } = state;
  if (state.retired) {
    return none("this region was retired: `holdfast region rejoin` brings it back");
  }
  if (state.doubted && lease !== "none") return whileDoubted(state);
  if (lease === "full" && state.level) return local("own store");
  if (state.asInCut) {
    return { ...local("own store, not level yet: no other region can serve"), through: true };
  }
  if (others === "up") {
    const lacking = lease === "full" && state.lacking;
    const level = lacking ? "own store had no room for all" : "own store is not level yet";
    const why = lease === "full" ? level : leaseReasons[lease];
    return {
      from: "remote",
      writes: true,
      reason: `${why}: another region serves`,
      through: false,
      // Else nothing could be destroyed to make room. An agreement joins all copies, and needs them
      // to exist.
      agrees: lacking,
      doubted: false,
    };
  }
  // A region that was retired meanwhile, or lost data, must learn of it first.
  if (others === "unknown" && lease !== "none") return none("no contact with the other region yet");
  if (lease === "none") return none("no lease on the own store, and no other region in reach");
  return {
    from: "local",
    writes: false,
    reason: "own store for reads only: its barrier is short, and no other region is in reach",
    through: false,
    agrees: false,
    doubted: false,
  };
}

/** A cut does not override a doubt: the other region serves, or what this node remembers is answered. */
function whileDoubted({ others, refused }: ServingState): Serving {
  const why = "own store is older than this node remembers";
  if (others === "up" && !refused) {
    const reason = `${why}: another region serves`;
    return { from: "remote", writes: true, reason, through: false, agrees: false, doubted: false };
  }
  if (others === "unknown") return none("no contact with the other region yet");
  const reason = `${why}: no changes, and only what it remembers is read`;
  // The other region may not serve, and yet have what another node of this one has changed.
  const through = others !== "absent";
  return { from: "local", writes: false, reason, through, agrees: false, doubted: true };
}

const leaseReasons: Readonly<Record<Exclude<StoreState, "full">, string>> = {
  readOnly: "the barrier of the own store is short",
  none: "no lease on the own store",
};

function local(reason: string): Serving {
  return { from: "local", writes: true, reason, through: false, agrees: true, doubted: false };
}

function none(reason: string): Serving {
  return { from: "none", writes: false, reason, through: false, agrees: false, doubted: false };
}
