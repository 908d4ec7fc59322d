import type { Socket } from "node:net";

/** What a TLS client offers in its first message. */
export interface ClientHello {
  /** The newest version, as on the wire: 0x0303 is TLS 1.2, 0x0304 is 1.3. */
  readonly version: number;
  readonly suites: readonly number[];
}

/**
 * The most bytes read of a ClientHello, all records together. OpenSSL's own limit is larger than
 * any client's message.
 */
const bytesMax = 32_768;
const recordHandshake = 22;
const messageClientHello = 1;
const extensionVersions = 43;
const tls13 = 0x03_04;

/**
 * Calls `then` once, when the ClientHello is complete or the bytes cannot be one, after putting the
 * bytes back. Never calls it if the connection ends first. This decides nothing about the
 * connection: TLS itself reads the bytes again.
 */
export function onClientHello(
  socket: Socket,
  then: (hello: ClientHello | undefined) => void,
): void {
  let bytes: Buffer = Buffer.alloc(0);
  const onData = (chunk: Buffer) => {
    bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk]);
    const hello = readClientHello(bytes);
    if (hello === "unfinished") return;
    socket.off("data", onData).pause();
    socket.unshift(bytes);
    then(hello);
  };
  socket.on("data", onData);
}

/** Reads a ClientHello; undefined for anything else. */
export function readClientHello(bytes: Buffer): ClientHello | undefined | "unfinished" {
  const handshake = joinRecords(bytes);
  if (handshake === undefined) return undefined;
  if (handshake.length >= 1 && handshake[0] !== messageClientHello) return undefined;
  const end = handshake.length < 4 ? Number.POSITIVE_INFINITY : 4 + handshake.readUIntBE(1, 3);
  if (handshake.length >= end) return parse(handshake.subarray(4, end));
  return bytes.length < bytesMax ? "unfinished" : undefined;
}

/** The handshake bytes of all records so far; undefined if one is not a handshake record. */
function joinRecords(bytes: Buffer): Buffer | undefined {
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    if (bytes[at] !== recordHandshake || (bytes[at + 1] ?? 3) !== 3) return undefined;
    if (bytes.length < at + 5) break;
    const end = at + 5 + bytes.readUInt16BE(at + 3);
    parts.push(bytes.subarray(at + 5, end));
    at = end;
  }
  return Buffer.concat(parts);
}

function parse(body: Buffer): ClientHello | undefined {
  try {
    const reader = new Reader(body);
    const legacy = reader.number(2);
    // The random bytes and the session.
    reader.take(32);
    reader.vector(1);
    const suites = numbers(reader.vector(2));
    reader.vector(1);
    const offered = reader.left === 0 ? [] : versionsOf(new Reader(reader.vector(2)));
    // Clients send values such as 0x0a0a only to keep servers tolerant (GREASE, RFC 8701).
    const known = offered.filter((version) => version <= tls13);
    return {
      version: known.length === 0 ? Math.min(legacy, tls13 - 1) : Math.max(...known),
      suites,
    };
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

function versionsOf(extensions: Reader): readonly number[] {
  while (extensions.left > 0) {
    const type = extensions.number(2);
    const data = extensions.vector(2);
    if (type === extensionVersions) return numbers(new Reader(data).vector(1));
  }
  return [];
}

function numbers(bytes: Buffer): readonly number[] {
  return Array.from({ length: bytes.length >> 1 }, (_, at) => bytes.readUInt16BE(2 * at));
}

/** Reads from the front; throws a `RangeError` if bytes are missing. */
class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  take(count: number): Buffer {
    if (this.left < count) throw new RangeError("it ends too early");
    this.#at += count;
    return this.#bytes.subarray(this.#at - count, this.#at);
  }

  number(bytes: 1 | 2): number {
    return this.take(bytes).readUIntBE(0, bytes);
  }

  /** Bytes preceded by their count. */
  vector(lengthBytes: 1 | 2): Buffer {
    return this.take(this.number(lengthBytes));
  }
}
