import { names } from "@holdfast/kmip";
import { decode, defaultLimits, print, TtlvError } from "@holdfast/ttlv";
import type { Command } from "commander";
import { Failure, readGiven, reasonOf } from "../terminal/failure.ts";
import { say } from "../terminal/lines.ts";

interface DecodeOptions {
  readonly hex?: string | true;
  readonly base64?: string | true;
}

/** Far above any message: the user chose the file that is printed here. */
const limits = { ...defaultLimits, bytesMax: 1 << 28, itemsMax: 10_000_000 };
const headerBytes = 8;

/** `holdfast decode`: KMIP messages as a readable tree, secrets left out. */
export function addDecode(program: Command): void {
  program
    .command("decode")
    .summary("print KMIP messages as a tree, secrets hidden")
    .description(
      "Prints one or more TTLV messages as a tree. Keys, passwords and other secrets are shown by their length only. Without --hex or --base64, the input may be binary, hex or base64: the command detects which.",
    )
    .argument("[file]", "file with messages; - or nothing for standard input")
    .option("--hex [text]", "the input, or this text, is hex; spaces and line ends do not matter")
    .option("--base64 [text]", "the input, or this text, is base64")
    .addHelpText(
      "after",
      "\nExamples:\n  holdfast decode --hex 420069010000002042006a0200000004000000010000000042006b02000000040000000400000000\n  holdfast decode trace.bin\n  pbpaste | holdfast decode --base64",
    )
    .action((file: string | undefined, options: DecodeOptions) => {
      const bytes = inputOf(file, options);
      if (bytes.length === 0) throw new Failure("the input is empty");
      say(...printMessages(bytes));
    });
}

/** Each message as a tree; the next one begins where the one before ends. */
export function printMessages(bytes: Uint8Array): readonly string[] {
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = at + lengthAt(bytes, at);
    try {
      lines.push(...print(decode(bytes.subarray(at, end), limits), names).split("\n"));
    } catch (error) {
      if (!(error instanceof TtlvError)) throw error;
      throw new Failure(`${reasonOf(error)} of the message that begins at byte ${at}`);
    }
    at = end;
  }
  return lines;
}

/** The length of the item at an offset, from its header; at most the rest of the input. */
function lengthAt(bytes: Uint8Array, at: number): number {
  const rest = bytes.length - at;
  if (rest < headerBytes) return rest;
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, headerBytes);
  return Math.min(headerBytes + Math.ceil(view.getUint32(4) / 8) * 8, rest);
}

function inputOf(file: string | undefined, options: DecodeOptions): Buffer {
  const { hex, base64 } = options;
  if (hex !== undefined && base64 !== undefined) {
    throw new Failure("--hex and --base64 exclude each other");
  }
  if (typeof hex === "string" && file === undefined) return fromHex(hex);
  if (typeof base64 === "string" && file === undefined) return fromBase64(base64);
  if (typeof hex === "string" || typeof base64 === "string") {
    throw new Failure("a text and a file are given: put --hex or --base64 after the file");
  }
  const bytes = readGiven("decode", file ?? "-");
  if (hex === true) return fromHex(bytes.toString("latin1"));
  if (base64 === true) return fromBase64(bytes.toString("latin1"));
  return guess(bytes);
}

/** A message begins with 0x42 in binary, "42" in hex and "Qg" in base64. */
function guess(bytes: Buffer): Buffer {
  const text = bytes.toString("latin1").trim();
  if (/^(0x)?42[0-9a-f]/i.test(text)) return fromHex(text);
  return text.startsWith("Qg") ? fromBase64(text) : bytes;
}

function fromHex(text: string): Buffer {
  const digits = text.replaceAll(/0x|[\s:,|]/gi, "");
  const wrong = /[^0-9a-f]/i.exec(digits);
  if (wrong !== null) throw new Failure(`${JSON.stringify(wrong[0])} is not a hex digit`);
  if (digits.length % 2 !== 0) throw new Failure("the hex text ends in the middle of a byte");
  return Buffer.from(digits, "hex");
}

function fromBase64(text: string): Buffer {
  const digits = text.replaceAll(/\s/g, "");
  const wrong = /[^\w+/=-]/.exec(digits);
  if (wrong !== null) throw new Failure(`${JSON.stringify(wrong[0])} is not a base64 character`);
  return Buffer.from(digits, "base64");
}
