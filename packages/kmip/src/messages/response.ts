import { type Item, ItemType } from "@holdfast/ttlv";
import { KmipError } from "../schema/faults.ts";
import type { Infer } from "../schema/schema.ts";
import { tags } from "../schema/tags.ts";
import type { Version } from "../schema/version.ts";
import {
  checkBatchItems,
  faultIn,
  messageParts,
  responseHeader,
  versionOfHeader,
  versionParts,
} from "./header.ts";
import { type ResponseItem, type ResponseMessage, responseBatchItem } from "./message.ts";
import { type OperationRow, operationCodeOf, operationOfCode, operations } from "./operations.ts";

/** The payload, by the operation's row, or else the caller's own item; an item that failed need not have one. */
function encodePayload(item: ResponseItem, version: Version): Item | undefined {
  if (item.operation === undefined) return undefined;
  if (item.encodedPayload !== undefined) return item.encodedPayload;
  if (item.payload === undefined && item.status !== "Success") return undefined;
  const row: OperationRow = operations[item.operation];
  const tag = tags.ResponsePayload.tag;
  if (row.response !== undefined) {
    return row.response.encode(tag, item.payload ?? {}, version);
  }
  return item.payload === undefined ? undefined : { ...(item.payload as Item), tag };
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

function encodeBatchItem(item: ResponseItem, version: Version): Item {
  const { operation, operationCode, uniqueBatchItemId, status, reason, message } = item;
  const code = operation === undefined ? operationCode : operationCodeOf(operation);
  const payload = encodePayload(item, version);
  const wire: Mutable<Infer<typeof responseBatchItem.fields>> = { status, extensions: [] };
  if (code !== undefined) wire.operationCode = code;
  if (uniqueBatchItemId !== undefined) wire.uniqueBatchItemId = uniqueBatchItemId;
  if (status === "OperationFailed" || status === "OperationUndone") {
    if (reason !== undefined) wire.reason = reason;
    if (message !== undefined) wire.message = message;
  }
  if (item.asynchronousCorrelationValue !== undefined) {
    wire.asynchronousCorrelationValue = item.asynchronousCorrelationValue;
  }
  if (payload !== undefined) wire.payload = payload;
  return responseBatchItem.encode(tags.BatchItem.tag, wire, version) as Item;
}

/** A response as an item, without anything that its version does not have (KMIP 2.1, 8.4). */
export function encodeResponse(message: ResponseMessage): Item {
  const { version, items, ...rest } = message;
  const header = responseHeader.encode(
    tags.ResponseHeader.tag,
    {
      attestationTypes: [],
      ...rest,
      protocolVersion: versionParts(version),
      batchCount: items.length,
    },
    version,
  ) as Item;
  const encoded = items.map((item) => encodeBatchItem(item, version));
  return { tag: tags.ResponseMessage.tag, type: ItemType.Structure, value: [header, ...encoded] };
}

function decodeBatchItem(item: Item, version: Version): ResponseItem {
  const {
    operationCode,
    payload,
    extensions: _,
    ...rest
  } = responseBatchItem.decode(item, version);
  const operation = operationCode === undefined ? undefined : operationOfCode(operationCode);
  const row: OperationRow | undefined = operation === undefined ? undefined : operations[operation];
  return {
    ...rest,
    ...(operation === undefined ? {} : { operation }),
    ...(operationCode === undefined ? {} : { operationCode }),
    ...(payload === undefined
      ? {}
      : { payload: row?.response === undefined ? payload : row.response.decode(payload, version) }),
  };
}

/** Decodes a response for a client; throws if anything in it is wrong. */
export function decodeResponse(item: Item): ResponseMessage {
  const { header, items } = messageParts(
    item,
    tags.ResponseMessage.tag,
    tags.ResponseHeader.tag,
    "Response Message",
  );
  const version = versionOfHeader(header);
  try {
    const { protocolVersion: _, batchCount, ...rest } = responseHeader.decode(header, version);
    checkBatchItems(items, version, "Response Message");
    if (batchCount !== items.length) {
      throw new KmipError("invalidMessage", "Batch Count is not the number of batch items");
    }
    return { ...rest, version, items: items.map((one) => decodeBatchItem(one, version)) };
  } catch (error) {
    throw faultIn(version, error);
  }
}
