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

/** What a request's header asks for (KMIP 2.1, 8.2), the same in every version. */
export interface RequestHeader {
  readonly maximumResponseSize?: number;
  readonly clientCorrelationValue?: string;
  readonly serverCorrelationValue?: string;
  /** In 2.x words; a 1.x True is Optional, False is Prohibited. */
  readonly asynchronousIndicator?: EnumerationText<"AsynchronousIndicator">;
  readonly attestationCapableIndicator?: boolean;
  readonly attestationTypes: readonly EnumerationText<"AttestationType">[];
  readonly credentials: readonly Credential[];
  readonly batchErrorContinuationOption?: EnumerationText<"BatchErrorContinuationOption">;
  readonly batchOrderOption?: boolean;
  readonly timeStamp?: number;
  readonly batchCount: number;
}

/** One operation asked for. `payload` is `Request<operation>`; with a `fault` there is none. */
export interface RequestItem {
  readonly operation: OperationName | undefined;
  readonly operationCode: number | undefined;
  readonly uniqueBatchItemId?: Uint8Array;
  readonly ephemeral?: boolean;
  readonly extensions: readonly MessageExtension[];
  readonly payload?: unknown;
  /** Why this item cannot be carried out, found before any handler saw it. */
  readonly fault?: KmipError;
}

export interface RequestMessage {
  readonly version: Version;
  readonly header: RequestHeader;
  readonly items: readonly RequestItem[];
}

/** A request as a client makes it; Batch Count follows from the items. */
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
  /** `Request<operation>`; an item under any tag for operations without a row of their own. */
  readonly payload: unknown;
}

/** One operation's answer. */
export interface ResponseItem {
  readonly operation?: OperationName;
  /** Of an operation that no table knows; `operation` goes before it. */
  readonly operationCode?: number;
  readonly uniqueBatchItemId?: Uint8Array;
  readonly status: EnumerationText<"ResultStatus">;
  readonly reason?: EnumerationText<"ResultReason">;
  readonly message?: string;
  readonly asynchronousCorrelationValue?: Uint8Array;
  /** `Response<operation>`; the item itself for operations without a row of their own. */
  readonly payload?: unknown;
  /** The payload where it was encoded already, by the operation's row and in the message's version. */
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
