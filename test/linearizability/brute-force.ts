import type { Model, Timed } from "./checker.ts";

/** Whether a history is legal, by trying every order: what the checker is compared with. */
export function isLegal<State, Step>(
  model: Model<State, Step>,
  operations: readonly Timed<Step>[],
  state: State = model.initial,
  done: readonly Timed<Step>[] = [],
): boolean {
  const left = operations.filter((one) => !done.includes(one));
  const certain = left.filter(({ optional }) => !optional);
  if (certain.length === 0) return true;
  return left.some((one) => {
    const isLate = done.some(({ callMs }) => callMs > one.returnMs);
    const isEarly = certain.some(({ returnMs }) => returnMs < one.callMs);
    if (isLate || isEarly) return false;
    const states = model.next(state, one.step);
    return states.some((next) => isLegal(model, operations, next, [...done, one]));
  });
}
