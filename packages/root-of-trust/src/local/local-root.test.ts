import { randomBytes, randomUUID } from "node:crypto";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { InstanceKeyRing, RootOfTrustError, SealBroken } from "@holdfast/engine";
import { MemoryKekStore, rootOfTrustConformance } from "@holdfast/engine/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createLocalRoot, openLocalRoot, rotateLocalRoot } from "./local-root.ts";

const ids = { uuid: randomUUID, randomBytes: (length: number) => randomBytes(length) };
const clock = { wallMs: () => Date.UTC(2026, 0, 2, 3, 4, 5), monotonicMs: () => 0 };
const sources = { clock, ids };
const secret = Buffer.alloc(32, 7);
const data = Buffer.from("instance");
const isRoot = process.getuid?.() === 0;

let directory: string;
let file: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "local-root-"));
  file = join(directory, "root.json");
});
afterEach(async () => {
  await rm(directory, { recursive: true });
});

rootOfTrustConformance(
  "local",
  async () => {
    const own = await mkdtemp(join(tmpdir(), "local-root-"));
    const path = join(own, "root.json");
    await createLocalRoot(path, sources);
    return {
      subject: await openLocalRoot(path, ids),
      rotate: async () => {
        await rotateLocalRoot(path, sources);
      },
      fail: {
        gone: () => rm(path),
        unavailable: () => chmod(path, 0o640),
        denied: () => chmod(path, 0o000),
      },
      mend: () => chmod(path, 0o600),
      close: () => rm(own, { recursive: true }),
    };
  },
  // Root can read a file without permissions.
  {
    rotates: true,
    failures: isRoot ? ["gone", "unavailable"] : ["gone", "unavailable", "denied"],
    mends: ["unavailable"],
  },
);

/** The versions in a file as text. */
async function versions(): Promise<{ version: number; created: string; key: string }[]> {
  return JSON.parse(await readFile(file, "utf8")).versions;
}

describe("the root key file", () => {
  test("is created for its owner only, with one version", async () => {
    await createLocalRoot(file, sources);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await versions()).toEqual([
      {
        version: 1,
        created: "2026-01-02T03:04:05.000Z",
        key: expect.stringMatching(/^[A-Za-z0-9+/]{43}=$/),
      },
    ]);
    expect(await readdir(directory)).toEqual(["root.json"]);
  });

  test("has a name that all its versions share, that is unique, and that is not part of the key", async () => {
    const nameOf = async (path: string) => (await (await openLocalRoot(path, ids)).describe()).name;
    await createLocalRoot(file, sources);
    const name = await nameOf(file);
    expect(name).toMatch(/^local [0-9a-f]{16}$/);
    const hex = Buffer.from((await versions())[0]?.key ?? "", "base64").toString("hex");
    expect(hex).not.toContain(name.slice("local ".length));
    await rotateLocalRoot(file, sources);
    expect(await nameOf(file)).toBe(name);
    const other = join(directory, "other.json");
    await createLocalRoot(other, sources);
    expect(await nameOf(other)).not.toBe(name);
  });

  test("is never replaced by a new one", async () => {
    await createLocalRoot(file, sources);
    const before = await readFile(file);
    await expect(createLocalRoot(file, sources)).rejects.toThrow(
      `root key file ${file} exists already`,
    );
    expect(await readFile(file)).toEqual(before);
    expect(await readdir(directory)).toEqual(["root.json"]);
  });

  test("gets a new version at its end by each rotation, and keeps mode and older keys", async () => {
    await createLocalRoot(file, sources);
    const [first] = await versions();
    expect(await rotateLocalRoot(file, sources)).toBe(2);
    expect(await rotateLocalRoot(file, sources)).toBe(3);
    const all = await versions();
    expect(all.map(({ version }) => version)).toEqual([1, 2, 3]);
    expect(all[0]).toEqual(first);
    expect(new Set(all.map(({ key }) => key)).size).toBe(3);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await readdir(directory)).toEqual(["root.json"]);
  });

  test("is rotated by one caller at a time: no version is lost, and a concurrent rotation is refused", async () => {
    await createLocalRoot(file, sources);
    const results = await Promise.allSettled(
      [0, 1, 2, 3].map(() => rotateLocalRoot(file, sources)),
    );
    const done = results.flatMap((result) => (result.status === "fulfilled" ? result.value : []));
    expect((await versions()).map(({ version }) => version)).toEqual([1, ...done.toSorted()]);
    for (const result of results) {
      if (result.status === "rejected") expect(String(result.reason)).toContain("remove it");
    }
  });

  test("cannot be rotated while the draft of an interrupted rotation exists, and the error says to remove it", async () => {
    await createLocalRoot(file, sources);
    await writeFile(`${file}.new`, "");
    await expect(rotateLocalRoot(file, sources)).rejects.toThrow(`${file}.new`);
    expect(await versions()).toHaveLength(1);
    await rm(`${file}.new`);
    expect(await rotateLocalRoot(file, sources)).toBe(2);
  });

  test("cannot be opened or rotated if it does not exist", async () => {
    const message = `root key file ${file} does not exist`;
    await expect(openLocalRoot(file, ids)).rejects.toThrow(message);
    await expect(rotateLocalRoot(file, sources)).rejects.toThrow(message);
    expect(await readdir(directory)).toEqual([]);
    await expect(createLocalRoot(join(file, "x", "y"), sources)).rejects.toThrow("does not exist");
  });

  test.each([0o640, 0o604, 0o620, 0o666, 0o601])(
    "with mode %o is refused, and the error says how to fix it",
    async (mode) => {
      await createLocalRoot(file, sources);
      await chmod(file, mode);
      await expect(openLocalRoot(file, ids)).rejects.toThrow(`run: chmod 0600 ${file}`);
      await chmod(file, 0o400);
      await (await openLocalRoot(file, ids)).probe();
    },
  );

  test("is refused if it is a directory", async () => {
    await mkdir(file);
    await expect(openLocalRoot(file, ids)).rejects.toThrow(RootOfTrustError);
  });

  const key = Buffer.alloc(32, 1).toString("base64");
  const row = { version: 1, created: "2026-01-02T03:04:05.000Z", key };
  test.each<[string, unknown, string]>([
    ["no JSON", `{"format":1,"versions":[{"key":"${key}"`, "not JSON"],
    ["nothing", "", "not JSON"],
    ["another format", { format: 2, versions: [row] }, "format 1"],
    ["no versions", { format: 1 }, "format 1"],
    ["an empty list", { format: 1, versions: [] }, "format 1"],
    ["null", null, "format 1"],
    ["a short key", { format: 1, versions: [{ ...row, key: "AAAA" }] }, "entry 1"],
    ["a key that is not text", { format: 1, versions: [{ ...row, key: 1 }] }, "entry 1"],
    ["a version of 0", { format: 1, versions: [{ ...row, version: 0 }] }, "entry 1"],
    [
      "a version that is not a number",
      { format: 1, versions: [{ ...row, version: "1" }] },
      "entry 1",
    ],
    ["a version above 32 bits", { format: 1, versions: [{ ...row, version: 2 ** 32 }] }, "entry 1"],
    ["no date", { format: 1, versions: [{ version: 1, key }] }, "entry 1"],
    ["a version twice", { format: 1, versions: [row, row] }, "entry 2"],
  ])("with %s is refused, and the error shows no key", async (_name, content, why) => {
    const text = typeof content === "string" ? content : JSON.stringify(content);
    await writeFile(file, text, { mode: 0o600 });
    const error: unknown = await openLocalRoot(file, ids).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(RootOfTrustError);
    expect(String(error)).toContain(`root key file ${file}: `);
    expect(String(error)).toContain(why);
    expect(`${String(error)}${String((error as Error).cause)}`).not.toContain(key.slice(0, 8));
  });
});

describe("an open local root", () => {
  test("notices a rotation without a restart, on every node", async () => {
    await createLocalRoot(file, sources);
    const [one, two] = [await openLocalRoot(file, ids), await openLocalRoot(file, ids)];
    const old = await one.wrap(secret, data);
    await rotateLocalRoot(file, sources);
    const made = await one.wrap(secret, data);
    expect(made.version).toBe("2");
    expect((await two.unwrap(made.blob, data)).plaintext).toEqual(secret);
    expect((await two.unwrap(old.blob, data)).rewrapped?.version).toBe("2");
  });

  test("is unavailable, not refused, with an outdated copy of the file, and the message says how to fix it", async () => {
    await createLocalRoot(file, sources);
    const copy = join(directory, "copy.json");
    await writeFile(copy, await readFile(file), { mode: 0o600 });
    await rotateLocalRoot(file, sources);
    const { blob } = await (await openLocalRoot(file, ids)).wrap(secret, data);
    await expect((await openLocalRoot(copy, ids)).unwrap(blob, data)).rejects.toMatchObject({
      failure: "unavailable",
      message: expect.stringContaining("version 2 is needed, but the newest is 1"),
    });
  });

  test("reports a version that was removed from the file as gone", async () => {
    await createLocalRoot(file, sources);
    const root = await openLocalRoot(file, ids);
    const { blob } = await root.wrap(secret, data);
    await rotateLocalRoot(file, sources);
    await writeFile(file, JSON.stringify({ format: 1, versions: (await versions()).slice(1) }));
    await expect(root.unwrap(blob, data)).rejects.toMatchObject({ failure: "gone" });
  });

  test("uses a file again after it was restored", async () => {
    await createLocalRoot(file, sources);
    const root = await openLocalRoot(file, ids);
    const { blob } = await root.wrap(secret, data);
    const bytes = await readFile(file);
    await rm(file);
    await expect(root.unwrap(blob, data)).rejects.toMatchObject({ failure: "gone" });
    await writeFile(file, bytes, { mode: 0o600 });
    expect((await root.unwrap(blob, data)).plaintext).toEqual(secret);
  });

  test("never wraps under a key that is not in the file, with many calls during rotations", async () => {
    await createLocalRoot(file, sources);
    const root = await openLocalRoot(file, ids);
    const wraps: Promise<{ blob: Uint8Array }>[] = [];
    for (let round = 0; round < 10; round++) {
      for (let each = 0; each < 10; each++) wraps.push(root.wrap(secret, data));
      await rotateLocalRoot(file, sources);
    }
    const fresh = await openLocalRoot(file, ids);
    for (const { blob } of await Promise.all(wraps)) {
      expect((await fresh.unwrap(blob, data)).plaintext).toEqual(secret);
    }
  });
});

test("a root does not open another root's blob", async () => {
  await createLocalRoot(file, sources);
  const other = join(directory, "other.json");
  await createLocalRoot(other, sources);
  const { blob } = await (await openLocalRoot(other, ids)).wrap(secret, data);
  await expect((await openLocalRoot(file, ids)).unwrap(blob, data)).rejects.toThrow(SealBroken);
});

test("a blob names its scheme and version", async () => {
  await createLocalRoot(file, sources);
  await rotateLocalRoot(file, sources);
  const { blob } = await (await openLocalRoot(file, ids)).wrap(secret, data);
  expect(Buffer.from(blob.subarray(0, 8)).toString("latin1")).toBe("HFL1\0\0\0\x02");
  expect(blob.length).toBe(8 + 12 + 32 + 16);
});

test("an instance's key ring works with a local root, through a rotation and a loss", async () => {
  await createLocalRoot(file, sources);
  const keks = new MemoryKekStore();
  let nowMs = 0;
  const makeRing = async () => {
    const root = await openLocalRoot(file, ids);
    return new InstanceKeyRing({
      rootOf: () => root,
      keks,
      clock: { wallMs: clock.wallMs, monotonicMs: () => nowMs },
      ids,
      observe: () => undefined,
      region: "a",
      kekCacheMs: 1_000,
      graceMs: 10_000,
    });
  };
  const binding = { instance: "i", uniqueIdentifier: "u", objectType: 2 };
  const ring = await makeRing();
  const sealed = await ring.seal(binding, secret);
  await rotateLocalRoot(file, sources);
  nowMs += 1_000;
  expect(await ring.open(binding, sealed)).toEqual(secret);
  await expect.poll(async () => (await keks.list("i"))[0]?.wraps[0]?.rootKeyVersion).toBe("2");
  await writeFile(file, JSON.stringify({ format: 1, versions: (await versions()).slice(1) }));
  expect(await (await makeRing()).open(binding, sealed)).toEqual(secret);
  await rm(file);
  nowMs += 1_000;
  await expect(ring.open(binding, sealed)).rejects.toMatchObject({ refused: true });
});
