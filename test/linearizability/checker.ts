/** What a thing does, one step after the other. */
export interface Model<State, Step> {
  readonly initial: State;
  /**
   * Every state that the step may lead to; none if the step is impossible in this state. If it may change nothing, this
   * state itself is among them.
   */
  readonly next: (state: State, step: Step) => readonly State[];
  /** Equal for equal states. */
  readonly key: (state: State) => string;
  /** Equal for steps that do the same in every state. */
  readonly name: (step: Step) => string;
  /** Whether a step only shows something. */
  readonly isRead: (step: Step) => boolean;
  /** Whether `step` may be possible only after `earlier`, which happens in this state or after others. */
  readonly needs: (step: Step, earlier: Step, state: State) => boolean;
  /** Whether `step` may be impossible, or may mean something else, after `later`, which does not need it. */
  readonly areOrdered: (step: Step, later: Step) => boolean;
  /** Whether `step` is impossible until `change` has happened, or an equal one. */
  readonly isMissing?: (state: State, step: Step, change: Step) => boolean;
  /** Whether `step` right before `later`, which led to this state, would have made no difference. */
  readonly isLost?: (step: Step, later: Step, state: State) => boolean;
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
  readonly done: Numbers;
  /** Others that have not returned: they may have happened without a trace, or happen later. */
  readonly free: Numbers;
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
  #budget: number;

  constructor(model: Model<State, Step>, operations: readonly Timed<Step>[], budget: number) {
    this.#model = model;
    this.#operations = operations;
    this.#budget = budget;
    const { initial } = model;
    this.#configurations = [{ state: initial, key: model.key(initial), done: [], free: [] }];
  }

  get isExhausted(): boolean {
    return this.#budget < 0;
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
    const reached = this.#configurations.flatMap((one) => {
      if (one.done.includes(at)) return [one];
      const happened = this.#before(one, at);
      return this.#of(at).optional ? [one, ...happened] : happened;
    });
    this.#pending.delete(at);
    this.#configurations = this.#pruned(
      reached.map((one) => ({ ...one, done: without(one.done, at), free: without(one.free, at) })),
    );
  }

  /** Lets pending operations happen until the goal has: one read after the other, each with the changes before it. */
  #before(from: Configuration<State>, goal: number): readonly Configuration<State>[] {
    const found: Configuration<State>[] = [];
    const seen = new Set<string>();
    const open = [from];
    for (let one = open.pop(); one !== undefined; one = open.pop()) {
      const settled = this.#settle(one);
      const name = nameOf(settled);
      if (seen.has(name)) continue;
      seen.add(name);
      found.push(...this.#changesBefore(settled, goal));
      if (this.isExhausted) return [];
      if (this.#isRead(goal) && settled.free.includes(goal)) continue;
      const reads = this.#allBefore(settled, goal, this.#left(settled)).filter((at) =>
        this.#isRead(at),
      );
      for (const at of reads) open.push(...this.#changesBefore(settled, at));
    }
    return found;
  }

  /** Lets changes happen until the goal can, and has. */
  #changesBefore(from: Configuration<State>, goal: number): readonly Configuration<State>[] {
    const found: Configuration<State>[] = [];
    const seen = new Set<string>();
    const open = [from];
    for (let one = open.pop(); one !== undefined; one = open.pop()) {
      this.#budget -= 1;
      if (this.isExhausted) return [];
      const settled = this.#settle(one);
      const name = nameOf(settled);
      if (seen.has(name)) continue;
      seen.add(name);
      if (settled.free.includes(goal)) found.push(settled);
      // What a read shows stays true only until the next change, and it changes nothing itself.
      if (settled.free.includes(goal) && this.#isRead(goal)) continue;
      found.push(...this.#after(settled, goal));
      for (const at of this.#candidates(settled, goal)) open.push(...this.#after(settled, at));
    }
    return found;
  }

  /** What may change nothing now need not happen any more: it may have happened without a trace. */
  #settle(one: Configuration<State>): Configuration<State> {
    const { state, free } = one;
    const settled = this.#left(one).filter(
      (at) => !this.#isFree(one, at) && this.#model.next(state, this.#of(at).step).includes(state),
    );
    return settled.length === 0 ? one : { ...one, free: sorted([...free, ...settled]) };
  }

  /** What an operation leads to. */
  #after(one: Configuration<State>, at: number): readonly Configuration<State>[] {
    const { step } = this.#of(at);
    const { isLost } = this.#model;
    const isFree = this.#isFree(one, at);
    return this.#model.next(one.state, step).flatMap((state) => {
      const key = this.#model.key(state);
      const lost = this.#left(one).filter(
        (by) =>
          by !== at && !this.#isFree(one, by) && isLost?.(this.#of(by).step, step, state) === true,
      );
      if (isFree && key === one.key && lost.length === 0) return [];
      const free = sorted([...without(one.free, at), ...lost]);
      return [{ state, key, done: sorted([...one.done, at]), free }];
    });
  }

  /** Changes that may have to happen before the goal, or before another of them; all others can wait. */
  #candidates(one: Configuration<State>, goal: number): Numbers {
    const left = this.#left(one).filter((at) => at !== goal && !this.#isRead(at));
    const first = left.find((at) => this.#isFirst(one, at, { goal, left }));
    if (first !== undefined) return [first];
    const names = new Set<string>();
    return this.#allBefore(one, goal, left).filter((at) => {
      const { step, optional, returnMs } = this.#of(at);
      if (!optional || Number.isFinite(returnMs)) return true;
      // Of several that do the same, and may do it at any time, the first is as good as any.
      const name = this.#model.name(step);
      if (names.has(name)) return false;
      names.add(name);
      return true;
    });
  }

  /** Those that may have to happen before the goal, or before another of them. */
  #allBefore(one: Configuration<State>, goal: number, all: Numbers): Numbers {
    const found = [goal];
    let left = all.filter((at) => at !== goal);
    for (const by of found) {
      found.push(...left.filter((at) => this.#isBefore(one, at, by)));
      left = left.filter((at) => !found.includes(at));
    }
    return found.slice(1);
  }

  /** Whether an operation has to happen before the goal, and as well first as later. */
  #isFirst(
    one: Configuration<State>,
    at: number,
    { goal, left }: { goal: number; left: Numbers },
  ): boolean {
    const { isMissing, name } = this.#model;
    const { step } = this.#of(at);
    if (isMissing?.(one.state, this.#of(goal).step, step) !== true) return false;
    const others = left.filter((by) => by !== at);
    return !others.some(
      (by) => name(this.#of(by).step) === name(step) || this.#isBefore(one, by, at),
    );
  }

  /** Whether it may make a difference that one operation happens before another. */
  #isBefore(one: Configuration<State>, at: number, by: number): boolean {
    const { step } = this.#of(at);
    const { step: next } = this.#of(by);
    // One that need not happen can also happen later.
    const isOrdered = !this.#isFree(one, at) && this.#model.areOrdered(step, next);
    return isOrdered || this.#model.needs(next, step, one.state);
  }

  /** Pending operations that have not happened, except for reads that need not happen any more. */
  #left({ done, free }: Configuration<State>): Numbers {
    return [...this.#pending].filter(
      (at) => !done.includes(at) && !(this.#isRead(at) && free.includes(at)),
    );
  }

  /** Whether an operation need not happen any more. */
  #isFree({ free }: Configuration<State>, at: number): boolean {
    return this.#of(at).optional || free.includes(at);
  }

  #isRead(at: number): boolean {
    return this.#model.isRead(this.#of(at).step);
  }

  /** Leaves out a configuration if everything that may come after it may come after another one. */
  #pruned(all: readonly Configuration<State>[]): readonly Configuration<State>[] {
    const groups = new Map<string, Configuration<State>[]>();
    for (const one of all.toSorted((a, b) => a.done.length - b.done.length)) {
      const group = groups.get(one.key) ?? [];
      if (group.some((other) => this.#covers(other, one))) continue;
      groups.set(one.key, [...group, one]);
    }
    return [...groups.values()].flat();
  }

  /** Whether the first of two with the same state has done nothing more, and must do nothing more. */
  #covers(first: Configuration<State>, second: Configuration<State>): boolean {
    return (
      first.done.every((at) => second.done.includes(at)) &&
      second.done.every((at) => first.done.includes(at) || this.#isFree(first, at)) &&
      second.free.every((at) => first.free.includes(at))
    );
  }

  #of(at: number): Timed<Step> {
    const found = this.#operations[at];
    if (found === undefined) throw new RangeError(`no operation ${at}`);
    return found;
  }
}

function nameOf({ key, done, free }: Configuration<unknown>): string {
  return `${key} ${done} ${free}`;
}

function without(numbers: Numbers, at: number): Numbers {
  return numbers.includes(at) ? numbers.filter((one) => one !== at) : numbers;
}

function sorted(numbers: Numbers): Numbers {
  return numbers.toSorted((one, other) => one - other);
}
