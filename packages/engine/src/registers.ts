import { type Item, ItemType } from "@holdfast/ttlv";
import type { PlannedDates } from "./lifecycle.ts";
import type { Register, Stamp } from "./record.ts";
import { compareRegisters } from "./register-codec.ts";

/** Registers of one object at most, those of deleted values included. */
export const registersMax = 1_000;

/** Which attribute: its tag and, for Vendor Attribute, its key; empty otherwise. */
export interface AttributeName {
  readonly tag: number;
  readonly key: string;
}

/** A clock reading in microseconds and the region that writes; what a write takes as its stamp at least. */
export type Now = Stamp;

/** Registers after a change, in order, and the one that was written. */
export interface Written {
  readonly registers: readonly Register[];
  readonly register: Register;
}

/** A register that has a value. */
export type ValueRegister = Register & { readonly value: Item };

/** The values that an attribute has now, by index. */
export function currentValues(
  registers: readonly Register[],
  name: AttributeName,
): readonly ValueRegister[] {
  return registers.filter((register) => isOf(register, name)).filter(hasValue);
}

/** The value of an attribute at an index, 0 unless said. */
export function valueAt(
  registers: readonly Register[],
  name: AttributeName,
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
  name: AttributeName,
  value: Item,
  now: Now,
): Written | undefined {
  if (registers.length >= registersMax) return undefined;
  const used = registers.filter((register) => isOf(register, name));
  const index = used.reduce((next, register) => Math.max(next, register.index + 1), 0);
  return write(registers, { ...name, index, origin: now.region, value, stamp: now });
}

/** Replaces the value at an index; undefined when there is none. */
export function modifyValue(
  registers: readonly Register[],
  name: AttributeName,
  index: number,
  value: Item,
  now: Now,
): Written | undefined {
  const old = currentValues(registers, name).find((register) => register.index === index);
  return old && write(registers, { ...old, value, stamp: stampAfter(old, now) });
}

/**
 * Gives an attribute its one value, over its first value if it has any; undefined when the object is full. A register
 * made here has no origin, so that two regions write the same one.
 */
export function setValue(
  registers: readonly Register[],
  name: AttributeName,
  value: Item,
  now: Now,
): Written | undefined {
  const [first] = currentValues(registers, name);
  const old = first ?? registers.find((register) => isOf(register, name) && register.index === 0);
  if (old !== undefined) return write(registers, { ...old, value, stamp: stampAfter(old, now) });
  if (registers.length >= registersMax) return undefined;
  return write(registers, { ...name, index: 0, origin: "", value, stamp: now });
}

/** Deletes the value at an index and keeps its register; undefined when there is none. */
export function deleteValue(
  registers: readonly Register[],
  name: AttributeName,
  index: number,
  now: Now,
): Written | undefined {
  const old = currentValues(registers, name).find((register) => register.index === index);
  return old && write(registers, { ...old, value: undefined, stamp: stampAfter(old, now) });
}

/** Deletes every value of an attribute; the same array when it has none. */
export function deleteValues(
  registers: readonly Register[],
  name: AttributeName,
  now: Now,
): readonly Register[] {
  if (currentValues(registers, name).length === 0) return registers;
  return registers.map((register) =>
    isOf(register, name) && hasValue(register)
      ? { ...register, value: undefined, stamp: stampAfter(register, now) }
      : register,
  );
}

/** The stamp of a write over `old`: later than it even where this node's clock is behind. */
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

function isOf(register: Register, name: AttributeName): boolean {
  return register.tag === name.tag && register.key === name.key;
}

function hasValue(register: Register): register is ValueRegister {
  return register.value !== undefined;
}

/** Puts a register in its place, over the one of the same identity. */
function write(registers: readonly Register[], register: Register): Written {
  const { tag, key, index, origin, value, stamp } = register;
  const written: Register = { tag, key, index, origin, value, stamp };
  const others = registers.filter((other) => compareRegisters(other, written) !== 0);
  return { registers: [...others, written].toSorted(compareRegisters), register: written };
}
