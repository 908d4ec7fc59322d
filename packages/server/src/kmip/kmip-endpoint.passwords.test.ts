import type { Client } from "@holdfast/engine";
import { expect, test } from "vitest";
import { loadInstances } from "../access/instances.ts";
import { hashPassword } from "../access/passwords.ts";
import { Trust } from "../access/trust.ts";
import { ask, connectTls, makePki, message, startEndpoint } from "../testing/endpoint.ts";

const pki = await makePki();

test("a wrong password is logged with the user's name, shortened, and never with the password", async () => {
  const users = [{ name: "vc", passwordHash: await hashPassword("right") }];
  const instances = loadInstances([
    {
      id: undefined,
      name: "pinned",
      certificates: [pki.pinned.certificate],
      authorities: [],
      users,
    },
  ]);
  const tried = [
    ["vc", "right"],
    ["vc", "hunter2"],
    ["n".repeat(1000), "hunter2"],
  ] as const;
  const verdicts: (boolean | undefined)[] = [];
  await using running = await startEndpoint(pki, {
    trust: new Trust(instances),
    execute: async (request: Uint8Array, client: Client) => {
      for (const [user, password] of tried) {
        verdicts.push(await client.verifyPassword?.(user, password));
      }
      return request;
    },
  });
  const socket = await connectTls(pki, running.port, pki.pinned);
  await ask(socket, message());
  expect(verdicts).toEqual([true, false, false]);
  const told = running.events.filter(({ type }) => type === "passwordRefused");
  expect(told).toMatchObject([
    {
      instance: instances[0]?.id,
      user: "vc",
      fingerprint: expect.stringMatching(/^[0-9a-f]{64}$/),
    },
    { user: "n".repeat(128) },
  ]);
  expect(JSON.stringify(running.events)).not.toContain("hunter2");
});
