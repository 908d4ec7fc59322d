import {
  encodeResponse,
  KmipError,
  type RequestMessage,
  type ResponseItem,
  type Version,
} from "@holdfast/kmip";
import { encodedLength, type Item } from "@holdfast/ttlv";

/** Answers to operations that change something are no longer than this, besides what they echo of the request. */
const changeAnswerBytes = 512;

/**
 * How much a response may still grow (KMIP 2.1, 9.12). An operation that changes something is refused before it is
 * done when its answer might not fit; a read is refused after it.
 */
export class ResponseRoom {
  readonly #version: Version;
  readonly #headerBytes: number;
  #free: number;
  /** False for the usual message, one item without a limit of the client: `execute` looks at the whole. */
  readonly #measures: boolean;

  constructor({ version, header, items }: RequestMessage, correlation: string, bytesMax: number) {
    const { maximumResponseSize } = header;
    if (maximumResponseSize !== undefined && maximumResponseSize <= 0) {
      throw new KmipError("invalidField", "Maximum Response Size must be positive");
    }
    this.#version = version;
    this.#measures = maximumResponseSize !== undefined || items.length > 1;
    this.#headerBytes = this.#measures ? lengthOf(version, correlation, []) : 0;
    this.#free = Math.min(maximumResponseSize ?? bytesMax, bytesMax) - this.#headerBytes;
    this.#correlation = correlation;
  }

  readonly #correlation: string;

  /** Refuses an operation whose answer might not fit, before it is done. */
  reserve(payload: unknown): void {
    if (this.#measures && this.#free < changeAnswerBytes + echoBytes(payload)) throw tooLarge();
  }

  /** Takes the room of an answer, and refuses it when there is not enough. */
  take(answer: ResponseItem): void {
    if (!this.#measures) return;
    const bytes = lengthOf(this.#version, this.#correlation, [answer]) - this.#headerBytes;
    if (bytes > this.#free) throw tooLarge();
    this.#free -= bytes;
  }
}

/** The fault of a response that is larger than it may be. */
export function tooLarge(): KmipError {
  return new KmipError("responseTooLarge", "the response is larger than it may be");
}

function lengthOf(version: Version, correlation: string, items: readonly ResponseItem[]): number {
  const response = { version, timeStamp: 0, serverCorrelationValue: correlation, items };
  return encodedLength(encodeResponse(response));
}

/** 1.x answers an attribute operation with the attribute. */
function echoBytes(payload: unknown): number {
  if (typeof payload !== "object" || payload === null || !("newAttribute" in payload)) return 0;
  const { item } = payload.newAttribute as { readonly item: Item };
  return encodedLength(item);
}
