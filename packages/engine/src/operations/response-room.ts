import {
  type Attribute,
  attributeItem,
  attributes,
  attributeValue,
  encodeResponse,
  KmipError,
  type RequestHeader,
  type RequestMessage,
  type ResponseItem,
  type Version,
  within,
} from "@holdfast/kmip";
import { encodedLength, type Item } from "@holdfast/ttlv";
import type { AnswerShare } from "./answer-memory.ts";

/** As long as the identifier of a new object. */
const newIdentifier = "0".repeat(36);

/** A message's answers take no memory of `AnswerMemory` up to this size. */
const freeBytes = 65_536;

/**
 * How much a response may still grow (KMIP 2.1, 9.12). An operation that changes something is refused before it is
 * carried out if its answer would not fit; a read is refused afterwards.
 */
export class ResponseRoom {
  readonly #version: Version;
  readonly #correlation: string | undefined;
  readonly #headerBytes: number;
  readonly #share: AnswerShare;
  #free: number;
  /** Bytes that take no memory of the share. */
  #unshared = freeBytes;
  /** False for the usual message, one item without a size limit of the client: `execute` checks the whole response. */
  readonly isLimited: boolean;

  constructor(
    message: RequestMessage,
    { requestId, share }: { readonly requestId: string; readonly share: AnswerShare },
    bytesMax: number,
  ) {
    const { version, header, items } = message;
    const { maximumResponseSize } = header;
    if (maximumResponseSize !== undefined && maximumResponseSize <= 0) {
      throw new KmipError("invalidField", "Maximum Response Size must be positive");
    }
    this.#share = share;
    share.giveBack();
    this.#version = version;
    this.#correlation = serverCorrelation(version, header, requestId);
    this.isLimited = maximumResponseSize !== undefined || items.length > 1;
    this.#headerBytes = this.isLimited ? lengthOf(version, this.#correlation, []) : 0;
    this.#free = Math.min(maximumResponseSize ?? bytesMax, bytesMax) - this.#headerBytes;
  }

  /** Refuses an answer for which there is not enough room, before its operation changes anything. */
  require(answer: ResponseItem): void {
    if (this.#bytesOf(answer) > this.#free) throw tooLarge();
  }

  /**
   * Takes the room that an answer needs, or refuses the answer if there is not enough. That of a change is never refused
   * for the node's memory.
   */
  take(answer: ResponseItem, isChange: boolean): void {
    if (!this.isLimited) return;
    const bytes = this.#bytesOf(answer);
    if (bytes > this.#free) throw tooLarge();
    const shared = Math.max(0, bytes - this.#unshared);
    if (shared > 0 && !this.#share.take(shared) && !isChange) throw shortOfMemory();
    this.#free -= bytes;
    this.#unshared = Math.max(0, this.#unshared - bytes);
  }

  #bytesOf(answer: ResponseItem): number {
    return lengthOf(this.#version, this.#correlation, [answer]) - this.#headerBytes;
  }
}

/**
 * The longest payload of an answer to an operation that changes something, from its request. The attribute that Delete
 * Attribute returns in 1.x is not in it: that is known once the object is read.
 */
export function largestAnswer(payload: unknown, uniqueIdentifier = newIdentifier): object {
  const { objectType, newAttribute } = payload as {
    readonly objectType?: string;
    readonly newAttribute?: Attribute;
  };
  const item = newAttribute && withCount(newAttribute.item);
  return {
    ...(objectType === undefined ? {} : { objectType }),
    uniqueIdentifier,
    // An index of 0 is left out.
    ...(item === undefined ? {} : { attribute: { item, index: 1 } }),
  };
}

/** Usage Limits are returned with their Count, also if the request had none. */
function withCount(item: Item): Item {
  if (item.tag !== attributes.UsageLimits.tag) return item;
  const { total, unit } = attributeValue("UsageLimits", item);
  return attributeItem("UsageLimits", { total, count: total, unit });
}

/**
 * The Server Correlation Value of a response (KMIP 2.1, 9.10). In 1.4 and 2.0 only clients that send their own
 * correlation value get it: PyKMIP, which speaks up to 2.0, refuses a response that has it.
 */
export function serverCorrelation(
  version: Version,
  header: Pick<RequestHeader, "clientCorrelationValue"> | undefined,
  requestId: string,
): string | undefined {
  const asked = header?.clientCorrelationValue !== undefined;
  return within(version, asked ? "1.4" : "2.1") ? requestId : undefined;
}

/** The fault of a response that is larger than it may be. */
export function tooLarge(): KmipError {
  return new KmipError("responseTooLarge", "the response is larger than it may be");
}

function shortOfMemory(): KmipError {
  return new KmipError(
    "generalFailure",
    "too many large answers at the same time: try again, with fewer items in a batch",
  );
}

function lengthOf(
  version: Version,
  correlation: string | undefined,
  items: readonly ResponseItem[],
): number {
  const response = {
    version,
    timeStamp: 0,
    ...(correlation === undefined ? {} : { serverCorrelationValue: correlation }),
    items,
  };
  return encodedLength(encodeResponse(response));
}
