import { beforeEach, expect, test, vi } from "vitest";
import type { Operation } from "./contract.ts";

vi.hoisted(() => vi.stubGlobal("document", { baseURI: "https://a1.test/console/" }));
vi.mock("./contract.ts", async () => ({
  operations: (await import("./contract-data.ts")).operationsOf(),
}));
const { operations } = await import("./contract.ts");
const { asked, call, callEvery, nodes } = await import("./api.ts");

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
