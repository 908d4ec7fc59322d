import { afterEach, expect, test, vi } from "vitest";

/** The page of a node's console: `api.ts` reads it when it is loaded. */
vi.hoisted(() => Object.assign(globalThis, { document: { baseURI: "https://a1.test/console/" } }));
vi.mock("./contract.ts", () => ({
  operations: {
    whoAmI: { method: "GET", path: "/v1/whoami", params: [] },
    listTokens: { method: "GET", path: "/v1/tokens", params: [] },
    followEvents: { method: "GET", path: "/v1/events/stream", params: [] },
  },
}));

const { call, findWho, followed, mustSignIn, signOut, timeAt, who } = await import("./api.ts");
const { repeat } = await import("./repeat.ts");

const ann = { name: "ann", roles: ["manager"], node: "a1", region: "a" };
const over = { code: "unauthenticated", detail: "the token has ended" };

/** Lets the service answer each request so. */
function answers(status: number, document: unknown, headers: Record<string, string> = {}): void {
  vi.stubGlobal("fetch", (url: URL) => {
    const answer = new Response(JSON.stringify(document), { status, headers });
    // A response that did not come over the network has no address.
    return Promise.resolve(Object.defineProperty(answer, "url", { value: url.href }));
  });
}

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

test("keeps what is open when a session ends, until the person signs in again or out", async () => {
  answers(200, ann);
  await findWho();
  expect(who.value).toEqual(ann);
  answers(401, over);
  await expect(call("listTokens", { query: {} })).rejects.toThrow("the token has ended");
  await expect.poll(() => mustSignIn.value).toBe(true);
  expect(who.value).toEqual(ann);
  answers(200, ann);
  await findWho();
  expect(mustSignIn.value).toBe(false);
  answers(401, over);
  await findWho();
  expect(mustSignIn.value).toBe(true);
  await signOut();
  expect(who.value).toBeNull();
  expect(mustSignIn.value).toBe(false);
});

test("asks the service nothing again and again while the person must sign in", async () => {
  vi.useFakeTimers();
  let count = 0;
  const end = repeat(1000, async () => {
    count += 1;
  });
  await vi.advanceTimersByTimeAsync(1500);
  expect(count).toBe(2);
  mustSignIn.value = true;
  await vi.advanceTimersByTimeAsync(5000);
  expect(count).toBe(2);
  mustSignIn.value = false;
  await vi.advanceTimersByTimeAsync(1000);
  expect(count).toBe(3);
  end();
});

test("knows the time at a node from its answers", async () => {
  const aheadMs = () => timeAt("https://a1.test/") - Date.now();
  const dateIn = (ms: number) => ({ date: new Date(Date.now() + ms).toUTCString() });
  expect(aheadMs()).toBe(0);
  answers(200, ann, dateIn(3_600_000));
  await call("whoAmI", {});
  expect(aheadMs()).toBeGreaterThan(3_590_000);
  // The seconds of a header are no difference of clocks.
  answers(200, ann, dateIn(-500));
  await call("whoAmI", {});
  expect(Math.abs(aheadMs())).toBeLessThan(100);
});

test("tells when a stream begins and when it ends", async () => {
  vi.stubGlobal("fetch", () => Promise.resolve(new Response('data: {"id":"1"}\n\n')));
  const ending = new AbortController();
  const told: boolean[] = [];
  const tell = (isLive: boolean) => {
    told.push(isLive);
    if (!isLive) ending.abort();
  };
  const seen: unknown[] = [];
  for await (const event of followed("followEvents", {}, ending.signal, tell)) seen.push(event);
  expect(seen).toEqual([{ id: "1" }]);
  expect(told).toEqual([true, false]);
});

test("leaves a stream that breaks alone afterwards", async () => {
  vi.useFakeTimers();
  const broken = new ReadableStream({
    start: (controller) => controller.error(new TypeError("broken")),
  });
  vi.stubGlobal("fetch", () => Promise.resolve(new Response(broken)));
  const ending = new AbortController();
  const events = followed("followEvents", {}, ending.signal, (isLive) => {
    if (!isLive) ending.abort();
  });
  expect(await events.next()).toMatchObject({ done: true });
  // Nothing waits for the silence of its reader.
  expect(vi.getTimerCount()).toBe(0);
});
