import { type ServingState, type serving, servingAtStart } from "@holdfast/regions";

/** Tells of a rule that a node has broken: a part of a sentence that follows its name. */
export type Broken = (what: string) => void;

type Decide = typeof serving;
type Decided = ReturnType<Decide>;

/** What must hold whenever a node decides from where it serves. */
export class ServingRules {
  readonly #broken: Broken;
  #state: ServingState = servingAtStart;
  #from: Decided["from"] = "none";

  constructor(broken: Broken) {
    this.#broken = broken;
  }

  /** What the node's last decision was made from. */
  get state(): ServingState {
    return this.#state;
  }

  /** From where it serves. */
  get from(): Decided["from"] {
    return this.#from;
  }

  /** The same decisions, which are checked. */
  watched(decide: Decide): Decide {
    return (state) => {
      const decided = decide(state);
      const what = wrong(state, decided) ?? leftOver(this.#state, state);
      this.#state = state;
      this.#from = decided.from;
      if (what !== undefined) this.#broken(what);
      return decided;
    };
  }
}

/** What a decision must not be. */
function wrong(state: ServingState, decided: Decided): string | undefined {
  const { lease, level, lacking, others } = state;
  const { from, writes, through, agrees } = decided;
  if (agrees && from !== "local" && !(lease === "full" && lacking)) {
    return "agrees with a store that is not level, and lacks more than room";
  }
  if (from !== "local" || !writes) return undefined;
  if (lease !== "full") return "changes a store on which it has no full lease";
  if (level) return undefined;
  if (others === "unknown") return "serves alone before it has waited for the other region";
  return through ? undefined : "does not ask the other region beside a store that is not level";
}

/** What must not stay after an outage: it is known only of the store, and of the time, before it. */
function leftOver(before: ServingState, state: ServingState): string | undefined {
  if (state.outage === before.outage) return undefined;
  if (state.level && state.others !== "absent") return "takes its store for level after an outage";
  const isAlone = state.lease === "full" && state.others === "down";
  if (state.asInCut && !isAlone) return "continues as in a cut after another outage";
  return undefined;
}
