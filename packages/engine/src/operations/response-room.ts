import {
  encodeResponse,
  KmipError,
  type RequestHeader,
  type RequestMessage,
  type ResponseItem,
  type Version,
  within,
} from "@holdfast/kmip";
import { encodedLength, type Item } from "@holdfast/ttlv";

/** Longest answer to an operation that changes something, without what it echoes from the request. */
const changeAnswerBytes = 512;

/**
 * How much a response may still grow (KMIP 2.1, 9.12). An operation that changes something is refused before it is
 * carried out if its answer might not fit; a read is refused afterwards.
 */
export class ResponseRoom {
  readonly #version: Version;
  readonly #correlation: string | undefined;
  readonly #headerBytes: number;
  #free: number;
  /** False for the usual message, one item without a size limit of the client: `execute` checks the whole response. */
  readonly #measures: boolean;

  constructor(message: RequestMessage, requestId: string, bytesMax: number) {
    const { version, header, items } = message;
    const { maximumResponseSize } = header;
    if (maximumResponseSize !== undefined && maximumResponseSize <= 0) {
      throw new KmipError("invalidField", "Maximum Response Size must be positive");
    }
    this.#version = version;
    this.#correlation = serverCorrelation(version, header, requestId);
    this.#measures = maximumResponseSize !== undefined || items.length > 1;
    this.#headerBytes = this.#measures ? lengthOf(version, this.#correlation, []) : 0;
    this.#free = Math.min(maximumResponseSize ?? bytesMax, bytesMax) - this.#headerBytes;
  }

  /** Refuses an operation whose answer might not fit, before it is carried out. */
  reserve(payload: unknown): void {
    if (this.#measures && this.#free < changeAnswerBytes + echoBytes(payload)) throw tooLarge();
  }

  /** Takes the room that an answer needs, or refuses the answer if there is not enough. */
  take(answer: ResponseItem): void {
    if (!this.#measures) return;
    const bytes = lengthOf(this.#version, this.#correlation, [answer]) - this.#headerBytes;
    if (bytes > this.#free) throw tooLarge();
    this.#free -= bytes;
  }
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

/** Bytes of the attribute that the response to an attribute operation repeats in 1.x. */
function echoBytes(payload: unknown): number {
  if (typeof payload !== "object" || payload === null || !("newAttribute" in payload)) return 0;
  const { item } = payload.newAttribute as { readonly item: Item };
  return encodedLength(item);
}
