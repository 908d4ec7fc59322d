/** A promise that the checker tests, with the words of its violations. */
export interface SimulatedPromise {
  readonly id: string;
  /** The label of its counter, which must stay at 0. */
  readonly counted: string;
  /** The same for a small screen. */
  readonly short: string;
  /** The promise itself. */
  readonly promise: string;
  readonly violation: RegExp;
}

/** The counted promises. A violation counts for the first one that fits; the last one takes all others. */
export const promises: readonly SimulatedPromise[] = [
  {
    id: "not-found",
    counted: 'Wrong answers "not found"',
    short: 'wrong "not found"',
    promise: '"Not found" is never answered for a key that a client was given',
    violation: /^"not found" for /,
  },
  {
    id: "destroyed",
    counted: "Keys wrongly destroyed, or back again",
    short: "destroyed keys back",
    promise: "A destroyed key never comes back, and no key is destroyed while it is active",
    violation:
      /^(?!object |\w+ at \w+ is answered ).*destroyed|is acknowledged, and not durable in/,
  },
  {
    id: "backwards",
    counted: "Answers that went back in time",
    short: "back in time",
    promise: "What a region's store has shown, it does not take back",
    violation: /was shown by the same store|is seen, which /,
  },
  {
    id: "lost",
    counted: "Acknowledged changes wrongly lost",
    short: "changes lost",
    promise: "Nothing acknowledged is lost",
    violation: /is gone|is not seen|is not in \w+ at the end/,
  },
  {
    id: "leaders",
    counted: "Terms with two leaders",
    short: "two leaders",
    promise: "No two leaders of a region act in one term",
    violation: /^two leaders /,
  },
  {
    id: "other",
    counted: "Other broken promises",
    short: "other",
    promise: "Everything is ready again after the faults end, and nothing fails in another way",
    violation: /./,
  },
];

/** The promise that a violation breaks. */
export function brokenBy(message: string): SimulatedPromise {
  const broken = promises.find(({ violation }) => violation.test(message)) ?? promises.at(-1);
  if (broken === undefined) throw new RangeError("there are no promises");
  return broken;
}
