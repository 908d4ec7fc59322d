import { expect, test } from "vitest";
import { failureKind } from "./failure-kind.ts";

const id = "c0a5c2f4-8d6b-4afa-bd8c-57f45bd991a2";
const other = "14a4b06b-581c-4b95-bb57-b19d667160eb";
const gone = (text: string, who: string, seen: string) =>
  `value ${text} of the values ${text},n9 of c0a5c2f4, acknowledged ${who} ms, is gone: ${seen}`;

test.each([
  [
    `not settled after 60000 ms: the deactivation of ${id} is not written in a`,
    `not settled after 60000 ms: the deactivation of ${other} is not written in b`,
  ],
  [
    gone("n1", "shared at 12", 'look c0a5c2f4 at a1 (store a), 15–16 ms answered {"kind":"read"}'),
    gone("n3", "alone in a at 9", 'add 14a4b06b at b2 (store undefined), 1–2 ms answered {"a":1}'),
  ],
  [
    `object ${id} at any endpoint: no order explains Get by client 1 at a1; changes: Create`,
    `object ${other} at any endpoint: no order explains Locate by client 2 at b1`,
  ],
  [
    'destroy at b1 is answered {"kind":"refused","reason":"ObjectDestroyed"} at the end',
    'destroy at a2 is answered {"kind":"notFound"} at the end',
  ],
])("%j and %j are failures of one kind", (one, another) => {
  expect(failureKind(one)).toBe(failureKind(another));
});

test.each([
  [
    `not settled after 60000 ms: the deactivation of ${id} is not written in a`,
    'destroy at b1 is answered {"kind":"refused"} at the end, although all faults are over',
  ],
  [
    `not settled after 60000 ms: the deactivation of ${id} is not written in a`,
    "not settled after 60000 ms: the regions differ",
  ],
  ["two leaders acted in epoch 3 of region a", `${id} was destroyed while active, in a`],
])("%j and %j are failures of two kinds", (one, another) => {
  expect(failureKind(one)).not.toBe(failureKind(another));
});
