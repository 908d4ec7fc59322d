import { isLinearizable, type TimedStep } from "./porcupine.ts";

/** The first line of a file. */
interface Header {
  readonly regions: readonly string[];
}

/** A line of a file, as docs/histories.md describes it. This reader uses nothing but that page. */
interface Line {
  readonly operation: string;
  readonly object: string;
  readonly region: string;
  readonly store?: string;
  readonly call: number;
  readonly return?: number;
  readonly outcome: "done" | "refused" | "unknown";
  readonly reason?: string;
  readonly acknowledged?: readonly string[];
  readonly tries?: number;
  readonly compromise?: boolean;
  readonly attribute?: string;
  readonly value?: string;
  readonly state?: string;
  readonly attributes?: Readonly<Record<string, readonly string[]>>;
  readonly digest?: string;
  readonly found?: boolean;
}

interface StoreEvent {
  readonly event: "storeLost" | "converged";
  readonly region?: string;
  readonly at: number;
  readonly levelAt?: number;
  readonly since?: number;
}

/** The object in one view. */
interface State {
  readonly exists: boolean;
  /** Whether a search of every object must find it. */
  readonly isListed: boolean;
  readonly events: string;
  readonly values: Readonly<Record<string, readonly string[]>>;
  /** At any endpoint: values that were deleted, and the last SetAttribute of each attribute. */
  readonly deleted: readonly string[];
  readonly sets: Readonly<Record<string, Line>>;
  readonly digest?: string | undefined;
}

type Step = TimedStep<State>["step"];

const initial: State = {
  exists: false,
  isListed: false,
  events: "",
  values: {},
  deleted: [],
  sets: {},
};

function keyOf(state: State): string {
  const values = Object.entries(state.values).map(([name, all]) => [name, all.toSorted()]);
  const sets = Object.entries(state.sets).map(([name, { value }]) => [name, value]);
  const deleted = state.deleted.toSorted();
  return JSON.stringify({ ...state, values: values.toSorted(), deleted, sets: sets.toSorted() });
}

const reads = new Set(["GetAttributes", "Get", "Locate"]);

/** A letter for each event; the State follows from those that happened. */
function eventOf({ operation, compromise }: Line): string | undefined {
  if (operation === "Revoke") return compromise === true ? "c" : "d";
  if (operation === "Activate") return "a";
  return operation === "Destroy" ? "x" : undefined;
}

function stateOf(events: string): string {
  const has = (event: string): boolean => events.includes(event);
  if (has("x")) return has("c") ? "DestroyedCompromised" : "Destroyed";
  if (has("c")) return "Compromised";
  if (has("d")) return "Deactivated";
  return has("a") ? "Active" : "PreActive";
}

const permitted: Readonly<Record<string, string>> = {
  PreActive: "acx",
  Active: "adc",
  Deactivated: "cx",
  Compromised: "x",
  Destroyed: "c",
  DestroyedCompromised: "",
};
const isPermitted = (state: State, event: string): boolean =>
  permitted[stateOf(state.events)]?.includes(event) === true;
const everyEvents = Array.from({ length: 16 }, (_, bits) =>
  [..."acdx"].filter((_event, at) => (bits & (1 << at)) !== 0).join(""),
);
const eventShownBy: Readonly<Record<string, string>> = {
  Active: "a",
  Deactivated: "d",
  Compromised: "c",
  Destroyed: "x",
  DestroyedCompromised: "x",
};

/** The objects and places of a file's text for which no order explains every answer: `k1 a`, `k1 b` or `k1 any`. */
export function placesWithoutOrder(text: string): readonly string[] {
  const records = `[${text.trim().split(/\n+/).join(",")}]`;
  const [header, ...rest] = JSON.parse(records) as readonly [Header, ...(Line | StoreEvent)[]];
  const events = rest.filter((line) => "event" in line);
  const lines = rest.filter((line) => "operation" in line);
  const objects = Map.groupBy(lines, ({ object }) => object);
  return [...objects].flatMap(([object, own]) => {
    const firstMs = Math.min(...own.map(({ call }) => call));
    const isLater = (one: StoreEvent): boolean =>
      one.event === "converged" || (one.levelAt ?? Infinity) >= firstMs;
    const history = new ObjectHistory(header.regions, own, events.filter(isLater));
    return [...header.regions, undefined].flatMap((region: string | undefined) =>
      history.isLinearizable(region) ? [] : [`${object} ${region ?? "any"}`],
    );
  });
}

/** The lines about one object. */
class ObjectHistory {
  readonly #regions: readonly string[];
  readonly #lines: readonly Line[];
  readonly #losses: readonly StoreEvent[];
  readonly #converged: readonly StoreEvent[];

  constructor(regions: readonly string[], lines: readonly Line[], events: readonly StoreEvent[]) {
    const inOrder = events.toSorted((one, other) => one.at - other.at);
    this.#regions = regions;
    this.#lines = lines;
    this.#losses = inOrder.filter(({ event }) => event === "storeLost");
    this.#converged = inOrder.filter(({ event }) => event === "converged");
  }

  /** In a region's store; without a region, at any endpoint. Each time between two losses is decided on its own. */
  isLinearizable(region: string | undefined): boolean {
    const bounds = [-Infinity, ...this.#losses.map(({ at }) => at), Infinity];
    return bounds.slice(1).every((toMs, at) => {
      const fromMs = bounds[at] as number;
      const steps = this.#lines.flatMap((line) =>
        reads.has(line.operation) || line.outcome === "refused"
          ? this.#read(line, region, fromMs, toMs)
          : this.#change(line, region, fromMs),
      );
      return isLinearizable(initial, keyOf, steps);
    });
  }

  /** By when a region, or every region, has a change for certain. */
  #byMs(line: Line, region: string | undefined, fromMs: number): number {
    const { outcome, acknowledged = [], return: end } = line;
    if (outcome !== "done" || end === undefined) return Infinity;
    if (this.#regions.every((one) => acknowledged.includes(one))) return end;
    if (this.#isLost(line, fromMs)) return Infinity;
    if (region !== undefined && acknowledged.includes(region)) return end;
    const converged = this.#converged.find(
      (one) => (one.region === undefined || one.region === region) && (one.since ?? one.at) >= end,
    );
    return converged === undefined || this.#isLost(line, converged.at) ? Infinity : converged.at;
  }

  /** Whether the only store that had a change was lost by then. */
  #isLost({ acknowledged = [], call, return: end = Infinity }: Line, byMs: number): boolean {
    if (this.#regions.every((one) => acknowledged.includes(one))) return false;
    return this.#losses.some(
      ({ at, region = "" }) =>
        at >= call &&
        at <= byMs &&
        (acknowledged.length === 0 || acknowledged.includes(region)) &&
        !this.#converged.some(
          (one) => one.region !== region && one.at <= at && (one.since ?? one.at) >= end,
        ),
    );
  }

  #change(line: Line, region: string | undefined, fromMs: number): readonly TimedStep<State>[] {
    const { operation, call, outcome, return: end = Infinity } = line;
    const byMs = this.#byMs(line, region, fromMs);
    if (operation === "Create") return this.#create(line, byMs, fromMs);
    const step = this.#step(line, region);
    if (step === undefined) return [];
    if (region === undefined) {
      if (byMs < Infinity) return [{ call: byMs > end ? byMs : call, return: byMs, step }];
      return operation === "Destroy" ? [{ call, return: Infinity, step: maybe(step) }] : [];
    }
    const isLate = operation === "SetAttribute" && byMs > end;
    const again = operation === "SetAttribute" ? (line.tries ?? 1) - 1 : 0;
    const more = Array.from({ length: again }, () => ({
      call,
      return: outcome === "done" && byMs < Infinity ? end : Infinity,
      step: maybe(step, "or never"),
    }));
    if (byMs === Infinity || isLate)
      return [{ call, return: Infinity, step: maybe(step) }, ...more];
    return [{ call, return: byMs, step }, ...more];
  }

  /** The object exists at once everywhere, and is listed where the region has it. */
  #create(line: Line, byMs: number, fromMs: number): readonly TimedStep<State>[] {
    const { call, return: end = Infinity, outcome } = line;
    const isListed = byMs <= end && outcome === "done";
    const step: Step = (state) => (state.exists ? [] : [{ ...state, exists: true, isListed }]);
    if (outcome !== "done" || this.#isLost(line, fromMs)) {
      return [{ call, return: Infinity, step: maybe(step) }];
    }
    const list: Step = (state) => (state.exists ? [{ ...state, isListed: true }] : []);
    const isLate = byMs > end && byMs < Infinity;
    return [{ call, return: end, step }, ...(isLate ? [{ call, return: byMs, step: list }] : [])];
  }

  #step(line: Line, region: string | undefined): Step | undefined {
    const { operation, outcome, store, acknowledged = [], attribute = "", value = "" } = line;
    const isWhole = this.#losses.length === 0;
    const isHere = outcome === "done" && store === region && acknowledged.includes(store ?? "");
    const event = eventOf(line);
    if (event !== undefined) {
      const isDecided = region !== undefined && isWhole && (event === "x" || isHere);
      return ifExists((state) => {
        const events = [...new Set(state.events + event)].toSorted().join("");
        return isDecided && !isPermitted(state, event) ? [] : [{ ...state, events }];
      });
    }
    const having = (state: State, all: readonly string[]): State => ({
      ...state,
      values: { ...state.values, [attribute]: all },
    });
    const others = (state: State) => (state.values[attribute] ?? []).filter((one) => one !== value);
    const name = JSON.stringify([attribute, value]);
    if (operation === "DeleteAttribute") {
      return ifExists((state) => {
        const left = having(state, others(state));
        return [
          region === undefined ? { ...left, deleted: [...new Set([...left.deleted, name])] } : left,
        ];
      });
    }
    if (operation === "AddAttribute") {
      const isDeleted = this.#lines.some(
        (one) =>
          one.operation === "DeleteAttribute" &&
          one.outcome !== "refused" &&
          one.attribute === attribute &&
          one.value === value,
      );
      if (region === undefined && isDeleted) return undefined;
      return ifExists((state) => [having(state, [...others(state), value])]);
    }
    const rivals = region !== undefined && isHere && isWhole ? [] : this.#rivals(line);
    return ifExists((state) => {
      const set = having(state, [value]);
      const now = region === undefined ? { ...set, sets: { ...set.sets, [attribute]: line } } : set;
      return others(state).some((one) => rivals.includes(one)) ? [now, state] : [now];
    });
  }

  /** Values of SetAttribute that overlap with this one, each from its call until every region has it. */
  #rivals(line: Line): readonly string[] {
    const untilMs = this.#byMs(line, undefined, -Infinity);
    return this.#lines
      .filter((one) => one !== line && this.#isNotBefore(one, line) && one.call <= untilMs)
      .map(({ value = "" }) => value);
  }

  /** Whether a SetAttribute of the same attribute is not certain to have happened before another one. */
  #isNotBefore(one: Line, other: Line): boolean {
    if (one.operation !== "SetAttribute" || one.attribute !== other.attribute) return false;
    return one.outcome !== "refused" && this.#byMs(one, undefined, -Infinity) >= other.call;
  }

  #read(
    line: Line,
    region: string | undefined,
    fromMs: number,
    toMs: number,
  ): readonly TimedStep<State>[] {
    const { call, return: end, outcome, store } = line;
    if (outcome === "unknown" || end === undefined || call < fromMs || end > toMs) return [];
    const isBehind = this.#losses.some(
      ({ at, levelAt = Infinity, ...lost }) =>
        call >= at && call <= levelAt && lost.region === (store ?? line.region),
    );
    if (isBehind || (region !== undefined && store !== region)) return [];
    const step = outcome === "refused" ? refusal(line, region) : this.#shown(line, region);
    return step === undefined ? [] : [{ call, return: end, step }];
  }

  #shown(line: Line, region: string | undefined): Step | undefined {
    const { operation, digest, found, attribute, value = "" } = line;
    if (operation === "Get") {
      return ifExists((state) => {
        const isGone = state.events.includes("x");
        const isSame = (state.digest ?? digest) === digest;
        return isGone || !isSame ? [] : [{ ...state, digest }];
      });
    }
    if (operation === "Locate") {
      if (region === undefined) return undefined;
      const isMatch = (state: State): boolean =>
        attribute === undefined
          ? state.isListed
          : state.values[attribute]?.includes(value) === true;
      if (found !== true) {
        return (state) =>
          !state.exists || state.events.includes("x") || !isMatch(state) ? [state] : [];
      }
      return ifExists((state) =>
        attribute === undefined || isMatch(state) ? [{ ...state, isListed: true }] : [],
      );
    }
    if (region !== undefined) return ifExists((state) => (isCopy(state, line) ? [state] : []));
    const isAsked = this.#isAsked(line);
    return ifExists((state) => (isAsked && this.#isAtLeast(state, line) ? [state] : []));
  }

  /** Whether everything that a read shows had been asked for when it returned. */
  #isAsked({ state = "", attributes = {}, return: end = Infinity }: Line): boolean {
    const asked = this.#lines.filter(
      (one) => !reads.has(one.operation) && one.outcome !== "refused" && one.call <= end,
    );
    const event = eventShownBy[state];
    if (event !== undefined && !asked.some((one) => eventOf(one) === event)) return false;
    return Object.entries(attributes).every(([name, values]) =>
      values.every((value) => asked.some((one) => one.attribute === name && one.value === value)),
    );
  }

  #isAtLeast(known: State, { state, attributes = {} }: Line): boolean {
    if (state !== undefined) {
      const isPossible = everyEvents.some(
        (events) =>
          stateOf(events) === state && [...known.events].every((one) => events.includes(one)),
      );
      const isGone = state === "Destroyed" || state === "DestroyedCompromised";
      if (!isPossible || isGone !== known.events.includes("x")) return false;
    }
    return Object.entries(attributes).every(([name, values]) => {
      if (values.some((value) => known.deleted.includes(JSON.stringify([name, value]))))
        return false;
      const set = known.sets[name];
      const all = known.values[name] ?? [];
      if (set === undefined) return all.every((value) => values.includes(value));
      const isLater = (value: string): boolean =>
        this.#lines.some(
          (one) => one !== set && one.value === value && this.#isNotBefore(one, set),
        );
      return values.some((value) => all.includes(value) || isLater(value));
    });
  }
}

/** What a refusal says of the object; undefined if nothing. */
function refusal(line: Line, region: string | undefined): Step | undefined {
  const { reason = "", operation } = line;
  const event = eventOf(line);
  if (reason === "ItemNotFound" || reason === "ObjectNotFound") {
    const isSameForDestroyed = operation === "Get" || event !== undefined;
    return (state) =>
      !state.exists || (isSameForDestroyed && state.events.includes("x")) ? [state] : [];
  }
  if (reason === "ObjectDestroyed") {
    return ifExists((state) => (state.events.includes("x") ? [state] : []));
  }
  const isOfState = reason === "PermissionDenied" || reason === "WrongKeyLifecycleState";
  if (!isOfState || event === undefined || region === undefined) return undefined;
  return ifExists((state) => (isPermitted(state, event) ? [] : [state]));
}

function isCopy({ events, values }: State, { state, attributes = {} }: Line): boolean {
  if (state !== undefined && state !== stateOf(events)) return false;
  return Object.entries(attributes).every(([name, shown]) => {
    const all = values[name] ?? [];
    return all.length === shown.length && shown.every((value) => all.includes(value));
  });
}

function ifExists(step: Step): Step {
  return (state) => (state.exists ? step(state) : []);
}

/** A change that may never happen: where it is impossible, it changes nothing; "or never" makes that a choice everywhere. */
function maybe(step: Step, choice?: "or never"): Step {
  return (state) => {
    const next = step(state);
    return choice === undefined && next.length > 0 ? next : [...next, state];
  };
}
