import type {
  IdentifierReference,
  ImplementedOperation,
  Request,
  Response,
  Version,
} from "@holdfast/kmip";
import type { ClockDoubt } from "../base/clock.ts";
import type { Ids } from "../base/ids.ts";
import type { ManagedObject } from "../record/record.ts";
import type { Writer } from "../record/registers.ts";
import type { KeyRing } from "./keys.ts";
import type { FindPage, FindQuery, StoredObject } from "./objects.ts";

/** The engine's settings that an operator may change. */
export interface EngineSettings {
  /** True makes Interop available, for conformance runs only (KMIP 2.1, 6.1.26). */
  readonly interop: boolean;
  readonly auditReads: "batched" | "strict";
  /** Query's Vendor Identification. */
  readonly vendorIdentification: string;
  /** Query's Server Version. */
  readonly serverVersion: string;
  /** True if the listener offers the cipher suites that the KMIP profiles require, so that Query may list them. */
  readonly profileSuites: boolean;
  /** True if new keys must have an algorithm and a length that NIST approves (`fips: required`). */
  readonly approvedOnly: boolean;
  readonly batchItemsMax: number;
  readonly responseBytesMax: number;
  /** Most objects that one Locate looks at; no limit if absent. */
  readonly locateWalkMax?: number;
}

/** The ID Placeholder of a batch (KMIP 2.1, 6.1): one identifier that later items may omit. */
export interface Placeholder {
  readonly value: string | undefined;
  set(uniqueIdentifier: string | undefined): void;
}

/**
 * A pure decision over an object as it is now. Returning the object that it was given means "unchanged": nothing
 * is written. It may be called again with a newer object, and throws a `KmipError` to refuse.
 */
export type Decision = (object: ManagedObject) => ManagedObject;

/** How a change is made. */
export interface ChangeOptions {
  /** Lifecycle transitions hold the object's lock; attribute changes rely on compare-and-set alone. */
  readonly locked?: boolean;
}

/**
 * The objects of the client's instance as this batch sees them. In a batch with the Undo option changes are staged on
 * an overlay, reads see them, and one commit at the end makes them; in every other batch each change is durable when
 * its promise resolves. Planned dates that have passed are written as facts before an object is returned.
 */
export interface Objects {
  /** The identifier of the object that a request refers to; the ID Placeholder if absent. Throws if that is empty. */
  resolve(reference: IdentifierReference | undefined): string;
  /**
   * Reads one object; `objectNotFound` when the instance has none. Destroyed objects are returned too: check
   * `isDestroyed`.
   */
  load(reference: IdentifierReference | undefined): Promise<StoredObject>;
  /** Stores a new object with its audit event. Throws `nonUniqueName` when a Name is taken. */
  create(object: ManagedObject): Promise<void>;
  /**
   * Reads, decides, and compares and sets by tag; again if another writer was faster, a bounded number of times.
   * Returns the object afterwards. Throws `nonUniqueName` if another object has the Name.
   */
  change(
    reference: IdentifierReference | undefined,
    decide: Decision,
    options?: ChangeOptions,
  ): Promise<ManagedObject>;
  /**
   * Another copy, for which `opens` is true, of an object whose sealed parts do not open; undefined if no other
   * copy opens, or if no copy can be asked for.
   */
  heal(
    broken: StoredObject,
    opens: (object: ManagedObject) => Promise<boolean>,
  ): Promise<StoredObject | undefined>;
  /** Notes that an object was served; never fails and never delays an answer by a barrier. */
  markServed(stored: StoredObject): Promise<void>;
  /** A page of objects, newest first, staged changes included. The caller filters what comes back. */
  find(query: FindQuery): Promise<FindPage>;
}

/** What a handler gets in addition to the request's payload: one context for each item of the batch. */
export interface OperationContext {
  readonly operation: ImplementedOperation;
  readonly version: Version;
  readonly instance: string;
  readonly region: string;
  /** Names the values that this process adds. */
  readonly writer: Writer;
  /** Fingerprint of the client's certificate. */
  readonly fingerprint: string;
  /** See `Client.keepsKeys`. */
  readonly keepsKeys: boolean;
  /** See `Client.destroyDelaySeconds`. */
  readonly destroyDelaySeconds: number;
  /** Whether the client's certificate and the users of the message are allowed Revoke too. */
  readonly mayRevoke: boolean;
  /** Seconds since the epoch, fixed for the item. */
  readonly nowSeconds: number;
  /** Why `nowSeconds` may not decide that a date has come. */
  readonly doubt: ClockDoubt | undefined;
  /** Microseconds since the epoch, fixed for the item: the clock of register stamps. */
  readonly nowUs: number;
  readonly settings: EngineSettings;
  readonly ids: Ids;
  readonly keyRing: KeyRing;
  readonly objects: Objects;
  readonly placeholder: Placeholder;
  /**
   * Refuses the item if the response has no room for this payload. Only for an operation that changes something and
   * whose answer depends on the object: for every other one this is known before.
   */
  readonly requireRoom: (response: object) => void;
  /** Adds to the item's audit event; never key material. */
  readonly note: (detail: Readonly<Record<string, string | number>>) => void;
}

/** One operation's decision: request in, response out, a `KmipError` thrown to refuse. */
export type Handler<N extends ImplementedOperation> = (
  context: OperationContext,
  request: Request<N>,
) => Response<N> | Promise<Response<N>>;
