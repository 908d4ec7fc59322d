import { Command } from "ioredis";

/** An argument of a command: text, or bytes. */
export type Argument = string | Buffer;

/**
 * A command that encodes its bytes at once; for many arguments, ioredis takes nine times as long.
 */
export class Line extends Command {
  readonly #bytes: Buffer;

  constructor(name: string, args: readonly Argument[]) {
    super(name);
    this.#bytes = commandBytes(name, args);
  }

  override toWritable(): Buffer {
    return this.#bytes;
  }
}

const dollar = 0x24;
const zero = 0x30;
const carriageReturn = 0x0d;
const lineFeed = 0x0a;

/** A command in Redis's protocol (RESP): an array of bulk strings. */
export function commandBytes(name: string, args: readonly Argument[]): Buffer {
  const head = `*${args.length + 1}\r\n$${Buffer.byteLength(name)}\r\n${name}\r\n`;
  let length = Buffer.byteLength(head);
  for (const arg of args) length += bulkLength(lengthOf(arg));
  const bytes = Buffer.allocUnsafe(length);
  let at = bytes.write(head);
  for (const arg of args) at = writeBulk(bytes, at, arg);
  return bytes;
}

function lengthOf(arg: Argument): number {
  return typeof arg === "string" ? Buffer.byteLength(arg) : arg.length;
}

/** Bytes of a bulk string: `$`, its length in digits, and a line end after each of the two. */
function bulkLength(length: number): number {
  return 5 + digitsOf(length) + length;
}

function digitsOf(number: number): number {
  let digits = 1;
  for (let rest = number; rest >= 10; rest = Math.floor(rest / 10)) digits += 1;
  return digits;
}

/** Writes a bulk string and returns the offset after it. */
function writeBulk(bytes: Buffer, start: number, arg: Argument): number {
  const length = lengthOf(arg);
  bytes[start] = dollar;
  const at = writeLineEnd(bytes, writeNumber(bytes, start + 1, length));
  if (typeof arg === "string") bytes.write(arg, at);
  else bytes.set(arg, at);
  return writeLineEnd(bytes, at + length);
}

function writeNumber(bytes: Buffer, start: number, number: number): number {
  const end = start + digitsOf(number);
  for (let at = end - 1, rest = number; at >= start; at -= 1) {
    bytes[at] = zero + (rest % 10);
    rest = Math.floor(rest / 10);
  }
  return end;
}

function writeLineEnd(bytes: Buffer, at: number): number {
  bytes[at] = carriageReturn;
  bytes[at + 1] = lineFeed;
  return at + 2;
}
