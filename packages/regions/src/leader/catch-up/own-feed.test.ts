import { expect, test } from "vitest";
import { OwnFeed } from "./own-feed.ts";

test("records that cannot be read count like others: one call reads no more than its limit", async () => {
  const replicationId = "another region's";
  const names = Array.from({ length: 50 }, (_, at) => `damaged ${at}`);
  let pages = 0;
  const feed = new OwnFeed(
    {
      position: async () => ({ replicationId, numbers: [1_000] }),
      changes: async (_partition, after) => {
        pages += 1;
        const upTo = after + 1;
        return { replicationId, objects: [], damaged: names, unknown: names, upTo, last: 1_000 };
      },
    },
    [0],
  );
  let unread = 0;
  const follow = () =>
    feed.follow(
      1_000,
      { active: () => true },
      () => undefined,
      () => {
        unread += 1;
      },
    );
  expect(await follow()).toBe(990);
  expect([pages, unread]).toEqual([10, 1_000]);
  expect(await follow()).toBe(980);
});
