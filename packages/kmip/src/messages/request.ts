import { type Item, ItemType } from "@holdfast/ttlv";
import { KmipError } from "../schema/faults.ts";
import { tags } from "../schema/tags.ts";
import { type Version, within } from "../schema/version.ts";
import {
  checkBatchItems,
  faultIn,
  messageParts,
  requestHeader,
  versionOfHeader,
  versionParts,
  type WireRequestHeader,
} from "./header.ts";
import {
  type ClientRequest,
  type ClientRequestItem,
  type RequestHeader,
  type RequestItem,
  type RequestMessage,
  requestBatchItem,
} from "./message.ts";
import { type OperationRow, operationCodeOf, operationOfCode, operations } from "./operations.ts";

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

function headerOf(wire: WireRequestHeader): RequestHeader {
  const { protocolVersion: _, authentication, ...rest } = wire;
  return { ...rest, credentials: authentication?.credentials ?? [] };
}

/** The parts of a batch item that does not decode which the response can echo. */
function remains(item: Item, fault: KmipError): RequestItem {
  const rest: Mutable<RequestItem> = {
    operation: undefined,
    operationCode: undefined,
    extensions: [],
    fault,
  };
  if (item.type !== ItemType.Structure) return rest;
  for (const child of item.value) {
    if (child.tag === tags.Operation.tag && child.type === ItemType.Enumeration) {
      rest.operationCode ??= child.value;
      rest.operation ??= operationOfCode(child.value);
    }
    if (child.tag === tags.UniqueBatchItemID.tag && child.type === ItemType.ByteString) {
      rest.uniqueBatchItemId ??= child.value;
    }
  }
  return rest;
}

function decodePayload(code: number, payload: Item, version: Version): unknown {
  const name = operationOfCode(code);
  const row: OperationRow | undefined = name === undefined ? undefined : operations[name];
  if (row?.request !== undefined && within(version, row.since, row.until)) {
    return row.request.decode(payload, version);
  }
  throw new KmipError(
    "operationNotSupported",
    `${name ?? `operation 0x${code.toString(16)}`} is not supported in KMIP ${version}`,
  );
}

function decodeBatchItem(item: Item, version: Version): RequestItem {
  try {
    const { payload, ...rest } = requestBatchItem.decode(item, version);
    const decoded = { ...rest, operation: operationOfCode(rest.operationCode) };
    try {
      return { ...decoded, payload: decodePayload(rest.operationCode, payload, version) };
    } catch (error) {
      if (error instanceof KmipError) return { ...decoded, fault: error };
      throw error;
    }
  } catch (error) {
    if (error instanceof KmipError) return remains(item, error);
    throw error;
  }
}

/** A critical Message Extension that is not understood rejects the whole message (KMIP 2.1, 9.13). */
function rejectCritical(items: readonly RequestItem[]): readonly RequestItem[] {
  const critical = items.some((item) =>
    item.extensions.some((extension) => extension.criticalityIndicator),
  );
  if (!critical) return items;
  return items.map(({ payload: _, ...item }) => ({
    ...item,
    fault: new KmipError("featureNotSupported", "a critical message extension is not known"),
  }));
}

function checkBatch(header: RequestHeader, items: readonly RequestItem[]): void {
  if (header.batchCount !== items.length || items.length === 0) {
    throw new KmipError(
      "invalidMessage",
      `Batch Count is ${header.batchCount}, but the message has ${items.length} batch items`,
    );
  }
  if (items.length === 1) return;
  const seen = new Set<string>();
  for (const { uniqueBatchItemId } of items) {
    if (uniqueBatchItemId === undefined) {
      throw new KmipError("missingField", "Unique Batch Item ID is missing in a batch of several");
    }
    seen.add(uniqueBatchItemId.join());
  }
  if (seen.size !== items.length) {
    throw new KmipError("invalidMessage", "a Unique Batch Item ID occurs twice in the batch");
  }
}

/**
 * Decodes a request message (KMIP 2.1, 8.1). Throws faults of the header and of the whole batch,
 * with the version to answer in if it is known. A fault of one item is that item's `fault`.
 */
export function decodeRequest(item: Item): RequestMessage {
  const { header, items } = messageParts(
    item,
    tags.RequestMessage.tag,
    tags.RequestHeader.tag,
    "Request Message",
  );
  const version = versionOfHeader(header);
  try {
    const read = headerOf(requestHeader.decode(header, version));
    checkBatchItems(items, version, "Request Message");
    const decoded = items.map((one) => decodeBatchItem(one, version));
    checkBatch(read, decoded);
    return { version, header: read, items: rejectCritical(decoded) };
  } catch (error) {
    throw faultIn(version, error);
  }
}

function encodeBatchItem(item: ClientRequestItem, version: Version): Item {
  const row: OperationRow = operations[item.operation];
  const tag = tags.RequestPayload.tag;
  const payload =
    row.request === undefined
      ? { ...(item.payload as Item), tag }
      : row.request.encode(tag, item.payload, version);
  return requestBatchItem.encode(
    tags.BatchItem.tag,
    {
      extensions: [],
      ...item,
      operationCode: operationCodeOf(item.operation),
      payload: payload as Item,
    },
    version,
  ) as Item;
}

/** A client's request as an item. */
export function encodeRequest(request: ClientRequest): Item {
  const { version } = request;
  const { credentials = [], ...rest } = request.header ?? {};
  const header = requestHeader.encode(
    tags.RequestHeader.tag,
    {
      attestationTypes: [],
      ...rest,
      protocolVersion: versionParts(version),
      ...(credentials.length === 0 ? {} : { authentication: { credentials } }),
      batchCount: request.items.length,
    },
    version,
  ) as Item;
  const items = request.items.map((item) => encodeBatchItem(item, version));
  return { tag: tags.RequestMessage.tag, type: ItemType.Structure, value: [header, ...items] };
}
