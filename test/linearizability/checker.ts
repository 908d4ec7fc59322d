/** What a thing does, one step after the other. */
export interface Model<State, Step> {
  readonly initial: State;
  /** Every state that the step may lead to; none if the step is impossible in this state. */
  readonly next: (state: State, step: Step) => readonly State[];
  /** Equal for equal states. */
  readonly key: (state: State) => string;
  /** Equal for steps that do the same in every state. */
  readonly name: (step: Step) => string;
  /** Whether `step` may be possible only after `earlier`. */
  readonly needs: (step: Step, earlier: Step) => boolean;
  /** Whether `step` may be impossible, or may mean something else, after `later`, which does not need it. */
  readonly areOrdered: (step: Step, later: Step) => boolean;
  /** Whether `step` is impossible until `change` has happened, or an equal one. */
  readonly isMissing?: (state: State, step: Step, change: Step) => boolean;
  /** Whether a step that changes nothing now would change nothing later either. */
  readonly isSettled: (step: Step) => boolean;
}

/** A step that happened at one moment between its call and its return. */
export interface Timed<Step> {
  readonly step: Step;
  readonly callMs: number;
  /** Infinite if nobody knows when it was over. */
  readonly returnMs: number;
  /** It may also have happened never. */
  readonly optional: boolean;
}

export type Verdict<State, Operation> =
  | { readonly kind: "legal" }
  /** No order explains the return of this operation; before it, the states were possible. */
  | {
      readonly kind: "illegal";
      readonly at: Operation;
      readonly before: readonly State[];
    }
  /** The budget was used up first: neither legal nor illegal. */
  | { readonly kind: "unknown" };

/** Numbers of operations, in order. */
type Numbers = readonly number[];

/** One way in which the operations so far may have happened. */
interface Configuration<State> {
  readonly state: State;
  readonly key: string;
  /** Operations that happened and have not returned yet. */
  readonly early: Numbers;
  /** The same of optional ones. */
  readonly spent: Numbers;
}

/** How many configurations are looked at for one verdict. */
const defaultBudget = 200_000;

/**
 * Decides whether some order of the operations, each at a moment between its call and its return, is one that the model
 * allows: linearizability (Herlihy and Wing, 1990). The search is the just-in-time form of Lowe (2017): it walks through
 * the returns and lets other operations happen only right before a return.
 */
export function check<State, Step, Operation extends Timed<Step>>(
  model: Model<State, Step>,
  operations: readonly Operation[],
  budget = defaultBudget,
): Verdict<State, Operation> {
  const search = new Search(model, operations, budget);
  for (const { at, isCall } of eventsOf(operations)) {
    if (isCall) {
      search.call(at);
      continue;
    }
    const before = search.states();
    search.return(at);
    if (search.isExhausted) return { kind: "unknown" };
    if (search.isStuck) return { kind: "illegal", at: operations[at] as Operation, before };
  }
  return { kind: "legal" };
}

/** Calls and returns by time; at the same time calls come first, so that both operations overlap. */
function eventsOf(
  operations: readonly Timed<unknown>[],
): readonly { readonly at: number; readonly isCall: boolean }[] {
  const events = operations.flatMap(({ callMs, returnMs }, at) => [
    { at, isCall: true, ms: callMs },
    { at, isCall: false, ms: returnMs },
  ]);
  // Operations without a return that may never have happened need no look at their end.
  const seen = events.filter(({ ms, at }) => Number.isFinite(ms) || !operations[at]?.optional);
  return seen.toSorted((one, other) =>
    one.ms === other.ms ? Number(other.isCall) - Number(one.isCall) : one.ms - other.ms,
  );
}

class Search<State, Step> {
  readonly #model: Model<State, Step>;
  readonly #operations: readonly Timed<Step>[];
  readonly #pending = new Set<number>();
  #configurations: readonly Configuration<State>[];
  #left: number;

  constructor(model: Model<State, Step>, operations: readonly Timed<Step>[], budget: number) {
    this.#model = model;
    this.#operations = operations;
    this.#left = budget;
    const { initial } = model;
    this.#configurations = [{ state: initial, key: model.key(initial), early: [], spent: [] }];
  }

  get isExhausted(): boolean {
    return this.#left < 0;
  }

  get isStuck(): boolean {
    return this.#configurations.length === 0;
  }

  /** The states that are possible now. */
  states(): readonly State[] {
    return [...new Map(this.#configurations.map(({ key, state }) => [key, state])).values()];
  }

  call(at: number): void {
    this.#pending.add(at);
  }

  /** Keeps the configurations in which the operation has happened by now, or need not have. */
  return(at: number): void {
    const all = this.#configurations;
    const reached = all.flatMap((one) => {
      if (one.early.includes(at) || one.spent.includes(at)) return [one];
      const happened = this.#before(one, at);
      return this.#of(at).optional ? [one, ...happened] : happened;
    });
    this.#pending.delete(at);
    this.#configurations = pruned(
      reached.map((one) => ({
        ...one,
        early: without(one.early, at),
        spent: without(one.spent, at),
      })),
    );
  }

  /** Lets pending operations happen until the goal has. */
  #before(from: Configuration<State>, goal: number): readonly Configuration<State>[] {
    const found: Configuration<State>[] = [];
    const seen = new Set<string>();
    const open = [from];
    for (let one = open.pop(); one !== undefined; one = open.pop()) {
      this.#left -= 1;
      if (this.isExhausted) return [];
      const settled = this.#settle(one);
      const name = `${settled.key} ${settled.early} ${settled.spent}`;
      if (seen.has(name)) continue;
      seen.add(name);
      // What changes nothing is best done at once: all others are still possible afterwards.
      if (settled.early.includes(goal)) {
        found.push(settled);
        continue;
      }
      found.push(...this.#after(settled, goal));
      for (const at of this.#candidates(settled, goal)) open.push(...this.#after(settled, at));
    }
    return found;
  }

  /** Marks the pending operations as happened that change nothing, now or later. */
  #settle(one: Configuration<State>): Configuration<State> {
    const { state, key, early } = one;
    const settled = [...this.#pending].filter((at) => {
      const { step, optional } = this.#of(at);
      if (optional || early.includes(at) || !this.#model.isSettled(step)) return false;
      const [next, ...others] = this.#model.next(state, step);
      return next !== undefined && others.length === 0 && this.#model.key(next) === key;
    });
    return settled.length === 0 ? one : { ...one, early: sorted([...early, ...settled]) };
  }

  /** What an operation leads to. */
  #after(one: Configuration<State>, at: number): readonly Configuration<State>[] {
    const { step, optional } = this.#of(at);
    return this.#model.next(one.state, step).flatMap((state) => {
      const key = this.#model.key(state);
      if (!optional) return [{ ...one, state, key, early: sorted([...one.early, at]) }];
      return key === one.key ? [] : [{ ...one, state, key, spent: sorted([...one.spent, at]) }];
    });
  }

  /** Pending operations that may have to happen before the goal, or before another of them; all others can wait. */
  #candidates({ state, early, spent }: Configuration<State>, goal: number): Numbers {
    const isLeft = (at: number): boolean =>
      at !== goal && !early.includes(at) && !spent.includes(at);
    let left = [...this.#pending].filter(isLeft);
    const first = left.find((at) => this.#isFirst(at, { state, goal, left }));
    if (first !== undefined) return [first];
    const found = [goal];
    for (const by of found) {
      found.push(...left.filter((at) => this.#isBefore(at, by)));
      left = left.filter((at) => !found.includes(at));
    }
    const names = new Set<string>();
    return found.slice(1).filter((at) => {
      const { step, optional, returnMs } = this.#of(at);
      if (!optional || Number.isFinite(returnMs)) return true;
      // Of several that do the same, and may do it at any time, the first is as good as any.
      const name = this.#model.name(step);
      if (names.has(name)) return false;
      names.add(name);
      return true;
    });
  }

  /** Whether an operation has to happen before the goal, and as well first as later. */
  #isFirst(
    at: number,
    { state, goal, left }: { state: State; goal: number; left: Numbers },
  ): boolean {
    const { isMissing, name } = this.#model;
    const { step } = this.#of(at);
    if (isMissing?.(state, this.#of(goal).step, step) !== true) return false;
    const others = left.filter((by) => by !== at);
    return !others.some((by) => name(this.#of(by).step) === name(step) || this.#isBefore(by, at));
  }

  /** Whether it may make a difference that one operation happens before another. */
  #isBefore(at: number, by: number): boolean {
    const { step, optional } = this.#of(at);
    const { step: next } = this.#of(by);
    // One that may happen never can also happen later.
    return this.#model.needs(next, step) || (!optional && this.#model.areOrdered(step, next));
  }

  #of(at: number): Timed<Step> {
    const found = this.#operations[at];
    if (found === undefined) throw new RangeError(`no operation ${at}`);
    return found;
  }
}

/** Leaves out a configuration if another one reached the same with fewer of the optional operations. */
function pruned<State>(all: readonly Configuration<State>[]): readonly Configuration<State>[] {
  const groups = new Map<string, Configuration<State>[]>();
  for (const one of all.toSorted((a, b) => a.spent.length - b.spent.length)) {
    const name = `${one.key} ${one.early}`;
    const group = groups.get(name) ?? [];
    const isWorse = group.some(({ spent }) => spent.every((at) => one.spent.includes(at)));
    if (!isWorse) groups.set(name, [...group, one]);
  }
  return [...groups.values()].flat();
}

function without(numbers: Numbers, at: number): Numbers {
  return numbers.includes(at) ? numbers.filter((one) => one !== at) : numbers;
}

function sorted(numbers: Numbers): Numbers {
  return numbers.toSorted((one, other) => one - other);
}
