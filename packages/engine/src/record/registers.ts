import { encode, type Item, ItemType } from "@holdfast/ttlv";
import type { Ids } from "../base/ids.ts";
import type { PlannedDates } from "./lifecycle.ts";
import type { Register, Stamp } from "./record.ts";
import { compareRegisters } from "./register-codec.ts";

/** Most registers of one object, those of deleted values included. */
export const registersMax = 1_000;

/** Which attribute: its tag and, for Vendor Attribute, its key; empty otherwise. */
export interface RegisterName {
  readonly tag: number;
  readonly key: string;
}

/** A clock reading in microseconds and the region that writes: the lowest stamp that a write takes. */
export type Now = Stamp;

/** The same, with the origin of the value that is added (`Writer`). */
export interface OriginNow extends Now {
  readonly origin: string;
}

/**
 * Names the values that a process adds: 64 random bits of its start and a number that counts up. A process may write to
 * two stores in turn, and the second may lack what the first took, so no two values that it adds may share a name.
 */
export class Writer {
  readonly #start: string;
  #count = 0;

  constructor(ids: Pick<Ids, "randomBytes">) {
    this.#start = Buffer.from(ids.randomBytes(8)).toString("base64url");
  }

  /** The origin of the next value. */
  next(): string {
    this.#count += 1;
    return `${this.#start}.${this.#count.toString(36)}`;
  }
}

/** Registers after a change, in order, and the one that was written. */
export interface Written {
  readonly registers: readonly Register[];
  readonly register: Register;
}

/** A value that an object has now. */
export interface CurrentValue {
  /** The 1.x Attribute Index: no other value of the attribute has it. */
  readonly index: number;
  readonly value: Item;
  readonly register: Register;
}

/** Stored indexes are lower: an object has fewer registers, and each index is one more than the highest before. */
const indexStep = 1 << 20;

/**
 * The values of an object now, in order. Writers that knew nothing of each other may have given the same index to
 * different values: the first keeps it, the others are shown at `indexStep` more. Equal values that several writers
 * added count as one.
 */
export function valuesOf(registers: readonly Register[]): readonly CurrentValue[] {
  const values: CurrentValue[] = [];
  let previous: Register | undefined;
  let rank = 0;
  for (const register of registers) {
    const collides =
      previous !== undefined && isOf(register, previous) && register.index === previous.index;
    rank = collides ? rank + 1 : 0;
    previous = register;
    const { value, index } = register;
    if (value !== undefined) values.push({ index: index + rank * indexStep, value, register });
  }
  const origins = new Set(values.map(({ register }) => register.origin));
  return origins.size > 1 ? distinct(values) : values;
}

/** The values that an attribute has now, in the order of their registers. */
export function currentValues(
  registers: readonly Register[],
  name: RegisterName,
): readonly CurrentValue[] {
  return valuesOf(registers.filter((register) => isOf(register, name)));
}

/** Values without those that another writer had added already. */
function distinct(values: readonly CurrentValue[]): readonly CurrentValue[] {
  const first = new Map<string, CurrentValue>();
  return values.filter((current) => {
    const { register, value } = current;
    const content = `${register.tag} ${register.key} ${Buffer.from(encode(value)).toString("latin1")}`;
    const other = first.get(content);
    if (other === undefined) first.set(content, current);
    return other === undefined || other.register.origin === register.origin;
  });
}

/** The value of an attribute at an index, 0 by default. */
export function valueAt(
  registers: readonly Register[],
  name: RegisterName,
  index = 0,
): Item | undefined {
  return currentValues(registers, name).find((register) => register.index === index)?.value;
}

/**
 * Adds a value to a multi-valued attribute, at an index that none of its values ever had; undefined when the object
 * is full.
 */
export function addValue(
  registers: readonly Register[],
  name: RegisterName,
  value: Item,
  now: OriginNow,
): Written | undefined {
  if (registers.length >= registersMax) return undefined;
  const used = registers.filter((register) => isOf(register, name));
  const index = used.reduce((next, register) => Math.max(next, register.index + 1), 0);
  const stamp = { us: now.us, region: now.region };
  return write(registers, { ...name, index, origin: now.origin, value, stamp });
}

/** Replaces the value at an index; undefined if there is none. */
export function modifyValue(
  registers: readonly Register[],
  name: RegisterName,
  index: number,
  value: Item,
  now: Now,
): Written | undefined {
  const old = currentValues(registers, name).find((current) => current.index === index);
  if (old === undefined) return undefined;
  const others = withoutCopies(withoutCopies(registers, old, now), { ...old, value }, now);
  return write(others, { ...old.register, value, stamp: stampAfter(old.register, now) });
}

/**
 * Gives an attribute its one value, in place of its first value if it has any; undefined when the object is full. A
 * register made here has no origin, so that all writers write the same one.
 */
export function setValue(
  registers: readonly Register[],
  name: RegisterName,
  value: Item,
  now: Now,
): Written | undefined {
  const [first] = currentValues(registers, name);
  const old =
    first?.register ?? registers.find((register) => isOf(register, name) && register.index === 0);
  if (old !== undefined) return write(registers, { ...old, value, stamp: stampAfter(old, now) });
  if (registers.length >= registersMax) return undefined;
  const stamp = { us: now.us, region: now.region };
  return write(registers, { ...name, index: 0, origin: "", value, stamp });
}

/** Deletes the value at an index and keeps its register; undefined if there is none. */
export function deleteValue(
  registers: readonly Register[],
  name: RegisterName,
  index: number,
  now: Now,
): Written | undefined {
  const old = currentValues(registers, name).find((current) => current.index === index);
  if (old === undefined) return undefined;
  const others = withoutCopies(registers, old, now);
  return write(others, { ...old.register, value: undefined, stamp: stampAfter(old.register, now) });
}

/** Deletes equal values that other writers added: they are the same value, and must not show in its place. */
function withoutCopies(
  registers: readonly Register[],
  { register, value }: CurrentValue,
  now: Now,
): readonly Register[] {
  return registers.map((other) =>
    other.origin !== register.origin && isOf(other, register) && isSameItem(other.value, value)
      ? { ...other, value: undefined, stamp: stampAfter(other, now) }
      : other,
  );
}

/** Deletes every value of an attribute; the same array when it has none. */
export function deleteValues(
  registers: readonly Register[],
  name: RegisterName,
  now: Now,
): readonly Register[] {
  if (!registers.some((register) => isOf(register, name) && hasValue(register))) return registers;
  return registers.map((register) =>
    isOf(register, name) && hasValue(register)
      ? { ...register, value: undefined, stamp: stampAfter(register, now) }
      : register,
  );
}

/** The stamp of a write over `old`: later than the old one even if this node's clock is behind. */
export function stampAfter(old: Register, now: Now): Stamp {
  return { us: Math.max(now.us, old.stamp.us + 1), region: now.region };
}

/** The dates that the registers plan for an object. */
export function plannedDates(registers: readonly Register[]): PlannedDates {
  const dates: Record<string, number> = {};
  for (const { tag, value } of registers) {
    const name = dateTags[tag];
    if (name === undefined || value === undefined) continue;
    if (value.type === ItemType.DateTime) dates[name] = Number(value.value);
  }
  return dates;
}

const dateTags: Readonly<Record<number, keyof PlannedDates>> = {
  4325377: "activation",
  4325423: "deactivation",
  4325479: "processStart",
  4325480: "protectStop",
};

function isOf(register: RegisterName, name: RegisterName): boolean {
  return register.tag === name.tag && register.key === name.key;
}

function hasValue(register: Register): boolean {
  return register.value !== undefined;
}

/** Whether two items have the same bytes, or both are undefined. */
export function isSameItem(one: Item | undefined, other: Item | undefined): boolean {
  if (one === undefined || other === undefined || one === other) return one === other;
  if (one.tag !== other.tag || one.type !== other.type) return false;
  return Buffer.compare(encode(one), encode(other)) === 0;
}

/** Puts a register in its place, instead of the one with the same identity. */
function write(registers: readonly Register[], register: Register): Written {
  const { tag, key, index, origin, value, stamp } = register;
  const written: Register = { tag, key, index, origin, value, stamp };
  const others = registers.filter((other) => compareRegisters(other, written) !== 0);
  return { registers: [...others, written].toSorted(compareRegisters), register: written };
}
