import { Failure } from "../failure.ts";

const form = /^[\p{L}\p{N}][\p{L}\p{N}._:/@{}()+-]{0,63}$/u;
const shownMax = 40;

/** By its first bytes, a text's encoding; Windows PowerShell 5.1 writes UTF-16 by `>`. */
const marks: readonly (readonly [mark: readonly number[], encoding: string])[] = [
  [[0xff, 0xfe], "utf-16le"],
  [[0xfe, 0xff], "utf-16be"],
];

/**
 * The identifiers in a file: one a line, or several parted by spaces, commas or semicolons, in quotes or not. A line that
 * holds anything else, and a file without any, is a `Failure` that names the option and the line.
 */
export function identifiersIn(bytes: Buffer, option: string): string[] {
  const found: string[] = [];
  for (const [index, line] of textOf(bytes, option)
    .split(/\r\n|\n|\r/)
    .entries()) {
    for (const part of line.split(/[\s,;]+/)) {
      const identifier = /^"(.*)"$|^'(.*)'$/.exec(part)?.slice(1).find(Boolean) ?? part;
      if (identifier === "") continue;
      if (!form.test(identifier)) throw new Failure(`${option}: ${wrongLine(index, identifier)}`);
      found.push(identifier);
    }
  }
  if (found.length === 0) {
    throw new Failure(
      `${option}: the list is empty, so every key would be an orphan; is it the right file?`,
    );
  }
  return found;
}

function wrongLine(index: number, text: string): string {
  const printable = text.replaceAll(/\p{C}/gu, "?").slice(0, shownMax);
  return `line ${index + 1}: "${printable}" is not an identifier; give one identifier a line, as text in UTF-8 or UTF-16`;
}

function textOf(bytes: Buffer, option: string): string {
  const encoding =
    marks.find(([mark]) => mark.every((byte, at) => bytes[at] === byte))?.[1] ?? "utf-8";
  try {
    // The byte order mark is left out.
    return new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch {
    throw new Failure(`${option}: is not text in UTF-8 or UTF-16: save it as one of them`);
  }
}
