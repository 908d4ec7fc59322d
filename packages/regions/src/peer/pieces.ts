import { create } from "@bufbuild/protobuf";
import { PieceSchema } from "../gen/holdfast/peer/v1/peer_pb.ts";
import { decodeMessage, encodeMessage } from "./methods.ts";
import { pieceBytes } from "./server-limits.ts";
import { InvalidRequest } from "./status.ts";

/** A message cut in pieces, each of them encoded; there is at least one. */
export function* piecesOf(method: string, message: Uint8Array): Generator<Buffer> {
  let at = 0;
  do {
    const data = message.subarray(at, at + pieceBytes);
    const first = at === 0 ? { method, total: message.length } : {};
    yield encodeMessage(PieceSchema, create(PieceSchema, { ...first, data }));
    at += pieceBytes;
  } while (at < message.length);
}

/** Puts a message together again; throws `InvalidRequest` for pieces that do not fit what the first one said. */
export class PieceCollector {
  readonly #max: number;
  readonly #parts: Uint8Array[] = [];
  #method: string | undefined;
  #total = 0;
  #held = 0;

  constructor(max: number) {
    this.#max = max;
  }

  /** Of the first piece; undefined before it. */
  get method(): string | undefined {
    return this.#method;
  }

  /** Bytes of the whole message. */
  get total(): number {
    return this.#total;
  }

  get complete(): boolean {
    return this.#method !== undefined && this.#held === this.#total;
  }

  add(bytes: Uint8Array): void {
    const { method, total, data } = decode(bytes);
    if (this.complete) throw new InvalidRequest("pieces after the last one");
    if (this.#method === undefined) {
      if (total > this.#max) throw new InvalidRequest(`a message of more than ${this.#max} bytes`);
      this.#method = method;
      this.#total = total;
    }
    // Empty pieces would never end.
    if (data.length === 0 && this.#total > 0) throw new InvalidRequest("an empty piece");
    this.#held += data.length;
    if (this.#held > this.#total) throw new InvalidRequest("pieces of more than was said");
    this.#parts.push(data);
  }

  message(): Buffer {
    return Buffer.concat(this.#parts, this.#held);
  }
}

function decode(bytes: Uint8Array) {
  try {
    return decodeMessage(PieceSchema, bytes);
  } catch (cause) {
    throw new InvalidRequest("a piece does not decode", { cause });
  }
}
