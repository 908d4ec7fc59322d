import { X509Certificate } from "node:crypto";
import { type Issued, selfSigned } from "@holdfast/testing/pki";
import { afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { Passwords, RememberedPassword } from "../../access/passwords.ts";
import type { Users } from "../../base/password-hash.ts";
import { TestAccess, type TestNode } from "../../testing/access.ts";

const refusal = (code: string) => expect.objectContaining({ code });
const passwords = new Passwords();
const [password, newer] = ["correct horse battery", "incorrect zebra battery"];

let shown: Issued;
let world: TestAccess;
let instance: string;

beforeAll(async () => {
  shown = await selfSigned({ commonName: "kmipClient", notBeforeMs: Date.now() - 1000, days: 9 });
});
beforeEach(async () => {
  world = new TestAccess();
  instance = await world.instance("kmip-aa");
  const body = { name: "vcenter-1", kind: "client", pem: shown.certificate };
  await world.a.call("addCertificate", { params: { instance }, body });
  await world.see();
});
afterEach(() => world[Symbol.asyncDispose]());

async function set(node: TestNode, user: string, given: string): Promise<void> {
  await node.call("setUser", { params: { instance, user }, body: { password: given } });
  await world.see();
}

/** The users that a connection of the instance's client sees. */
function usersOf(node: TestNode): Users {
  const admission = node.trust.check(new X509Certificate(shown.certificate), Date.now());
  if (typeof admission === "string") throw new Error(admission);
  return admission.instance.users;
}

test("a user is the same in both regions, and its password is kept as a sealed hash", async () => {
  expect(usersOf(world.a).size).toBe(0);
  await set(world.a, "vcenter", password);
  for (const node of world.nodes) {
    const users = usersOf(node);
    expect(users.size).toBe(1);
    expect(await passwords.verify(users, "vcenter", password)).toBe(true);
    expect(await passwords.verify(users, "vcenter", newer)).toBe(false);
    expect(await passwords.verify(users, "nobody", password)).toBe(false);
  }
  const { items } = await world.b.call("listUsers", { params: { instance } });
  expect(items).toMatchObject([{ name: "vcenter", origin: "added" }]);
  const records = JSON.stringify([...world.regions.b.view.records()]);
  expect(records).not.toContain(password);
  expect(records).not.toContain("scrypt$");
});

test("an open connection forgets its checked password when a user changes, and not before", async () => {
  await set(world.a, "vcenter", password);
  const remembered = new RememberedPassword(passwords, () => usersOf(world.b));
  expect(await remembered.verify("vcenter", password)).toBe(true);
  const before = usersOf(world.b);
  await world.instance("kmip-bb");
  expect(usersOf(world.b)).toBe(before);
  await set(world.a, "vcenter", newer);
  expect(usersOf(world.b)).not.toBe(before);
  expect(await remembered.verify("vcenter", password)).toBe(false);
  expect(await remembered.verify("vcenter", newer)).toBe(true);
});

test("a user that was deleted can be created again", async () => {
  await set(world.a, "vcenter", password);
  const params = { instance, user: "vcenter" };
  await world.b.call("deleteUser", { params });
  await world.see();
  expect(usersOf(world.a).size).toBe(0);
  await expect(world.a.call("deleteUser", { params })).rejects.toEqual(refusal("notFound"));
  await set(world.b, "vcenter", newer);
  expect(await passwords.verify(usersOf(world.a), "vcenter", newer)).toBe(true);
});

test("if two cut off regions set a user's password, the last one is valid in both", async () => {
  world.regions.linked = false;
  await set(world.a, "vcenter", password);
  await set(world.b, "vcenter", newer);
  world.regions.linked = true;
  await world.see();
  const right = await Promise.all(
    world.nodes.map((node) => passwords.verify(usersOf(node), "vcenter", newer)),
  );
  expect(right).toEqual([true, true]);
});

test("a password cannot be set while the instance's keys cannot seal it", async () => {
  const none = await world.instance("kmip-cc", "Inactive");
  const given = { params: { instance: none, user: "u" }, body: { password } };
  await expect(world.a.call("setUser", given)).rejects.toEqual(refusal("wrongState"));
  world.root.fail("denied");
  const other = { params: { instance, user: "u" }, body: { password } };
  await expect(world.a.call("setUser", other)).rejects.toEqual(refusal("rootDenied"));
});

test("a user is limited to operations, until another limit is set or the user is deleted", async () => {
  const params = { instance, user: "vcenter" };
  const limits = () => world.nodes.map((node) => usersOf(node).limitOf?.("vcenter")?.join(" "));
  const put = async (operations?: readonly string[]) => {
    const body = { password, ...(operations && { operations }) };
    await world.a.call("setUser", { params, body });
    await world.see();
  };
  await put(["vsphere", "Locate", "Locate"]);
  expect(limits()).toEqual(["Locate vsphere", "Locate vsphere"]);
  const { items } = await world.b.call("listUsers", { params: { instance } });
  expect(items).toMatchObject([{ name: "vcenter", operations: ["Locate", "vsphere"] }]);
  // A new password alone changes no limit.
  await put();
  expect(limits()).toEqual(["Locate vsphere", "Locate vsphere"]);
  await put(["all"]);
  expect(limits()).toEqual([undefined, undefined]);
  await put(["read-only"]);
  await world.b.call("deleteUser", { params });
  await world.see();
  await put();
  expect(limits()).toEqual([undefined, undefined]);
});

test("a user that one region deletes and the other one gives a password keeps its limit", async () => {
  const params = { instance, user: "vcenter" };
  await world.a.call("setUser", { params, body: { password, operations: ["read-only"] } });
  await world.see();
  world.regions.linked = false;
  await world.a.call("deleteUser", { params });
  await set(world.b, "vcenter", newer);
  world.regions.linked = true;
  await world.see();
  for (const node of world.nodes) {
    expect(usersOf(node).has("vcenter")).toBe(true);
    expect(usersOf(node).limitOf?.("vcenter")).toEqual(["read-only"]);
  }
});
