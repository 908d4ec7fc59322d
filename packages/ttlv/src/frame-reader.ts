import { FrameTooLong, TtlvError } from "./error.ts";
import { ItemType } from "./item.ts";
import { headerBytes, readUint32, view } from "./layout.ts";

/** The limits of a frame reader. */
export interface FrameLimits {
  /** The largest frame, including its header. */
  readonly frameBytesMax: number;
}

/** Smaller parts are copied together, so that single bytes do not each keep an object in memory. */
const keptPartBytesMin = 512;
const blockBytesMax = 4096;
const noBytes = new Uint8Array(0);
/** The header of a KMIP request shows its version within so many bytes. */
const beginningBytes = 56;

/**
 * Cuts a byte stream into messages by their headers (KMIP 2.1, 9.1.1: a message is one Structure).
 *
 * It has no clock: the owner of the connection closes it when `pending` has been true for too long.
 */
export class FrameReader {
  readonly #frameBytesMax: number;
  readonly #header = new Uint8Array(headerBytes);
  /** The total length of the current frame; 0 until its header is complete. */
  #frameBytes = 0;
  #pendingBytes = 0;
  /** The parts after the header, in order. */
  #parts: Uint8Array[] = [];
  /** The unused end of the last part. */
  #free = noBytes;
  #failure: TtlvError | undefined;
  #beginning: Uint8Array = noBytes;

  constructor(limits: FrameLimits) {
    this.#frameBytesMax = limits.frameBytesMax;
  }

  /** Whether a message has begun and not ended, or can never end because the stream is invalid. */
  get pending(): boolean {
    return this.#pendingBytes > 0 || this.#failure !== undefined;
  }

  /** Bytes of the current message that have arrived. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** Total length of the current message; 0 until its header has arrived. */
  get frameBytes(): number {
    return this.#frameBytes;
  }

  /** Why the stream cannot be read further: every later `push` throws it. */
  get failure(): TtlvError | undefined {
    return this.#failure;
  }

  /** The first bytes of the message that cannot be read: at most 56, of those that have arrived; else none. */
  get beginning(): Uint8Array {
    return this.#beginning;
  }

  /**
   * Takes the next bytes of the stream and returns the frames that they complete. An invalid header
   * throws a `TtlvError` (offset within its frame). If valid frames precede it in this chunk,
   * `push` returns these and sets `failure` instead.
   *
   * Frames may be views of the chunk, and the reader may keep it: do not write to it afterwards.
   */
  push(chunk: Uint8Array): Uint8Array[] {
    if (this.#failure !== undefined) throw this.#failure;
    const frames: Uint8Array[] = [];
    const held = Math.min(this.#pendingBytes, headerBytes);
    let at = 0;
    try {
      while (at < chunk.length) at = this.#read(chunk, at, frames);
    } catch (error) {
      const before = at === 0 ? this.#header.subarray(0, held) : noBytes;
      this.#beginning = beginningOf(before, chunk.subarray(at));
      this.#fail(error as TtlvError);
      if (frames.length === 0) throw error;
    }
    return frames;
  }

  #fail(error: TtlvError): void {
    this.#failure = error;
    this.#clear();
  }

  #clear(): void {
    this.#frameBytes = 0;
    this.#pendingBytes = 0;
    this.#parts = [];
    this.#free = noBytes;
  }

  /** Reads a whole frame or a part of one and returns the offset after it. */
  #read(chunk: Uint8Array, start: number, frames: Uint8Array[]): number {
    if (this.#pendingBytes === 0 && chunk.length - start >= headerBytes) {
      const frameBytes = checkHeader(chunk, start, this.#frameBytesMax);
      const next = start + frameBytes;
      if (next <= chunk.length) {
        frames.push(view(chunk, start, frameBytes));
        return next;
      }
    }
    const next =
      this.#frameBytes === 0 ? this.#readHeader(chunk, start) : this.#readBody(chunk, start);
    if (this.#pendingBytes === this.#frameBytes) {
      frames.push(this.#assemble());
      this.#clear();
    }
    return next;
  }

  #readHeader(chunk: Uint8Array, start: number): number {
    let at = start;
    while (at < chunk.length && this.#pendingBytes < headerBytes) {
      this.#header[this.#pendingBytes] = chunk[at] as number;
      this.#pendingBytes += 1;
      at += 1;
    }
    if (this.#pendingBytes === headerBytes) {
      this.#frameBytes = checkHeader(this.#header, 0, this.#frameBytesMax);
    }
    return at;
  }

  #readBody(chunk: Uint8Array, start: number): number {
    const length = Math.min(chunk.length - start, this.#frameBytes - this.#pendingBytes);
    const part = view(chunk, start, length);
    if (length < keptPartBytesMin) this.#copyPart(part);
    else this.#keepPart(part);
    return start + length;
  }

  #keepPart(part: Uint8Array): void {
    const last = this.#parts.at(-1);
    if (last !== undefined && this.#free.length > 0) {
      this.#parts[this.#parts.length - 1] = last.slice(0, last.length - this.#free.length);
      this.#free = noBytes;
    }
    this.#parts.push(part);
    this.#pendingBytes += part.length;
  }

  #copyPart(part: Uint8Array): void {
    let rest = part;
    while (rest.length > 0) {
      if (this.#free.length === 0) {
        const missing = this.#frameBytes - this.#pendingBytes;
        this.#free = new Uint8Array(Math.min(missing, blockBytesMax));
        this.#parts.push(this.#free);
      }
      const length = Math.min(rest.length, this.#free.length);
      this.#free.set(rest.subarray(0, length));
      this.#free = this.#free.subarray(length);
      rest = rest.subarray(length);
      this.#pendingBytes += length;
    }
  }

  #assemble(): Uint8Array {
    const frame = new Uint8Array(this.#frameBytes);
    frame.set(this.#header);
    let at = headerBytes;
    for (const part of this.#parts) {
      frame.set(part, at);
      at += part.length;
    }
    return frame;
  }
}

/** A copy of the first bytes of `first` and `rest`, which follows it. */
function beginningOf(first: Uint8Array, rest: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(Math.min(first.length + rest.length, beginningBytes));
  bytes.set(first);
  bytes.set(rest.subarray(0, bytes.length - first.length), first.length);
  return bytes;
}

/** The length of the frame that begins with this header. */
function checkHeader(bytes: Uint8Array, start: number, frameBytesMax: number): number {
  if (bytes[start] !== 0x42 || bytes[start + 3] !== ItemType.Structure) {
    throw new TtlvError("not the header of a KMIP message", 0);
  }
  const length = readUint32(bytes, start + 4);
  if (length % 8 !== 0) throw new TtlvError("message length is not a multiple of 8", 0);
  if (headerBytes + length > frameBytesMax) {
    throw new FrameTooLong(
      `message of ${headerBytes + length} bytes, more than the limit of ${frameBytesMax}`,
      0,
    );
  }
  return headerBytes + length;
}
