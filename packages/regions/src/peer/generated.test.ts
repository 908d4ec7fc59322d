import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const regions = join(import.meta.dirname, "..", "..");
const tools = join(regions, "..", "..", "node_modules", ".bin");

function buf(...args: readonly string[]) {
  return promisify(execFile)(join(tools, "buf"), [...args], {
    cwd: regions,
    env: { ...process.env, PATH: `${tools}:${process.env["PATH"]}` },
  });
}

async function filesOf(directory: string): Promise<ReadonlyMap<string, string>> {
  const names = await readdir(directory, { recursive: true, withFileTypes: true });
  const files = names.filter((entry) => entry.isFile());
  const read = files.map(async ({ parentPath, name }) => {
    const path = join(parentPath, name);
    return [path.slice(directory.length), await readFile(path, "utf8")] as const;
  });
  return new Map(await Promise.all(read));
}

test("the generated code matches peer.proto: `npm run proto` makes it", async () => {
  const fresh = await mkdtemp(join(tmpdir(), "holdfast-proto-"));
  try {
    await buf("generate", "--output", fresh);
    const made = await filesOf(join(fresh, "src", "gen"));
    expect(made.size).toBeGreaterThan(0);
    expect(await filesOf(join(regions, "src", "gen"))).toEqual(made);
  } finally {
    await rm(fresh, { recursive: true });
  }
});

test("peer.proto follows its own rules", async () => {
  await buf("lint");
  const text = await readFile(join(regions, "proto/holdfast/peer/v1/peer.proto"), "utf8");
  // An enum's generated code is not erasable, and an unknown number would read as the first one.
  expect(text).not.toMatch(/^\s*enum\s/m);
});

test("peer.proto is compatible with version 2", async () => {
  await buf("breaking", "--against", "src/peer/testdata/v2.binpb");
});
