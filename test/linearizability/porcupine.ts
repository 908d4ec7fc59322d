/** One operation as Porcupine takes it: an interval, and the states to which it may lead; none if it is impossible. */
export interface TimedStep<State> {
  readonly call: number;
  /** Infinite for one that may happen at any time after its call. */
  readonly return: number;
  readonly step: (state: State) => readonly State[];
}

/** A call or a return in the list of those that are not linearized yet. */
interface Entry {
  readonly at: number;
  /** The return of a call; undefined for a return. */
  match: Entry | undefined;
  previous: Entry | undefined;
  next: Entry | undefined;
}

/**
 * Whether some order of the steps explains all of them: the algorithm of Porcupine (Wing and Gong's search with Lowe's
 * cache) for a nondeterministic model, whose state is the set of the possible states. It shares no code with
 * `checker.ts`.
 */
export function isLinearizable<State>(
  initial: State,
  key: (state: State) => string,
  steps: readonly TimedStep<State>[],
): boolean {
  const head = listOf(steps);
  const seen = new Set<string>();
  const linearized = new Set<number>();
  const calls: { readonly entry: Entry; readonly states: readonly State[] }[] = [];
  let states: readonly State[] = [initial];
  let entry = head.next;
  while (entry !== undefined) {
    if (entry.match === undefined) {
      const last = calls.pop();
      if (last === undefined) return false;
      linearized.delete(last.entry.at);
      states = last.states;
      unlift(last.entry);
      entry = last.entry.next;
      continue;
    }
    const { at } = entry;
    const next = distinct(
      states.flatMap((state) => steps[at]?.step(state) ?? []),
      key,
    );
    const name = `${[...linearized, at].toSorted((a, b) => a - b)} ${next.map(key).toSorted()}`;
    if (next.length === 0 || seen.has(name)) {
      entry = entry.next;
      continue;
    }
    seen.add(name);
    calls.push({ entry, states });
    states = next;
    linearized.add(at);
    lift(entry);
    entry = head.next;
  }
  return true;
}

function distinct<State>(states: readonly State[], key: (state: State) => string) {
  return [...new Map(states.map((state) => [key(state), state])).values()];
}

/** Calls and returns by time, calls first. The head of the list comes before the first one. */
function listOf(steps: readonly Pick<TimedStep<never>, "call" | "return">[]): Entry {
  const pairs = steps.map(({ call, return: end }, at) => {
    const returned = { at, match: undefined, previous: undefined, next: undefined };
    const called = { at, match: returned, previous: undefined, next: undefined };
    return [
      { ms: call, entry: called as Entry },
      { ms: end, entry: returned as Entry },
    ] as const;
  });
  const inOrder = pairs.flat().toSorted((one, other) => {
    if (one.ms !== other.ms) return one.ms < other.ms ? -1 : 1;
    return Number(one.entry.match === undefined) - Number(other.entry.match === undefined);
  });
  const head: Entry = { at: -1, match: undefined, previous: undefined, next: undefined };
  let last = head;
  for (const { entry } of inOrder) {
    entry.previous = last;
    last.next = entry;
    last = entry;
  }
  return head;
}

/** Takes a call and its return out of the list. */
function lift({ match, previous, next }: Entry): void {
  if (previous !== undefined) previous.next = next;
  if (next !== undefined) next.previous = previous;
  if (match?.previous !== undefined) match.previous.next = match.next;
  if (match?.next !== undefined) match.next.previous = match.previous;
}

/** Puts them back. */
function unlift(entry: Entry): void {
  const { match, previous, next } = entry;
  if (match?.previous !== undefined) match.previous.next = match;
  if (match?.next !== undefined) match.next.previous = match;
  if (previous !== undefined) previous.next = entry;
  if (next !== undefined) next.previous = entry;
}
