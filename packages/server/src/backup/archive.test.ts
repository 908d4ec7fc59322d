import { chmod, lstat, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { systemIds } from "../base/system.ts";
import type { Entry } from "./archive/archive-entries.ts";
import {
  type ArchiveFault,
  type BackupKey,
  chunkBytes,
  sealBytes,
} from "./archive/archive-format.ts";
import { ArchiveReader } from "./archive/archive-reader.ts";
import { ArchiveWriter } from "./archive/archive-writer.ts";

const about = { createdMs: 1_800_000_000_000, region: "a", storeId: "5f", holdfast: "0" };
const key: BackupKey = { version: 3, key: systemIds.randomBytes(32) };
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "holdfast-archive-"));
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

async function write(file: string, bodies: readonly Uint8Array[]): Promise<void> {
  await using writer = await ArchiveWriter.create(file, key, about, systemIds);
  for (const [at, body] of bodies.entries()) await writer.add(at % 256, body);
  await writer.finish();
}

async function read(file: string, keys: readonly BackupKey[] = [key]): Promise<Entry[]> {
  await using reader = await ArchiveReader.open(file, keys);
  const entries: Entry[] = [];
  for await (const entry of reader.entries()) entries.push(entry);
  return entries;
}

async function faultOf(work: Promise<unknown>): Promise<string> {
  return await work.then(
    () => "",
    (error: ArchiveFault) => `${error.name}: ${error.message}`,
  );
}

describe("an archive", () => {
  test("returns the records that were written, of any size", async () => {
    const sizes = fc.oneof(
      fc.nat({ max: 40 }),
      fc.integer({ min: chunkBytes - 20, max: chunkBytes + 20 }),
      fc.constant(3 * chunkBytes),
    );
    let made = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(sizes, { maxLength: 8 }), async (lengths) => {
        made += 1;
        const file = join(folder, `${made}`);
        const bodies = lengths.map((length) => systemIds.randomBytes(length));
        await write(file, bodies);
        const entries = await read(file);
        expect(entries.map(({ kind }) => kind)).toEqual(bodies.map((_, at) => at));
        for (const [at, { body }] of entries.entries()) {
          expect(Buffer.compare(body, bodies[at] ?? new Uint8Array())).toBe(0);
        }
      }),
      { seed: 20261125, numRuns: 40 },
    );
  });

  test("is readable by its owner only, gets its name only when it is complete, and replaces nothing", async () => {
    const file = join(folder, "one");
    const writer = await ArchiveWriter.create(file, key, about, systemIds);
    await writer.add(1, new Uint8Array(10));
    expect((await readdir(folder)).filter((name) => name === "one")).toEqual([]);
    await writer.finish();
    await writer[Symbol.asyncDispose]();
    expect(await readdir(folder)).toEqual(["one"]);
    expect((await lstat(file)).mode & 0o777).toBe(0o600);
    expect(await faultOf(write(file, []))).toMatch(/one exists already and is kept/);
  });

  test("leaves nothing if it is not finished", async () => {
    const writer = await ArchiveWriter.create(join(folder, "one"), key, about, systemIds);
    await writer.add(1, new Uint8Array(chunkBytes * 3));
    await writer[Symbol.asyncDispose]();
    expect(await readdir(folder)).toEqual([]);
  });

  test("is neither written nor read through a symbolic link", async () => {
    const target = join(folder, "target");
    await writeFile(target, "mine");
    await symlink(target, join(folder, "link"));
    expect(await faultOf(write(join(folder, "link"), []))).toMatch(/exists already/);
    expect(await faultOf(read(join(folder, "link")))).toMatch(/symbolic link/);
    expect(await readFile(target, "utf8")).toBe("mine");
  });

  test("is refused if any single byte was changed", async () => {
    const file = join(folder, "one");
    await write(file, [Buffer.from("a secret that must not show")]);
    const whole = await readFile(file);
    expect(whole.includes("secret")).toBe(false);
    for (let at = 0; at < whole.length; at++) {
      const bytes = Buffer.from(whole);
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      await writeFile(file, bytes);
      expect(await faultOf(read(file)), `byte ${at}`).toMatch(/^OperatorError: .*one: /);
    }
  });

  test("is refused as cut short, or as not a backup, wherever it was cut", async () => {
    const file = join(folder, "one");
    await write(file, [new Uint8Array(chunkBytes * 2), new Uint8Array(100)]);
    const whole = await readFile(file);
    const head = whole.length - (2 * chunkBytes + 110 + 3 * sealBytes);
    const boundaries = [1, 2].map((chunk) => head + chunk * (chunkBytes + sealBytes));
    for (const at of [0, 5, 16, 20, head - 1, head, head + 5, ...boundaries, whole.length - 1]) {
      await writeFile(file, whole.subarray(0, at));
      const said = await faultOf(read(file));
      expect(said, `cut at ${at}`).toMatch(/cut short|not a Holdfast backup/);
      if (boundaries.includes(at)) expect(said).toMatch(/its end is missing/);
    }
  });

  test("is refused if its chunks are in another order, occur twice, or come from another archive", async () => {
    const [file, other] = [join(folder, "one"), join(folder, "two")];
    const bodies = [new Uint8Array(chunkBytes * 3)];
    await write(file, bodies);
    await write(other, bodies);
    const [one, two] = [await readFile(file), await readFile(other)];
    const size = chunkBytes + sealBytes;
    const head = one.length - (3 * chunkBytes + 5 + 4 * sealBytes);
    const chunk = (of: Buffer, at: number) => of.subarray(head + at * size, head + (at + 1) * size);
    const orders = [
      [chunk(one, 1), chunk(one, 0), chunk(one, 2), chunk(one, 3)],
      [chunk(one, 0), chunk(one, 0), chunk(one, 1), chunk(one, 2), chunk(one, 3)],
      [chunk(one, 0), chunk(two, 1), chunk(one, 2), chunk(one, 3)],
      [chunk(one, 0), chunk(one, 1), chunk(one, 2), chunk(one, 3), chunk(one, 3)],
    ];
    for (const order of orders) {
      await writeFile(file, Buffer.concat([one.subarray(0, head), ...order]));
      expect(await faultOf(read(file))).toMatch(/damaged|cut short/);
    }
    await writeFile(file, Buffer.concat([two.subarray(0, head), one.subarray(head)]));
    expect(await faultOf(read(file))).toMatch(/damaged/);
  });

  test("names the key that it needs if it is opened with another one", async () => {
    const file = join(folder, "one");
    await write(file, []);
    const other = { version: 3, key: systemIds.randomBytes(32) };
    expect(await faultOf(read(file, [other]))).toMatch(/version 3 of another backup key/);
    expect(await read(file, [other, key])).toEqual([]);
  });

  test("is refused with one line if its folder cannot be written", async () => {
    expect(await faultOf(write(join(folder, "no", "one"), []))).toMatch(/no such file or folder/);
    await chmod(folder, 0o500);
    const said = await faultOf(write(join(folder, "one"), []));
    await chmod(folder, 0o700);
    if (process.getuid?.() !== 0) expect(said).toMatch(/access is denied/);
  });
});
