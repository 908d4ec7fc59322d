import { ChangeTimes } from "./change-times.ts";
import type { Timed } from "./checker.ts";
import type { LifecycleEvent } from "./lifecycle.ts";
import {
  type ChangeOperation,
  type ClientHistory,
  mayBeMade,
  type Operation,
  type State,
} from "./operation.ts";
import type { Step } from "./step.ts";

/** A step with the operation that it is part of. */
export interface Placed extends Timed<Step> {
  readonly of: Operation;
}

/** What clients were shown of one object in one place. */
export interface View {
  /** The region whose store served it; undefined for what holds at every endpoint. */
  readonly region: string | undefined;
  readonly placed: readonly Placed[];
}

/** A time between two losses of a store; what only the lost store had may be gone after it. */
interface Epoch {
  readonly fromMs: number;
  readonly toMs: number;
}

/**
 * An object's history as each region's store showed it, and as all of them must show it. An operation that one region
 * acknowledged alone happens in the other one at any later time, or never.
 */
export function viewsOf(history: ClientHistory): readonly View[] {
  const times = new ChangeTimes(history);
  const bounds = [-Infinity, ...times.losses.map(({ at }) => at), Infinity];
  const epochs = bounds.slice(1).map((toMs, at) => ({ fromMs: bounds[at] as number, toMs }));
  const places = [...history.regions, undefined];
  return epochs.flatMap((epoch) =>
    places.map((region) => {
      const viewer = new Viewer(times, region, epoch);
      return { region, placed: history.operations.flatMap((one) => viewer.placed(one)) };
    }),
  );
}

class Viewer {
  readonly #times: ChangeTimes;
  readonly #region: string | undefined;
  readonly #epoch: Epoch;

  constructor(times: ChangeTimes, region: string | undefined, epoch: Epoch) {
    this.#times = times;
    this.#region = region;
    this.#epoch = epoch;
  }

  /** The steps that an operation is in this view; none if it has no part in it. */
  placed(one: Operation): readonly Placed[] {
    if (mayBeMade(one)) return this.#changes(one);
    const step = this.#shown(one);
    if (step === undefined || one.return === undefined) return [];
    const { fromMs, toMs } = this.#epoch;
    if (one.call < fromMs || one.return > toMs || this.#isBehind(one)) return [];
    return [{ step, of: one, callMs: one.call, returnMs: one.return, optional: false }];
  }

  /** A store that lost its data may show old ones until it has those of the other region. */
  #isBehind({ call, store }: Operation): boolean {
    return this.#times.losses.some(
      ({ at, levelAt = Infinity, region }) =>
        call >= at && call <= levelAt && (store ?? region) === region,
    );
  }

  #changes(one: ChangeOperation): readonly Placed[] {
    const step = this.#changeStep(one);
    if (step === undefined) return [];
    const { fromMs } = this.#epoch;
    // An object exists everywhere as soon as it exists in one region: the others ask before they say "not found".
    const byMs =
      one.operation === "Create"
        ? this.#times.existsByMs(one, fromMs)
        : this.#times.byMs(one, this.#region, fromMs);
    const placed = { step, of: one, callMs: one.call, returnMs: byMs, optional: byMs === Infinity };
    return this.#region === undefined
      ? commonPlaces(placed)
      : [placedHere(placed), ...this.#more(placed, this.#region)];
  }

  /** What else a change may be in a region: its arrival in searches, and what retries made of it. */
  #more(placed: Placed & { readonly of: ChangeOperation }, region: string): readonly Placed[] {
    const { of, returnMs } = placed;
    const { operation, tries = 1, return: returnedMs = Infinity } = of;
    if (operation === "Create") {
      const listedMs = this.#times.byMs(of, region, this.#epoch.fromMs);
      const isLate = listedMs > returnMs && listedMs < Infinity;
      return isLate ? [{ ...placed, step: { kind: "list" }, returnMs: listedMs }] : [];
    }
    if (operation !== "SetAttribute") return [];
    const untilMs = placed.optional ? Infinity : returnedMs;
    return Array.from({ length: tries - 1 }, () => ({
      ...placed,
      returnMs: untilMs,
      optional: true,
    }));
  }

  #changeStep(one: ChangeOperation): Step | undefined {
    const { operation } = one;
    if (operation === "Create") {
      const byMs = this.#times.byMs(one, this.#region, this.#epoch.fromMs);
      return { kind: "create", isListed: byMs <= (one.return ?? -Infinity) };
    }
    const event = eventOf(one);
    if (event !== undefined)
      return { kind: "event", event, isDecided: this.#isDecided(one, event) };
    return this.#valueStep(one);
  }

  /** Whether the state of this copy is what the operation was decided on. */
  #isDecided(one: ChangeOperation, event: LifecycleEvent): boolean {
    // A store that was put back to old data knows nothing of what came later.
    if (this.#times.losses.length > 0) return false;
    return event === "destroy" || this.#isMadeHere(one);
  }

  #isMadeHere({ acknowledged = [], outcome, store }: ChangeOperation): boolean {
    const { length } = this.#times.losses;
    const isHere = store !== undefined && store === this.#region && acknowledged.includes(store);
    return length === 0 && isHere && outcome === "done";
  }

  #valueStep(one: ChangeOperation): Step | undefined {
    if (!("attribute" in one)) return undefined;
    const { attribute, value, operation } = one;
    if (operation === "DeleteAttribute") return { kind: "delete", attribute, value };
    if (operation === "SetAttribute") {
      const { rivals, successors } = this.#times.others(one);
      const none = this.#isMadeHere(one) ? new Set<string>() : rivals;
      return { kind: "set", attribute, value, rivals: none, successors };
    }
    const isDeleted = this.#times.changes.some(
      (other) =>
        other.operation === "DeleteAttribute" &&
        other.attribute === attribute &&
        other.value === value,
    );
    // Whether every endpoint must show a value that somebody deleted depends on who knows of that.
    if (this.#region === undefined && isDeleted) return undefined;
    return { kind: "add", attribute, value };
  }

  /** What an answer shows of the object in this view. */
  #shown(one: Operation): Step | undefined {
    if (one.outcome === "unknown") return undefined;
    const isCommon = this.#region === undefined;
    if (!isCommon && one.store !== this.#region) return undefined;
    if (one.outcome === "refused") return refusalStep(one, isCommon);
    if (one.operation === "Get") return { kind: "material", digest: one.digest ?? "" };
    if (one.operation === "Locate" && !isCommon) {
      const { attribute, value, found = false } = one;
      const isOfAll = attribute === undefined || value === undefined;
      return { kind: "locate", found, term: isOfAll ? undefined : { attribute, value } };
    }
    if (one.operation !== "GetAttributes") return undefined;
    const { state, attributes = {} } = one;
    const unasked = isCommon ? this.#unasked(one) : undefined;
    return { kind: "look", state, attributes, unasked };
  }

  /** What a read shows that nobody had asked for by then. */
  #unasked(read: Operation & { readonly operation: "GetAttributes" }): string | undefined {
    const { state, attributes = {}, return: returned = Infinity } = read;
    const asked = this.#times.changes.filter(({ call }) => call <= returned);
    const event = state === undefined ? undefined : shownBy[state];
    if (event !== undefined && !asked.some((one) => eventOf(one) === event)) return state;
    for (const [attribute, values] of Object.entries(attributes)) {
      const isWritten = (value: string): boolean =>
        asked.some((one) => "value" in one && one.attribute === attribute && one.value === value);
      const unwritten = values.find((value) => !isWritten(value));
      if (unwritten !== undefined) return unwritten;
    }
    return undefined;
  }
}

/** A change in a region's view. One of a value that arrives later may be lost to another value. */
function placedHere(placed: Placed): Placed {
  const { of, returnMs } = placed;
  const isLate = of.operation === "SetAttribute" && returnMs > (of.return ?? Infinity);
  return isLate ? { ...placed, returnMs: Infinity, optional: true } : placed;
}

/** A change in the view of all endpoints: each may show it or not before it is certain that all do. */
function commonPlaces(placed: Placed): readonly Placed[] {
  const { of, returnMs, optional } = placed;
  if (of.operation === "Create" || of.operation === "Destroy") return [placed];
  if (optional) return [];
  const isLate = returnMs > (of.return ?? Infinity);
  return [isLate ? { ...placed, callMs: returnMs } : placed];
}

/** What must have happened to an object that shows a State. */
const shownBy: Readonly<Record<State, LifecycleEvent | undefined>> = {
  PreActive: undefined,
  Active: "activate",
  Deactivated: "deactivate",
  Compromised: "compromise",
  Destroyed: "destroy",
  DestroyedCompromised: "destroy",
};

function eventOf(one: Operation): LifecycleEvent | undefined {
  if (one.operation === "Activate") return "activate";
  if (one.operation === "Destroy") return "destroy";
  if (one.operation !== "Revoke") return undefined;
  return one.compromise ? "compromise" : "deactivate";
}

const notFound = new Set(["ItemNotFound", "ObjectNotFound"]);
const wrongState = new Set(["PermissionDenied", "WrongKeyLifecycleState"]);

function refusalStep(one: Operation, isCommon: boolean): Step | undefined {
  const { reason = "", operation } = one;
  const event = eventOf(one);
  if (notFound.has(reason)) {
    return { kind: "absent", orDestroyed: operation === "Get" || event !== undefined };
  }
  if (reason === "ObjectDestroyed") return { kind: "gone" };
  return !isCommon && event !== undefined && wrongState.has(reason)
    ? { kind: "refused", event }
    : undefined;
}
