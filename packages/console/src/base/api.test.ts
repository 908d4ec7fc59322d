import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Operation } from "./contract.ts";

/** The page of a node's console: `api.ts` reads it when it is loaded. */
vi.hoisted(() => Object.assign(globalThis, { document: { baseURI: "https://a1.test/console/" } }));
vi.mock("./contract.ts", async () => ({
  operations: (await import("./contract-data.ts")).operationsOf(),
}));
const { operations } = await import("./contract.ts");
const api = await import("./api.ts");
const { asked, call, callEvery, findWho, followed, mustSignIn, nodes, signOut, timeAt, who } = api;
const { repeat } = await import("./work.ts");

const all = ["https://a1.test/", "https://a2.test/", "https://b1.test/"] as const;
const [a1, a2, b1] = all;
/** Nodes that give no answer. */
const silent = new Set<string>();
/** The nodes that were asked, in turn. */
const sent: string[] = [];

beforeEach(() => {
  silent.clear();
  sent.length = 0;
  nodes.value = all;
  asked.value = a1;
  vi.stubGlobal("fetch", async (url: URL) => {
    const node = new URL("/", url).href;
    sent.push(node);
    if (silent.has(node)) throw new TypeError("fetch failed");
    return Response.json({ from: node });
  });
});

const posts = Object.values(operations).filter(({ method }) => method === "POST");

function paramsOf({ params }: Operation) {
  return Object.fromEntries(params.map((name) => [name, "one"]));
}

test.each(posts.map(({ name }) => name))(
  "%s, without an answer, goes to the next node only if nothing can be done twice",
  async (name) => {
    silent.add(a1);
    const operation = operations[name];
    const { makes, repeatable } = operation;
    const ended = await call(name, { params: paramsOf(operation), body: {} }).then(
      () => "answered",
      (error: Error) => error.message,
    );
    const repeats = makes !== undefined || repeatable === true;
    expect(sent).toEqual(repeats ? [a1, a2] : [a1]);
    if (!repeats) expect(ended).toContain("the change may have been made or not");
  },
);

test.each(["rotateStorageKey", "runBackup", "rekeyInstance"] as const)(
  "%s is one of those that are not repeated",
  (name) => {
    expect(operations[name].makes ?? operations[name].repeatable).toBeUndefined();
  },
);

test("a dry run and a read go to the next node", async () => {
  silent.add(a1);
  await call("rotateStorageKey", {}, { dryRun: true });
  expect(sent).toEqual([a1, a2]);
  await call("readStorageKey", {});
  expect(sent).toEqual([a1, a2, a2]);
});

test("what is of one region is done at the node that is named, whichever is asked by now", async () => {
  asked.value = a2;
  await call("rotateStorageKey", {}, { at: b1 });
  silent.add(b1);
  await expect(call("rotateStorageKey", {}, { at: b1 })).rejects.toThrow(
    "b1.test gave no answer: the change may have been made or not",
  );
  expect(sent).toEqual([b1, b1]);
});

test("asks every node, and tells which gave no answer; fails only where none answers", async () => {
  silent.add(a2);
  const { answers, faults } = await callEvery("readStorageKey", {});
  expect(answers.map(({ at, answer }) => [at, answer["from"]])).toEqual([
    [a1, a1],
    [b1, b1],
  ]);
  expect(faults.map(({ at }) => at)).toEqual([a2]);
  for (const node of all) silent.add(node);
  await expect(callEvery("readStorageKey", {})).rejects.toThrow("fetch failed");
});

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

test("takes only an answer of the service for a refusal: all else leaves open whether a change was made", async () => {
  const status = async (code: number, text: string) => {
    vi.stubGlobal("fetch", () => Promise.resolve(new Response(text, { status: code })));
    return await call("rotateStorageKey", {}).catch((error: Error) => [error.name, error.message]);
  };
  for (const [code, text] of [
    [200, '{"id":'],
    [504, "<h1>Gateway Timeout</h1>"],
  ] as const) {
    expect(await status(code, text)).toEqual([
      "AdminUnreachable",
      `The answer ${code} is not one of the service: a change may have been made or not. Look, and try again.`,
    ]);
  }
  expect(await status(413, "<h1>Too large</h1>")).toEqual([
    "AdminProblem",
    "the service answered 413",
  ]);
  expect(await status(503, '{"code":"storeUnavailable","detail":"later"}')).toEqual([
    "AdminProblem",
    "later",
  ]);
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

test("an answer that comes late says nothing about who has signed out or in since", async () => {
  const late: ((answer: Response) => void)[] = [];
  const asksLate = () => {
    vi.stubGlobal("fetch", () => new Promise((resolve) => late.push(resolve)));
    const asks = findWho();
    return (status: number, document: unknown) => {
      late.shift()?.(Response.json(document, { status }));
      return asks;
    };
  };
  answers(200, ann);
  await findWho();
  const beforeSignOut = asksLate();
  vi.stubGlobal("fetch", () => Promise.resolve(new Response(null, { status: 204 })));
  await signOut();
  await beforeSignOut(200, ann);
  expect(who.value).toBeNull();
  const beforeSignIn = asksLate();
  answers(200, ann);
  await api.signIn({ code: "of a link" });
  await beforeSignIn(401, over);
  expect(who.value).toEqual(ann);
  expect(mustSignIn.value).toBe(false);
});

test("signs out at once, and in again only when the sign-out has been answered", async () => {
  answers(200, ann);
  await findWho();
  const asks: string[] = [];
  let ends = (): void => undefined;
  const ended = new Promise<void>((resolve) => {
    ends = resolve;
  });
  vi.stubGlobal("fetch", async (_: URL, { method = "GET" }: RequestInit) => {
    asks.push(method);
    if (method === "DELETE") await ended;
    return method === "GET" ? Response.json(ann) : new Response(null, { status: 204 });
  });
  const signsOut = signOut();
  expect(who.value).toBeNull();
  const signsIn = api.signIn({ code: "of a link" });
  await new Promise((resolve) => setTimeout(resolve));
  expect(asks).not.toContain("POST");
  ends();
  await signsOut;
  await signsIn;
  expect(who.value).toEqual(ann);
});

test("says at which nodes a session may still count after a sign-out", async () => {
  vi.stubGlobal("fetch", (url: URL) => {
    const isAway = url.host === "a2.test";
    return Promise.resolve(new Response(null, { status: isAway ? 502 : 204 }));
  });
  await signOut();
  expect(api.signInNotice.value).toBe(
    "a2.test did not end the session: it may still count there. Sign out again later.",
  );
});

test("a sign-out says at which node the session may still count", async () => {
  const detail = "a copy of its cookie may count until 2026-12-01T05:00:00.000Z";
  vi.stubGlobal("fetch", async (url: URL) => {
    const node = new URL("/", url).href;
    if (node === b1) throw new TypeError("fetch failed");
    if (node === a1) return new Response(null, { status: 204 });
    return Response.json({ code: "storeUnavailable", detail }, { status: 503 });
  });
  await signOut();
  expect(api.signInNotice.value).toBe(
    `b1.test did not end the session: it may still count there. Sign out again later. a2.test: ${detail}.`,
  );
  vi.stubGlobal("fetch", async () => new Response(null, { status: 204 }));
  await signOut();
  expect(api.signInNotice.value).toBe("");
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
  vi.useFakeTimers({ toFake: ["Date"] });
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

test("follows the events of another node if one takes the connection and never answers", async () => {
  vi.useFakeTimers();
  vi.stubGlobal("fetch", (url: URL, { signal }: { signal: AbortSignal }) => {
    if (url.host === "a2.test") return Promise.resolve(new Response('data: {"id":"1"}\n\n'));
    return new Promise((_, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason));
    });
  });
  const ending = new AbortController();
  const first = followed("followEvents", {}, ending.signal).next();
  await vi.advanceTimersByTimeAsync(10_000);
  expect(asked.value).toBe(a2);
  expect(await first).toMatchObject({ value: { id: "1" } });
  ending.abort();
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
