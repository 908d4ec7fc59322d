import { expect, test, vi } from "vitest";
import { type Item, ResourceModel } from "./resource-model.ts";

/** What the model asks the service, and how a test answers. */
const service = vi.hoisted(() => ({
  answers: [] as {
    readonly resolve: (answer: unknown) => void;
    readonly reject: (error: Error) => void;
  }[],
  /** The stream that is followed. */
  stream: undefined as unknown as ReadableStreamDefaultController<unknown>,
  tell: (_: boolean): void => undefined,
}));

vi.mock("../base/api.ts", () => ({
  call: () =>
    new Promise((resolve, reject) => {
      service.answers.push({ resolve, reject });
    }),
  followed: (_: unknown, __: unknown, ___: unknown, tell: (isLive: boolean) => void) => {
    service.tell = tell;
    return new ReadableStream({
      start(controller) {
        service.stream = controller;
      },
    });
  },
}));
vi.mock("../base/contract.ts", () => ({
  operations: { listEvents: { query: { properties: { cursor: {} } } } },
}));
vi.mock("../base/router.ts", () => ({ place: { value: { path: "/events", query: {} } } }));

const page = { path: "/events", title: "Events", reads: "listEvents", live: true } as const;

function event(at: number, region = "a"): Item {
  return { id: `event ${at}`, region, outcome: "success" };
}

/** Events with descending numbers. */
function events(from: number, count: number): readonly Item[] {
  return Array.from({ length: count }, (_, at) => event(from - at));
}

/** Answers the oldest question that has no answer. */
async function answer(items: readonly Item[], next?: string): Promise<void> {
  service.answers.shift()?.resolve({ items, ...(next !== undefined && { next }) });
  await Promise.resolve();
}

/** A page of events that is live, and shows these. */
async function opened(shown: readonly Item[], next?: string, query = {}) {
  service.answers.length = 0;
  const model = new ResourceModel(page, {}, query);
  const ending = new AbortController();
  void model.follow(ending.signal);
  service.tell(true);
  await answer(shown, next);
  await expect.poll(() => model.items.value?.length).toBe(shown.length);
  return model;
}

const ids = (model: ResourceModel) => (model.items.value ?? []).map(({ id }) => id);

test("keeps the rows that a person asked for, and never leaves a gap before the next ones", async () => {
  const model = await opened(events(600, 300), "more");
  const more = model.load("more");
  await answer(events(300, 300), "older");
  await more;
  service.stream.enqueue(event(601));
  await expect.poll(() => ids(model).length).toBe(601);
  expect(model.next.value).toBe("older");
  for (const one of events(1101, 500).toReversed()) service.stream.enqueue(one);
  await expect.poll(() => ids(model)[0]).toBe("event 1101");
  // What is behind the cursor does not follow the last row any more.
  expect(ids(model)).toHaveLength(500);
  expect(model.next.value).toBeUndefined();
  expect(model.isCut.value).toBe(true);
  const again = model.load();
  await answer(events(1101, 100), "older");
  await again;
  expect(model.isCut.value).toBe(false);
  expect(model.next.value).toBe("older");
});

test("adds live events only of the region that is asked for", async () => {
  const model = await opened([event(1, "b")], undefined, { region: "b" });
  service.stream.enqueue(event(2, "a"));
  service.stream.enqueue(event(3, "b"));
  await expect.poll(() => ids(model)).toEqual(["event 3", "event 1"]);
});

test("keeps an event that came while the list was read", async () => {
  const model = await opened([event(1)]);
  const loaded = model.load();
  service.stream.enqueue(event(2));
  service.stream.enqueue(event(3));
  await expect.poll(() => ids(model)).toEqual(["event 3", "event 2", "event 1"]);
  await answer([event(2), event(1)]);
  await loaded;
  expect(ids(model)).toEqual(["event 3", "event 2", "event 1"]);
});

test("says since when it is not live, and can be followed again", async () => {
  const model = await opened([]);
  expect(model.live.value?.isLive).toBe(true);
  service.tell(false);
  expect(model.live.value?.isLive).toBe(false);
  service.tell(true);
  expect(model.live.value?.isLive).toBe(true);
  service.stream.error(new Error("refused"));
  await expect.poll(() => model.live.value?.isLive).toBe(false);
  expect(model.error.value).toEqual(new Error("refused"));
  void model.follow(new AbortController().signal);
  service.tell(true);
  expect(model.live.value?.isLive).toBe(true);
});

test("reads the list again where a stream begins anew, since it has nothing of the time before", async () => {
  const model = await opened([event(1)]);
  service.tell(false);
  service.tell(true);
  await answer([event(2), event(1)]);
  await expect.poll(() => ids(model)).toEqual(["event 2", "event 1"]);
});

test("shows the answer of the newest reading, and adds rows once", async () => {
  const model = await opened(events(4, 2), "more");
  expect(model.busy.value).toBe(false);
  const first = model.load("more");
  const second = model.load("more");
  expect(model.busy.value).toBe(true);
  await answer(events(2, 2));
  await answer(events(2, 2));
  await Promise.all([first, second]);
  expect(ids(model)).toEqual(["event 4", "event 3", "event 2", "event 1"]);
  expect(model.busy.value).toBe(false);
  const late = model.load();
  const newest = model.load();
  const [slow] = service.answers.splice(0, 1);
  await answer([event(9)]);
  await newest;
  slow?.reject(new Error("late"));
  await late;
  expect(ids(model)).toEqual(["event 9"]);
  expect(model.error.value).toBeUndefined();
});
