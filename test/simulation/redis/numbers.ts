import { CommandError, errors } from "./reply.ts";

const lowest = -(2n ** 63n);
const highest = 2n ** 63n - 1n;

/** Reads a 64-bit integer as strictly as Redis does: no sign `+`, no leading zeros, no spaces. */
export function integer(text: string, message: string = errors.notInteger): bigint {
  if (!/^(0|-?[1-9]\d{0,18})$/.test(text)) throw new CommandError(message);
  const value = BigInt(text);
  if (value < lowest || value > highest) throw new CommandError(message);
  return value;
}

/** The same as a number, for positions and counts. */
export function small(text: string): number {
  return Number(integer(text));
}

/** Adds as Redis' counters do. */
export function added(value: bigint, by: bigint): bigint {
  const sum = value + by;
  if (sum < lowest || sum > highest) throw new CommandError(errors.overflow);
  return sum;
}

/** Reads a score; undefined where it is no number. */
export function score(text: string): number | undefined {
  if (/^[+-]?inf(inity)?$/i.test(text)) return text.startsWith("-") ? -Infinity : Infinity;
  if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) return undefined;
  return Number(text);
}

const wholeMax = 2 ** 53;

/** A floating-point number as Redis writes it. */
export function numberText(value: number): string {
  if (value === Infinity) return "inf";
  if (value === -Infinity) return "-inf";
  if (Number.isNaN(value)) return "nan";
  if (Object.is(value, -0)) return "-0";
  if (Number.isInteger(value) && Math.abs(value) < wholeMax) return value.toFixed(0);
  return String(value);
}
