/** A packing that does not fit: the argument's number, and Redis' words. */
export class StructError extends Error {
  readonly argument: number;

  constructor(argument: number, message: string) {
    super(message);
    this.argument = argument;
  }
}

interface Field {
  readonly signed: boolean;
  readonly size: number;
}

const formats = new Map<string, readonly Field[]>();

/** Reads a format of big-endian integers, such as `>I6I2`: all that the scripts use. */
function fieldsOf(format: string): readonly Field[] {
  const known = formats.get(format);
  if (known !== undefined) return known;
  if (!/^>([Ii][1-6])+$/.test(format)) {
    throw new StructError(1, `the model has no struct format '${format}'`);
  }
  const fields = [...format.matchAll(/([Ii])(\d)/g)].map(([, kind, size]) => ({
    signed: kind === "i",
    size: Number(size),
  }));
  formats.set(format, fields);
  return fields;
}

/** Numbers as bytes; a number that does not fit loses its high bytes. */
export function pack(format: string, numbers: readonly (number | undefined)[]): string {
  return fieldsOf(format)
    .map(({ size }, at) => {
      const number = numbers[at];
      if (number === undefined) throw new StructError(at + 2, "number expected, got no value");
      const modulus = 2 ** (8 * size);
      let rest = ((Math.trunc(number) % modulus) + modulus) % modulus;
      let bytes = "";
      for (let i = 0; i < size; i += 1) {
        bytes = String.fromCharCode(rest % 256) + bytes;
        rest = Math.floor(rest / 256);
      }
      return bytes;
    })
    .join("");
}

/** The numbers at a position (from 1 on), and the position after them. */
export function unpack(format: string, bytes: string, position: number): readonly number[] {
  let at = position - 1;
  const numbers = fieldsOf(format).map(({ signed, size }) => {
    if (at + size > bytes.length) throw new StructError(2, "data string too short");
    let number = 0;
    for (let i = 0; i < size; i += 1) number = number * 256 + bytes.charCodeAt(at + i);
    at += size;
    return signed && number >= 2 ** (8 * size - 1) ? number - 2 ** (8 * size) : number;
  });
  return [...numbers, at + 1];
}
