/** Why a store did not answer. The client learns little about it (`failure.ts`). */
export type StoreFailure =
  /** No lease: cut off, deposed, frozen, or lapsed. */
  | "noLease"
  /** The barrier does not cover every required copy: the change may survive, but nothing was promised. */
  | "barrierShort"
  | "timeout"
  /** Memory full: reads still work. */
  | "full"
  /** No initialisation marker: an empty or wrong Redis. */
  | "notInitialised"
  /** Damaged or impossible data, such as a record whose bytes do not match its tag or do not decode. */
  | "corrupt"
  /** An intact record with a format or fields that this node does not know: never repaired, never replaced. */
  | "unknownFormat"
  /** This node writes a format that not every node reads yet: it changes nothing before. It says nothing about any record. */
  | "formatNotAgreed"
  /** Redis answered with an error or a value that this node does not understand. It says nothing about any record. */
  | "badReply"
  /** A date has come, and this node's clock disagrees with the store's or the other region's. */
  | "clockDoubt"
  /** The store may be an older one than this node remembers: nothing is changed, and only what it remembers is answered. */
  | "doubted"
  /** A setting of Redis could lose data. */
  | "unsafe"
  /** The root of trust does not open the store's key now. It says nothing about any record. */
  | "keyClosed"
  /** Another region must be asked and cannot be reached: it may have a copy, or a newer one. */
  | "peerUnreachable"
  /** Every region must agree to this change, and one cannot be reached. */
  | "noAgreement"
  /** An agreed operation on the record is under way, or was abandoned and is not resolved yet. */
  | "reserved"
  /** Another leader has a higher epoch. */
  | "deposed"
  /** The regions have changed since the change was decided; nothing was written. */
  | "superseded"
  /** The region was retired by an operator: it must rejoin before it serves. */
  | "retired";

/** The store cannot answer or cannot promise. Never treat this as "not found". */
export class StoreUnavailable extends Error {
  override readonly name = "StoreUnavailable";
  readonly failure: StoreFailure;
  constructor(failure: StoreFailure, message: string, options?: ErrorOptions) {
    super(message, options);
    this.failure = failure;
  }
}

/** Whether a store failed because one of its records is damaged. */
export function isCorrupt(error: unknown): boolean {
  return error instanceof StoreUnavailable && error.failure === "corrupt";
}

/** The message of `StoreUnavailable("superseded")`, the same for every store. */
export const supersededMessage = "the regions have changed since this was decided; try again";

/** Throws if there are records of a format that this node does not know: without them a result is incomplete. */
export function refuseUnknown({ unknown }: { readonly unknown: readonly string[] }): void {
  const [first] = unknown;
  if (first === undefined) return;
  throw new StoreUnavailable(
    "unknownFormat",
    `record ${first} is of a format that this node does not know: upgrade this node, then try again`,
  );
}

/** The instance's keys cannot be opened now: its root of trust is unreachable, or refuses. */
export class KeyRingUnavailable extends Error {
  override readonly name = "KeyRingUnavailable";
  /** True when the root of trust refuses (disabled, gone, denied); false when it cannot be reached. */
  readonly refused: boolean;
  constructor(refused: boolean, message: string, options?: ErrorOptions) {
    super(message, options);
    this.refused = refused;
  }
}

/** An administrator shredded the instance's keys. */
export class KeysShredded extends KeyRingUnavailable {
  constructor() {
    super(
      true,
      "the instance's keys were shredded by an administrator; they open again once its root of trust is revalidated",
    );
  }
}

/** The region has no KEK with this id: it has not arrived yet, or the id in the sealed material was altered. */
export class UnknownKek extends KeyRingUnavailable {}

/** Sealed material did not authenticate. */
export class SealBroken extends Error {
  override readonly name = "SealBroken";
}

/** A root of trust's failure, of one of four kinds. */
export class RootOfTrustError extends Error {
  override readonly name = "RootOfTrustError";
  readonly failure: "unavailable" | "denied" | "disabled" | "gone";
  constructor(
    failure: "unavailable" | "denied" | "disabled" | "gone",
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.failure = failure;
  }
}
