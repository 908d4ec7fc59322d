import { expect, test } from "vitest";
import { type Placed, Places } from "./places.ts";

class One implements Placed {
  readonly idle: boolean;
  readonly activeMs: number;
  displaced = false;

  constructor(idle: boolean, activeMs: number) {
    this.idle = idle;
    this.activeMs = activeMs;
  }

  displace(): void {
    this.displaced = true;
  }
}

test("an owner at its limit loses its own longest idle connection, and gets no place if all are busy", () => {
  const places = new Places<One>({ all: 10, ofOwner: 3 });
  const [busy, newer, older] = [new One(false, 1), new One(true, 3), new One(true, 2)];
  for (const one of [busy, newer, older]) expect(places.enter("a", one)).toBe(true);
  expect(places.enter("a", new One(false, 4))).toBe(true);
  expect([busy, newer, older].map(({ displaced }) => displaced)).toEqual([false, false, true]);
  expect(places.enter("a", new One(false, 5))).toBe(true);
  expect(places.enter("a", new One(false, 6))).toBe(false);
  expect(places.size).toBe(3);
});

test("when all places are taken, the largest owner loses a connection, even a busy one if none is idle", () => {
  const places = new Places<One>({ all: 5, ofOwner: 4 });
  const large = [4, 3, 2].map((activeMs) => new One(false, activeMs));
  const small = [new One(true, 0), new One(true, 1)];
  for (const one of large) places.enter("large", one);
  for (const one of small) places.enter("small", one);
  expect(places.enter("third", new One(true, 9))).toBe(true);
  expect(large.map(({ displaced }) => displaced)).toEqual([false, false, true]);
  expect(small.some(({ displaced }) => displaced)).toBe(false);
  expect(places.size).toBe(5);
});

test("no owner displaces a busy connection of another owner that has no more connections than itself", () => {
  const places = new Places<One>({ all: 2, ofOwner: 2 });
  places.enter("a", new One(false, 1));
  places.enter("b", new One(false, 1));
  const own = new One(false, 2);
  expect(places.enter("b", own)).toBe(false);
  expect(own.displaced).toBe(false);
  expect(places.size).toBe(2);
});
