import { StoreUnavailable } from "@holdfast/engine";
import { MemoryRootOfTrust } from "@holdfast/engine/testing";
import { expect, test } from "vitest";
import { systemIds } from "../base/system.ts";
import type { RootReference } from "../records/root-reference.ts";
import { rootPeerHandlers } from "./peer-handlers.ts";

const [own, neighbour] = ["11111111-2222-4333-8444-555555555555", "the-neighbour"];

/** A node whose configuration names the token `holdfast`, beside instances with tokens of their own. */
function handlersWith(
  named: Readonly<Record<string, Partial<RootReference>>>,
  refresh: () => Promise<void> = async () => undefined,
) {
  const asked: unknown[] = [];
  const roots = {
    instances: () => Object.keys(named),
    named: (instance: string) => ({ current: undefined, next: named[instance], left: [] }),
  };
  const deps = {
    roots,
    refresh,
    holderOf: ({ token, type }: Partial<RootReference>) =>
      type === "pkcs11" ? (token ?? "holdfast") : undefined,
    seal: async () => ({ sealed: "AAAA" }),
    open: async (reference: RootReference) => {
      asked.push(reference);
      return new MemoryRootOfTrust(systemIds);
    },
  };
  return { asked, handlers: rootPeerHandlers(deps as never) };
}

const pin = { value: "wrong-1" };
const others = {
  [own]: { type: "pkcs11", token: "mine" },
  [neighbour]: { type: "pkcs11", token: "theirs" },
} as const;

test.each<[string, readonly string[] | undefined, boolean]>([
  ["holdfast", [own], false],
  ["theirs", [own], false],
  ["mine", [own], true],
  ["new", [own], true],
  ["theirs", [own, neighbour], true],
  ["holdfast", undefined, true],
])("a PIN for the token %s may be tried by a token bound to %j: %s", async (token, bound, may) => {
  const { handlers, asked } = handlersWith(others);
  const root = { type: "pkcs11", token, rootKey: "k", pin } as const;
  const checked = handlers.checkRoot({ root, ...(bound && { bound: [...bound] }) });
  if (may) await checked;
  else {
    await expect(checked).rejects.toMatchObject({
      code: "forbidden",
      message: expect.stringContaining(`the token ${token} is the node's own or serves other`),
    });
  }
  expect(asked).toHaveLength(may ? 1 : 0);
});

test("a root of trust whose secret locks nothing may be shared with a neighbour", async () => {
  const { handlers, asked } = handlersWith({
    [neighbour]: { type: "key-protect", instanceId: "i" },
  });
  const root = { type: "key-protect", instanceId: "i", rootKey: "k", apiKey: pin } as const;
  await handlers.checkRoot({ root, bound: [own] });
  expect(asked).toHaveLength(1);
});

test("an order is refused while no store can be read: the records may be older than it", async () => {
  const { handlers } = handlersWith(others, async () => {
    throw new StoreUnavailable("noLease", "no region's store can be read");
  });
  const refused = { failure: "noLease" };
  const settled = handlers.settleRoot({ instance: own, anySource: true });
  await expect(settled).rejects.toMatchObject(refused);
  await expect(handlers.revalidateRoot({ instance: own })).rejects.toMatchObject(refused);
});
