import fc from "fast-check";
import { afterEach, describe, expect, test, vi } from "vitest";
import { byteString, structure } from "./build.ts";
import { encode } from "./encode.ts";
import { FrameTooLong, TtlvError } from "./error.ts";
import { FrameReader } from "./frame-reader.ts";
import { toHex } from "./hex.ts";

/** A message whose total length is `length`, rounded up to a multiple of 8, and at least 8. */
function frame(length: number, fill = 0x5a): Uint8Array {
  if (length < 16) return encode(structure(0x42_0078, []));
  return encode(
    structure(0x42_0078, [byteString(0x42_0020, new Uint8Array(length - 16).fill(fill))]),
  );
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(Buffer.concat(parts));
}

function chunksOf(bytes: Uint8Array, length: number): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += length) chunks.push(bytes.slice(at, at + length));
  return chunks;
}

const limits = { frameBytesMax: 1 << 16 };

afterEach(() => {
  vi.restoreAllMocks();
});

test("frames within one chunk are plain Uint8Array views of it, even of a Buffer", () => {
  const chunk = Buffer.from(concat([frame(8), frame(176), frame(40)]));
  const frames = new FrameReader(limits).push(chunk);
  expect(frames.map((each) => each.length)).toEqual([8, 176, 40]);
  for (const each of frames) {
    expect(each.buffer).toBe(chunk.buffer);
    expect(Object.getPrototypeOf(each)).toBe(Uint8Array.prototype);
  }
});

test("the reader reports the pending bytes after each byte", () => {
  const reader = new FrameReader(limits);
  const bytes = frame(24);
  expect(reader.pending).toBe(false);
  for (const [at, byte] of bytes.subarray(0, -1).entries()) {
    expect(reader.push(Uint8Array.of(byte))).toEqual([]);
    expect(reader.pending).toBe(true);
    expect(reader.pendingBytes).toBe(at + 1);
    expect(reader.frameBytes).toBe(at < 7 ? 0 : bytes.length);
  }
  expect(reader.push(Uint8Array.of(0x5a))).toEqual([bytes]);
  expect(reader.pending).toBe(false);
  expect(reader.pendingBytes).toBe(0);
  expect(reader.push(new Uint8Array(0))).toEqual([]);
  expect(reader.pending).toBe(false);
});

describe("invalid headers", () => {
  test.each<[string, number[], string]>([
    ["TLS hello", [0x16, 3, 1, 2, 0, 1, 0, 1], "not the header of a KMIP message"],
    ["HTTP", [...Buffer.from("GET / HT")], "not the header of a KMIP message"],
    ["extension tag", [0x54, 0, 1, 1, 0, 0, 0, 8], "not the header of a KMIP message"],
    ["not a Structure", [0x42, 0, 0x78, 8, 0, 0, 0, 8], "not the header of a KMIP message"],
    ["length 4", [0x42, 0, 0x78, 1, 0, 0, 0, 4], "message length is not a multiple of 8"],
    [
      "too long by 8",
      [0x42, 0, 0x78, 1, 0, 1, 0, 0],
      "message of 65544 bytes, more than the limit of 65536",
    ],
    [
      "4 GiB",
      [0x42, 0, 0x78, 1, 0xff, 0xff, 0xff, 0xf8],
      "message of 4294967296 bytes, more than the limit of 65536",
    ],
  ])("are refused: %s", (_name, header, what) => {
    for (const length of [8, 1, 3]) {
      const reader = new FrameReader(limits);
      const chunks = chunksOf(Uint8Array.from(header), length);
      const last = chunks.pop() as Uint8Array;
      for (const chunk of chunks) expect(reader.push(chunk)).toEqual([]);
      const error = what.includes("limit") ? new FrameTooLong(what, 0) : new TtlvError(what, 0);
      expect(() => reader.push(last)).toThrow(error);
      expect(reader.failure).toEqual(error);
      expect(reader.pendingBytes).toBe(0);
      expect(reader.pending).toBe(true);
      expect([...reader.beginning]).toEqual(header);
      expect(() => reader.push(frame(16))).toThrow(error);
    }
  });

  test("are reported only after the valid frames before them in the chunk", () => {
    const reader = new FrameReader(limits);
    expect(reader.push(concat([frame(24), Buffer.from("GET / HT")]))).toEqual([frame(24)]);
    expect(reader.failure).toBeInstanceOf(TtlvError);
    expect(reader.pending).toBe(true);
    expect(() => reader.push(new Uint8Array(0))).toThrow(TtlvError);
    expect(Buffer.from(reader.beginning).toString()).toBe("GET / HT");
  });

  test.each([1, 3, 8, 400])("leave at most 56 bytes of the message, in chunks of %i", (length) => {
    const reader = new FrameReader(limits);
    const bytes = concat([frame(24), frame((1 << 16) + 8, 7)]);
    for (const chunk of chunksOf(bytes, length)) {
      if (reader.failure !== undefined) break;
      try {
        reader.push(chunk);
      } catch (error) {
        expect(error).toBeInstanceOf(FrameTooLong);
      }
    }
    const { beginning } = reader;
    expect(beginning.length).toBeGreaterThanOrEqual(8);
    expect(beginning.length).toBeLessThanOrEqual(56);
    expect(beginning).toEqual(bytes.slice(24, 24 + beginning.length));
  });

  test("are not those of the longest frame allowed", () => {
    const bytes = frame(1 << 16);
    expect(new FrameReader(limits).push(bytes)).toEqual([bytes]);
  });
});

const seed = 0x42_0078;
describe(`properties (seed ${seed})`, () => {
  test("any chunking of any frames yields the same frames", () => {
    const lengths = fc.oneof(fc.nat({ max: 64 }), fc.nat({ max: 12_000 }));
    const sizes = fc.oneof(
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 1, max: 511 }),
      fc.integer({ min: 512, max: 9000 }),
    );
    fc.assert(
      fc.property(
        fc.array(lengths, { minLength: 1, maxLength: 6 }),
        fc.array(sizes, { minLength: 1, maxLength: 20 }),
        (all, cuts) => {
          const frames = all.map((length, index) => frame(length, index + 1));
          const stream = concat(frames);
          const reader = new FrameReader(limits);
          const read: Uint8Array[] = [];
          let at = 0;
          for (let index = 0; at < stream.length; index++) {
            const next = at + (cuts[index % cuts.length] ?? 1);
            read.push(...reader.push(stream.slice(at, next)));
            at = next;
          }
          expect(read.map(toHex)).toEqual(frames.map(toHex));
          expect(reader.pending).toBe(false);
        },
      ),
      { seed, numRuns: 300 },
    );
  });
});

/** The number of bytes that `set` and `slice` copy while `run` runs. */
function copiedBytes(run: () => void): number {
  let copied = 0;
  const { set, slice } = Uint8Array.prototype;
  vi.spyOn(Uint8Array.prototype, "set").mockImplementation(function (
    this: Uint8Array,
    source: ArrayLike<number>,
    offset?: number,
  ) {
    copied += source.length;
    set.call(this, source, offset);
  });
  vi.spyOn(Uint8Array.prototype, "slice").mockImplementation(function (
    this: Uint8Array,
    start?: number,
    end?: number,
  ) {
    const part = slice.call(this, start, end);
    copied += part.length;
    return part;
  });
  run();
  vi.restoreAllMocks();
  return copied;
}

describe("copies", () => {
  const length = 1 << 24;
  const message = frame(length);
  const read = (chunks: readonly Uint8Array[]): number => {
    const reader = new FrameReader({ frameBytesMax: length });
    let frames = 0;
    const copied = copiedBytes(() => {
      for (const chunk of chunks) frames += reader.push(chunk).length;
    });
    expect(frames).toBe(1);
    return copied;
  };

  test("are made once per byte for 16 MiB in chunks of 1 KiB", () => {
    expect(read(chunksOf(message, 1024))).toBe(length);
  });

  test("are made twice per byte for 16 MiB in chunks of 100 bytes: no object is kept per chunk", () => {
    expect(read(chunksOf(message, 100))).toBe(2 * (length - 8) + 8);
  });

  test("are made at most three times per byte for 16 MiB in alternating big and small chunks", () => {
    const chunks: Uint8Array[] = [];
    for (let at = 0; at < length; at += 1025) {
      chunks.push(message.slice(at, at + 1024), message.slice(at + 1024, at + 1025));
    }
    expect(read(chunks)).toBeLessThanOrEqual(3 * length);
  });

  test("are not made for one chunk", () => {
    expect(read([message])).toBe(0);
  });
});
