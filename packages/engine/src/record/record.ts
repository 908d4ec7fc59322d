import type { Item } from "@holdfast/ttlv";
import type { SealedMaterial } from "./sealed.ts";

/** The first 16 bytes of SHA-256 over the canonical record, in hex. Never a counter. */
export type Tag = string;

/**
 * A hybrid logical clock reading: microseconds, `max(clock, stamp it replaces + 1)`. Ties are broken by region, then
 * by the value's bytes.
 */
export interface Stamp {
  readonly us: number;
  readonly region: string;
}

/** Something that happened to an object and is never undone. `time` in seconds since the epoch. */
export interface Fact {
  readonly time: number;
  readonly region: string;
}

/**
 * The region in the fact of an object that was destroyed together with its instance. This makes the fact differ from
 * every other fact of the same second, and a restore into a new instance leaves it out.
 */
export const deletionRegion = "(deletion)";

/** KMIP 2.1, 4.45: why an object was revoked. */
export interface Revocation extends Fact {
  readonly reasonCode?: number;
  readonly message?: string;
  /** Compromise Occurrence Date, seconds. */
  readonly occurred?: number;
}

/**
 * A destruction with a delay: what Destroy writes, and what a restore writes in its place. `time` and `region` say when
 * and where that was. It is not a fact: the later one of two counts.
 */
export interface Destruction extends Fact {
  /** `pending`: destroyed for every client, and the material is kept. `restored`: as if it had not been destroyed. */
  readonly state: "pending" | "restored";
  /** When a pending one becomes final, seconds since the epoch. */
  readonly until: number;
  /** When it was written, as in a register's stamp. */
  readonly us: number;
}

/** Lifecycle facts; the State is derived from them. */
export interface Facts {
  readonly served?: Fact;
  readonly activated?: Fact;
  readonly deactivated?: Revocation;
  readonly compromised?: Revocation;
  /** Destroyed for good: there is no material. */
  readonly destroyed?: Fact;
  readonly destruction?: Destruction;
}

/**
 * One attribute value. A multi-valued attribute has one register per value; a register's identity never changes, and a
 * deleted value leaves its register without `value`, so that an index is not reused.
 */
export interface Register {
  /** The attribute's tag (`attributes` table), Vendor Attribute for custom ones. */
  readonly tag: number;
  /** The 1.x Attribute Index; 0 for single-valued attributes. With `tag`, vendor name and `origin` it identifies the register. */
  readonly index: number;
  /**
   * Names the addition (`Writer`), since nodes of one region, and one node in turn, add values at two stores. Empty for
   * a single-valued attribute, whose only register all writers write, and for values that the object was made with.
   */
  readonly origin: string;
  /** For Vendor Attribute: `vendorIdentification` NUL `attributeName`; else empty. Kept when the value is deleted. */
  readonly key: string;
  readonly value: Item | undefined;
  readonly stamp: Stamp;
}

/** A managed object: an immutable part, lifecycle facts that only grow, attribute registers. */
export interface ManagedObject {
  readonly uniqueIdentifier: string;
  readonly instance: string;
  /** Object Type value (KMIP 2.1, 11.39). */
  readonly objectType: number;
  /** Attributes fixed at creation, as items by tag, in order of tag. */
  readonly fixed: readonly Item[];
  /** The sealed managed object structure (Key Block as registered). Absent when destroyed for good or never given. */
  readonly material: SealedMaterial | undefined;
  readonly facts: Facts;
  readonly registers: readonly Register[];
  /** Last Change Date, seconds: a join takes the later one of both copies. */
  readonly lastChange: number;
}
