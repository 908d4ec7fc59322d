const form = /^[\p{L}\p{N}][\p{L}\p{N}._:/@{}()+-]{0,63}$/u;
const shownMax = 40;

/** Byte order marks and their encodings; `>` in Windows PowerShell 5.1 writes UTF-16. */
const marks: readonly (readonly [mark: readonly number[], encoding: string])[] = [
  [[0xff, 0xfe], "utf-16le"],
  [[0xfe, 0xff], "utf-16be"],
];

/**
 * Reads the identifiers in a file: one per line, with or without quotes, or the first column of a
 * CSV. Identifiers in other columns count too: an extra one does no harm, but a missing one makes a
 * key that is in use look like an orphan. A line that begins with anything else, or a file without
 * identifiers, causes a `RangeError` that names the line.
 */
export function identifiersIn(bytes: Uint8Array): string[] {
  const found: string[] = [];
  for (const [index, line] of textOf(bytes)
    .split(/\r\n|\n|\r/)
    .entries()) {
    if (line.trim() === "") continue;
    const [first = "", ...others] = columnsOf(line);
    if (!form.test(first)) throw new RangeError(wrongLine(index, first));
    found.push(first, ...others.filter((one) => form.test(one)));
  }
  if (found.length === 0) {
    throw new RangeError(
      "the list is empty, so every key would be an orphan; is it the right file?",
    );
  }
  return found;
}

const column = /\s*(?:"([^"]*)"|'([^']*)'|([^,;\t]*?))\s*(?:[,;\t]|$)/y;

/** A line's columns without their quotes. Stops at a column with text after its closing quote. */
function columnsOf(line: string): string[] {
  const columns: string[] = [];
  column.lastIndex = 0;
  while (column.lastIndex < line.length) {
    const match = column.exec(line);
    if (match === null) break;
    columns.push(match[1] ?? match[2] ?? match[3] ?? "");
  }
  return columns;
}

function wrongLine(index: number, text: string): string {
  const printable = text.replaceAll(/\p{C}/gu, "?").slice(0, shownMax);
  return `line ${index + 1}: "${printable}" is not an identifier; give one identifier a line, with or without quotes, or as the first column of a CSV`;
}

function textOf(bytes: Uint8Array): string {
  const encoding = marks.find(([mark]) => mark.every((byte, at) => bytes[at] === byte))?.[1];
  if (encoding === undefined && bytes.includes(0)) {
    throw new RangeError(
      "is UTF-16 without a byte order mark, or is not text: save it as UTF-8, or as UTF-16 with the mark",
    );
  }
  try {
    // The decoder removes the byte order mark.
    return new TextDecoder(encoding ?? "utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new RangeError("is not text in UTF-8 or UTF-16: save it as one of them");
  }
}
