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
import { roles as allRoles } from "@holdfast/admin";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { TestAccess } from "../../testing/access.ts";
import { tokenValues } from "../../testing/system-records.ts";
import { bootstrapId } from "./bootstrap.ts";
import { isToken } from "./token-text.ts";

const isForbidden = (error: unknown) => {
  expect(error).toEqual(refusal("forbidden"));
  return false;
};
const refusal = (code: string) => expect.objectContaining({ code });
const first = { name: "first", roles: ["manager", "security-officer"], days: 90 };

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
    const body = { name: "ci", roles: ["operator"], instances: ["kmip-aa"], days: 7 };
    const { token, secret } = await world.a.call("createToken", { body });
    expect(isToken(secret)).toBe(true);
    expect(token).toMatchObject({ name: "ci", instances: [instance], state: "valid" });
    await world.see();
    for (const { book } of world.nodes) {
      expect(book.verify(secret)).toMatchObject({
        id: token.id,
        roles: ["operator"],
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
    const body = { name: "ci", roles: ["viewer"], days: 7 };
    await world.a.call("createToken", { body });
    await expect(world.a.call("createToken", { body })).rejects.toEqual(refusal("nameTaken"));
    await world.a.call("revokeToken", { params: { token: "ci" } });
    await world.a.call("createToken", { body });
  });

  test("is revoked with its namesake if two cut off regions made both", async () => {
    const body = { name: "ci", roles: ["viewer"], days: 7 };
    world.regions.linked = false;
    const made = await Promise.all(world.nodes.map((node) => node.call("createToken", { body })));
    world.regions.linked = true;
    await world.see();
    await world.a.call("revokeToken", { params: { token: "ci" } });
    await world.see();
    for (const { secret } of made) expect(world.b.book.verify(secret)).toBe("revoked");
  });

  test("cannot be bound to an instance that does not exist", async () => {
    const body = { name: "ci", roles: ["viewer"], instances: ["nowhere"], days: 7 };
    await expect(world.a.call("createToken", { body })).rejects.toEqual(refusal("notFound"));
  });

  test.each([
    [["manager"], ["viewer", "auditor", "operator", "manager"]],
    [["security-officer"], ["security-officer"]],
    [
      ["manager", "security-officer"],
      ["viewer", "auditor", "operator", "security-officer", "manager"],
    ],
  ] as const)("with the roles %j gives: %j", async (roles, may) => {
    const given = [];
    for (const role of allRoles) {
      const body = { name: `a ${role}`, roles: [role], days: 7 };
      const made = world.a.call("createToken", { body }, { roles });
      if (await made.then(() => true, isForbidden)) given.push(role);
    }
    expect(given).toEqual(may);
  });

  test.each([
    [["manager"], ["viewer", "auditor", "operator", "manager", "both"]],
    [["security-officer"], ["security-officer", "both"]],
    [
      ["manager", "security-officer"],
      ["viewer", "auditor", "operator", "security-officer", "manager", "both"],
    ],
  ] as const)("with the roles %j revokes: %j", async (roles, may) => {
    const revoked = [];
    for (const name of [...allRoles, "both"]) {
      const given = name === "both" ? ["manager", "security-officer"] : [name];
      const body = { name, roles: given, days: 7 };
      await world.a.call("createToken", { body });
      await world.see();
      const asked = world.b.call("revokeToken", { params: { token: name } }, { roles });
      if (await asked.then(() => true, isForbidden)) revoked.push(name);
    }
    expect(revoked).toEqual(may);
    await world.see();
    const { items } = await world.a.call("listTokens", {});
    const ended = items.filter(({ state }) => state === "revoked").map(({ name }) => name);
    expect(ended.toSorted()).toEqual(may.toSorted());
  });

  test("revokes none of two namesakes if it may not revoke both", async () => {
    world.regions.linked = false;
    const make = (node: typeof world.a, role: string) =>
      node.call("createToken", { body: { name: "ci", roles: [role], days: 7 } });
    const made = [await make(world.a, "viewer"), await make(world.b, "security-officer")];
    world.regions.linked = true;
    await world.see();
    const params = { token: "ci" };
    const asked = world.a.call("revokeToken", { params }, { roles: ["manager"] });
    await expect(asked).rejects.toMatchObject({
      code: "forbidden",
      message:
        "only a token with the role security-officer revokes a token with the role security-officer",
    });
    await world.see();
    for (const { secret } of made)
      expect(world.b.book.verify(secret)).toMatchObject({ name: "ci" });
    const [viewer] = made;
    const only = { token: viewer?.token.id ?? "" };
    await world.a.call("revokeToken", { params: only }, { roles: ["manager"] });
  });

  test("with several roles needs a giver of each", async () => {
    const body = { name: "x", roles: ["security-officer", "manager", "manager"], days: 7 };
    for (const role of ["manager", "security-officer"] as const) {
      const made = world.a.call("createToken", { body }, { roles: [role] });
      await expect(made).rejects.toEqual(refusal("forbidden"));
    }
    const { token } = await world.a.call("createToken", { body });
    expect(token.roles).toEqual(["security-officer", "manager"]);
  });

  test("with labels reaches the instances that have all of them now", async () => {
    const [both, one, other] = [
      await world.instance("kmip-aa", "Installed", { group: "finance", site: "a" }),
      await world.instance("kmip-bb", "Installed", { group: "finance" }),
      await world.instance("kmip-cc", "Installed", { group: "sales", site: "a" }),
    ];
    const make = async (name: string, more: object) => {
      const body = { name, roles: ["viewer"], days: 7, ...more };
      return (await world.a.call("createToken", { body })).secret;
    };
    const finance = await make("f", { labels: { group: "finance" } });
    const narrow = await make("n", { labels: { group: "finance", site: "a" } });
    const named = await make("i", { labels: { site: "a" }, instances: [one, other] });
    const empty = await make("e", { labels: { group: "nobody" } });
    await world.see();
    const reached = (secret: string) =>
      world.nodes.map(({ book }) => {
        const bearer = book.verify(secret);
        return typeof bearer === "string" ? bearer : bearer.instances;
      });
    const at = (...instances: readonly string[]) => [instances.toSorted(), instances.toSorted()];
    expect(reached(finance)).toEqual(at(both, one));
    expect(reached(narrow)).toEqual(at(both));
    expect(reached(named)).toEqual(at(other));
    expect(reached(empty)).toEqual(at());
    await world.label(one, { group: "sales" });
    await world.label(other, { group: "finance", site: "a" });
    expect(reached(finance)).toEqual(at(both, other));
    expect(reached(narrow)).toEqual(at(both, other));
    const { items } = await world.b.call("listTokens", {});
    expect(items.find(({ name }) => name === "n")).toMatchObject({
      labels: { group: "finance", site: "a" },
    });
  });

  test("is not accepted before the records were read", () => {
    const token = `hf_${"A".repeat(43)}`;
    expect(world.a.book.verify(token)).toBe("unavailable");
    expect(world.a.book.verify("hf_short")).toBe("unknown");
  });
});

describe("the one-time token", () => {
  test("is written while nobody is manager or security officer, readable by its own user alone", async () => {
    await look();
    for (const file of files) expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(oneTime(0)).not.toBe(oneTime(1));
    expect(world.a.bootstrap.verify(oneTime(0))).toMatchObject({
      id: bootstrapId,
      roles: ["manager", "security-officer"],
      // It makes a token, and no more: where a policy is in force, its holder must see what is approved.
      only: [
        ...["createToken", "whoAmI"],
        ...["listApprovals", "readApproval", "signApproval", "readApprovalPolicy"],
      ],
    });
    expect(world.b.bootstrap.verify(oneTime(0))).toBe("unknown");
    expect(world.a.said.join()).not.toContain(oneTime(0));
  });

  test("makes the first token, once; then it is void, and its file is removed at every node", async () => {
    await look();
    const secret = oneTime(0);
    for (const body of [
      { ...first, roles: ["manager", "viewer"] },
      { ...first, instances: [await world.instance("kmip-aa")] },
      { ...first, labels: { group: "x" } },
    ]) {
      const tried = world.a.call("createToken", { body }, { id: bootstrapId });
      await expect(tried).rejects.toEqual(refusal("forbidden"));
    }
    const made = await world.a.call("createToken", { body: first }, { id: bootstrapId });
    expect(world.a.bootstrap.verify(secret)).toBe("unknown");
    expect(world.a.bootstrap.verify(made.secret)).toMatchObject({ name: "first" });
    const second = { ...first, name: "second" };
    await expect(
      world.b.call("createToken", { body: second }, { id: bootstrapId }),
    ).rejects.toEqual(refusal("forbidden"));
    await look();
    expect(files.map((file) => existsSync(file))).toEqual([false, false]);
  });

  test("makes only one token when it is used in two regions at once", async () => {
    await look();
    const tries = await Promise.allSettled(
      world.nodes.map((node, at) =>
        node.call("createToken", { body: { ...first, name: `m${at}` } }, { id: bootstrapId }),
      ),
    );
    expect(tries.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  });

  test("gives a role that nobody has, and none that somebody has", async () => {
    await look();
    const give = (name: string, ...roles: readonly string[]) =>
      world.a.call("createToken", { body: { name, roles, days: 7 } }, { id: bootstrapId });
    await give("m", "manager");
    await look();
    expect(world.b.bootstrap.verify(oneTime(1))).toMatchObject({ roles: ["security-officer"] });
    await expect(give("n", "manager")).rejects.toEqual(refusal("forbidden"));
    await expect(give("n", "manager", "security-officer")).rejects.toEqual(refusal("forbidden"));
    await give("o", "security-officer");
    await look();
    expect(files.map((file) => existsSync(file))).toEqual([false, false]);
    await world.a.call("revokeToken", { params: { token: "o" } });
    await look();
    await expect(give("n", "manager")).rejects.toEqual(refusal("forbidden"));
    await give("o", "security-officer");
  });

  test("is valid in a region that is cut off", async () => {
    await look();
    world.regions.linked = false;
    await world.b.call("createToken", { body: first }, { id: bootstrapId });
  });

  test("is written again when the last token of a manager is revoked", async () => {
    await look();
    await world.a.call("createToken", { body: first }, { id: bootstrapId });
    await look();
    await world.b.call("revokeToken", { params: { token: "first" } });
    await look();
    const again = await world.a.call("createToken", { body: first }, { id: bootstrapId });
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
