import { once } from "node:events";
import { request } from "node:https";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { expect, test } from "vitest";
import { identifiersIn } from "../management/keys/identifiers.ts";
import { openAdminTest, tokenOf } from "../testing/admin.ts";

const path = "/v1/instances/kmip-one/orphans";
const handlers = {
  reportOrphans: async ({ body }: { readonly body: { readonly inUse: unknown } }) => ({
    items: [],
    given: identifiersIn(body).given,
    matched: 0,
  }),
};

/** The longest turn of the event loop during `work`, in milliseconds of this thread's CPU time. */
async function longestTurn(work: Promise<unknown>): Promise<number> {
  let [longest, over] = [0, false];
  let before = process.threadCpuUsage();
  const turn = (): void => {
    const { user, system } = process.threadCpuUsage(before);
    longest = Math.max(longest, (user + system) / 1000);
    before = process.threadCpuUsage();
    if (!over) setImmediate(turn);
  };
  setImmediate(turn);
  await work.finally(() => {
    over = true;
  });
  return longest;
}

function* bodyOf(identifiers: number): Generator<Buffer> {
  yield Buffer.from('{"inUse":[');
  for (let at = 0; at < identifiers; at += 1000) {
    const part = Array.from({ length: 1000 }, (_, index) => {
      return `"00000000-0000-4000-8000-${String(at + index).padStart(12, "0")}"`;
    });
    yield Buffer.from(`${at === 0 ? "" : ","}${part.join(",")}`);
  }
  yield Buffer.from("]}");
}

test("forty megabytes of identifiers do not block other work, and only an operator may send them", async () => {
  await using site = await openAdminTest({ handlers });
  const send = async (token: string): Promise<{ status: number; text: string }> => {
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
    const asked = request(`${site.url}${path}`, { method: "POST", ca: site.ca, headers });
    const answered = once(asked, "response");
    await pipeline(Readable.from(bodyOf(1_000_000)), asked).catch(() => undefined);
    const [answer] = (await answered) as [import("node:http").IncomingMessage];
    let text = "";
    for await (const piece of answer) text += String(piece);
    return { status: answer.statusCode ?? 0, text };
  };
  expect(
    (await site.ask(path, { method: "POST", token: tokenOf("viewer"), body: { inUse: ["a"] } }))
      .status,
  ).toBe(403);
  const sending = send(tokenOf("operator"));
  const longestMs = await longestTurn(sending);
  expect(JSON.parse((await sending).text)).toMatchObject({ given: 1_000_000 });
  // Parsing it in one turn took some seconds.
  expect(longestMs).toBeLessThan(150);
});

test("the bytes that a token sends are limited, and the refusal says how long to wait", async () => {
  await using site = await openAdminTest({
    handlers,
    bodyBytes: { perSecond: 1_000, burst: 5_000 },
  });
  const send = (role: string) =>
    site.ask(path, {
      method: "POST",
      token: tokenOf(role),
      body: { inUse: ["x".repeat(60), ...Array.from({ length: 100 }, () => "y".repeat(30))] },
    });
  expect((await send("operator")).status).toBe(200);
  const second = await send("operator");
  expect(second.status).toBe(429);
  expect(Number(second.headers["retry-after"])).toBeGreaterThanOrEqual(1);
  expect(second.json["detail"]).toMatch(/too many bytes with this token: wait \d+ s/);
  expect((await send("manager")).status).toBe(200);
});

test("a request is never refused because of an earlier one that was already answered", async () => {
  await using site = await openAdminTest({ handlers });
  for (let round = 0; round < 30; round += 1) {
    const sent = await site.ask(path, {
      method: "POST",
      token: tokenOf("operator"),
      body: { inUse: ["a"] },
    });
    expect(sent.status).toBe(200);
  }
});
