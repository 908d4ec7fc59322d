import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { TestAccess } from "../../testing/access.ts";
import { tokenValues } from "../../testing/system-records.ts";
import { bootstrapId } from "./bootstrap.ts";
import { isToken } from "./token-text.ts";

const refusal = (code: string) => expect.objectContaining({ code });
const manager = { name: "first", role: "manager", days: 90 };

let folder: string;
let files: readonly string[];
let world: TestAccess;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-tokens-"));
  files = ["a", "b"].map((name) => join(folder, `${name}.token`));
  world = new TestAccess({ bootstrapFiles: files });
});
afterEach(async () => {
  await world[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

async function look(): Promise<void> {
  await world.see();
  for (const { bootstrap } of world.nodes) await bootstrap.look();
}
const oneTime = (at: number): string => readFileSync(files[at] ?? "", "latin1").trim();

describe("a token", () => {
  test("is valid with its role in both regions until it is revoked", async () => {
    const instance = await world.instance("kmip-aa");
    const body = { name: "ci", role: "operator", instances: ["kmip-aa"], days: 7 };
    const { token, secret } = await world.a.call("createToken", { body });
    expect(isToken(secret)).toBe(true);
    expect(token).toMatchObject({ name: "ci", instances: [instance], state: "valid" });
    await world.see();
    for (const { book } of world.nodes) {
      expect(book.verify(secret)).toMatchObject({
        id: token.id,
        role: "operator",
        instances: [instance],
      });
      expect(book.verify(`${secret.slice(0, -1)}${secret.endsWith("A") ? "B" : "A"}`)).toBe(
        "unknown",
      );
    }
    expect(await world.b.call("revokeToken", { params: { token: "ci" } })).toMatchObject({
      id: token.id,
      regions: { a: "applied", b: "applied" },
    });
    await world.see();
    for (const { book } of world.nodes) expect(book.verify(secret)).toBe("revoked");
    await expect(world.b.call("revokeToken", { params: { token: "ci" } })).rejects.toEqual(
      refusal("notFound"),
    );
    const { items } = await world.a.call("listTokens", {});
    expect(items).toMatchObject([{ name: "ci", state: "revoked" }]);
    expect(JSON.stringify([...world.regions.a.view.records(), items])).not.toContain(secret);
  });

  test("expires by itself", async () => {
    const { hashOf, newToken } = await import("./token-text.ts");
    const secret = newToken((length) => new Uint8Array(length).fill(7));
    const expiresMs = Date.now() - 1;
    const values = { ...tokenValues, hash: hashOf(secret), expiresMs, name: "old" };
    await world.regions.a.records.create("Token", values, []);
    await world.see();
    expect(world.a.book.verify(secret)).toBe("expired");
  });

  test("has a unique name until it is revoked", async () => {
    const body = { name: "ci", role: "viewer", days: 7 };
    await world.a.call("createToken", { body });
    await expect(world.a.call("createToken", { body })).rejects.toEqual(refusal("nameTaken"));
    await world.a.call("revokeToken", { params: { token: "ci" } });
    await world.a.call("createToken", { body });
  });

  test("is revoked with its namesake if two cut off regions made both", async () => {
    const body = { name: "ci", role: "viewer", days: 7 };
    world.regions.linked = false;
    const made = await Promise.all(world.nodes.map((node) => node.call("createToken", { body })));
    world.regions.linked = true;
    await world.see();
    await world.a.call("revokeToken", { params: { token: "ci" } });
    await world.see();
    for (const { secret } of made) expect(world.b.book.verify(secret)).toBe("revoked");
  });

  test("cannot be bound to an instance that does not exist", async () => {
    const body = { name: "ci", role: "viewer", instances: ["nowhere"], days: 7 };
    await expect(world.a.call("createToken", { body })).rejects.toEqual(refusal("notFound"));
  });

  test("is not accepted before the records were read", () => {
    const token = `hf_${"A".repeat(43)}`;
    expect(world.a.book.verify(token)).toBe("unavailable");
    expect(world.a.book.verify("hf_short")).toBe("unknown");
  });
});

describe("the one-time token", () => {
  test("is written while no manager token is valid, readable by its own user alone", async () => {
    await look();
    for (const file of files) expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(oneTime(0)).not.toBe(oneTime(1));
    expect(world.a.bootstrap.verify(oneTime(0))).toMatchObject({
      id: bootstrapId,
      role: "manager",
      only: ["createToken", "whoAmI"],
    });
    expect(world.b.bootstrap.verify(oneTime(0))).toBe("unknown");
    expect(world.a.said.join()).not.toContain(oneTime(0));
  });

  test("makes the first manager token, once; then it is void, and its file is removed at every node", async () => {
    await look();
    const secret = oneTime(0);
    for (const body of [
      { ...manager, role: "viewer" },
      { ...manager, instances: [await world.instance("kmip-aa")] },
    ]) {
      const tried = world.a.call("createToken", { body }, { id: bootstrapId });
      await expect(tried).rejects.toEqual(refusal("forbidden"));
    }
    const made = await world.a.call("createToken", { body: manager }, { id: bootstrapId });
    expect(world.a.bootstrap.verify(secret)).toBe("unknown");
    expect(world.a.bootstrap.verify(made.secret)).toMatchObject({ name: "first" });
    const second = { ...manager, name: "second" };
    await expect(
      world.b.call("createToken", { body: second }, { id: bootstrapId }),
    ).rejects.toEqual(refusal("forbidden"));
    await look();
    expect(files.map((file) => existsSync(file))).toEqual([false, false]);
  });

  test("makes only one manager token when it is used in two regions at once", async () => {
    await look();
    const tries = await Promise.allSettled(
      world.nodes.map((node, at) =>
        node.call("createToken", { body: { ...manager, name: `m${at}` } }, { id: bootstrapId }),
      ),
    );
    expect(tries.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  });

  test("is valid in a region that is cut off", async () => {
    await look();
    world.regions.linked = false;
    await world.b.call("createToken", { body: manager }, { id: bootstrapId });
  });

  test("is written again when the last manager token is revoked", async () => {
    await look();
    await world.a.call("createToken", { body: manager }, { id: bootstrapId });
    await look();
    await world.b.call("revokeToken", { params: { token: "first" } });
    await look();
    const again = await world.a.call("createToken", { body: manager }, { id: bootstrapId });
    expect(again.token.name).toBe("first");
  });

  test("replaces at each start a file that other users may have read", async () => {
    writeFileSync(files[0] ?? "", `hf_${"A".repeat(43)}\n`);
    chmodSync(files[0] ?? "", 0o644);
    await look();
    expect(oneTime(0)).not.toContain("AAAA");
    expect(statSync(files[0] ?? "").mode & 0o777).toBe(0o600);
  });

  test("is not written over another file, nor through a link", async () => {
    const precious = join(folder, "precious.pem");
    writeFileSync(precious, "a key");
    symlinkSync(precious, files[0] ?? "");
    writeFileSync(files[1] ?? "", "another key");
    await look();
    expect(readFileSync(precious, "utf8")).toBe("a key");
    expect(readFileSync(files[1] ?? "", "utf8")).toBe("another key");
    const warned = world.nodes.flatMap(({ region }) => region.events);
    expect(warned).toMatchObject([
      { type: "warning", message: expect.stringMatching(/left alone/) },
      { type: "warning", message: expect.stringMatching(/left alone/) },
    ]);
  });
});
