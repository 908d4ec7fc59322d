import type { Item } from "@holdfast/ttlv";
import type { KmipError } from "../schema/faults.ts";
import { type Infer, many, optional, required, struct } from "../schema/schema.ts";
import {
  anyItem,
  boolean,
  bytes,
  type EnumerationText,
  enumeration,
  enumerationNumber,
  text,
} from "../schema/value-type.ts";
import type { Version } from "../schema/version.ts";
import type { Credential, Nonce } from "./credential.ts";
import type { OperationName } from "./operations.ts";

/** KMIP 2.1, 9.13 Message Extension. */
const messageExtension = struct("Message Extension", {
  vendorIdentification: required("VendorIdentification", text),
  criticalityIndicator: required("CriticalityIndicator", boolean),
  vendorExtension: required("VendorExtension", anyItem),
});
export type MessageExtension = Infer<typeof messageExtension.fields>;

/** KMIP 2.1, 8.3 Request Batch Item. */
export const requestBatchItem = struct("Batch Item", {
  operationCode: required("Operation", enumerationNumber),
  ephemeral: optional("Ephemeral", boolean, { since: "2.0" }),
  uniqueBatchItemId: optional("UniqueBatchItemID", bytes),
  payload: required("RequestPayload", anyItem),
  extensions: many("MessageExtension", messageExtension),
});

/** KMIP 2.1, 8.6 Response Batch Item. */
export const responseBatchItem = struct("Batch Item", {
  operationCode: optional("Operation", enumerationNumber),
  uniqueBatchItemId: optional("UniqueBatchItemID", bytes),
  status: required("ResultStatus", enumeration("ResultStatus")),
  reason: optional("ResultReason", enumeration("ResultReason")),
  message: optional("ResultMessage", text),
  asynchronousCorrelationValue: optional("AsynchronousCorrelationValue", bytes),
  payload: optional("ResponsePayload", anyItem),
  extensions: many("MessageExtension", messageExtension),
});

/** A request's header (KMIP 2.1, 8.2), in the same form for every version. */
export interface RequestHeader {
  readonly maximumResponseSize?: number;
  readonly clientCorrelationValue?: string;
  readonly serverCorrelationValue?: string;
  /** In 2.x terms; True in 1.x is Optional, False is Prohibited. */
  readonly asynchronousIndicator?: EnumerationText<"AsynchronousIndicator">;
  readonly attestationCapableIndicator?: boolean;
  readonly attestationTypes: readonly EnumerationText<"AttestationType">[];
  readonly credentials: readonly Credential[];
  readonly batchErrorContinuationOption?: EnumerationText<"BatchErrorContinuationOption">;
  readonly batchOrderOption?: boolean;
  readonly timeStamp?: number;
  readonly batchCount: number;
}

/** One requested operation. `payload` is `Request<operation>`; with a `fault` there is none. */
export interface RequestItem {
  readonly operation: OperationName | undefined;
  readonly operationCode: number | undefined;
  readonly uniqueBatchItemId?: Uint8Array;
  readonly ephemeral?: boolean;
  readonly extensions: readonly MessageExtension[];
  readonly payload?: unknown;
  /** Why this item cannot be carried out, found before any handler is called. */
  readonly fault?: KmipError;
}

export interface RequestMessage {
  readonly version: Version;
  readonly header: RequestHeader;
  readonly items: readonly RequestItem[];
}

/** A request as a client makes it; the items determine Batch Count. */
export interface ClientRequest {
  readonly version: Version;
  readonly header?: Partial<Omit<RequestHeader, "batchCount">>;
  readonly items: readonly ClientRequestItem[];
}

export interface ClientRequestItem {
  readonly operation: OperationName;
  readonly uniqueBatchItemId?: Uint8Array;
  readonly ephemeral?: boolean;
  readonly extensions?: readonly MessageExtension[];
  /** `Request<operation>`; for operations that are not implemented, an item under any tag. */
  readonly payload: unknown;
}

/** One operation's answer. */
export interface ResponseItem {
  readonly operation?: OperationName;
  /** The code of an operation that no table has; `operation` takes precedence. */
  readonly operationCode?: number;
  readonly uniqueBatchItemId?: Uint8Array;
  readonly status: EnumerationText<"ResultStatus">;
  readonly reason?: EnumerationText<"ResultReason">;
  readonly message?: string;
  readonly asynchronousCorrelationValue?: Uint8Array;
  /** `Response<operation>`; for operations that are not implemented, the item itself. */
  readonly payload?: unknown;
  /** The payload if it is already encoded, by the operation's row in the message's version. */
  readonly encodedPayload?: Item;
}

export interface ResponseMessage {
  readonly version: Version;
  readonly timeStamp: number;
  readonly nonce?: Nonce;
  readonly attestationTypes?: readonly EnumerationText<"AttestationType">[];
  readonly clientCorrelationValue?: string;
  readonly serverCorrelationValue?: string;
  readonly items: readonly ResponseItem[];
}
