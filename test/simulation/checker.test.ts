import type { ManagedObject } from "@holdfast/engine";
import { sampleObject, sampleRegister } from "@holdfast/engine/testing";
import { attributeItem } from "@holdfast/kmip";
import { expect, test } from "vitest";
import { type Answer, Checker, type Observation } from "./checker.ts";
import { instance } from "./client.ts";
import type { Acknowledged } from "./ledger.ts";

test("a change may be in one region alone if it was asked for while the other one was retired, and not later", () => {
  const checker = new Checker(["a", "b"]);
  expect(checker.mayBeAlone(100)).toBe(false);
  checker.retire("b", () => undefined);
  expect(checker.mayBeAlone(100)).toBe(true);
  checker.rejoined("b", 300, 400);
  expect(checker.mayBeAlone(350)).toBe(true);
  expect(checker.mayBeAlone(401)).toBe(false);
});

test("the same while nodes of a region use different stores", () => {
  const checker = new Checker(["a", "b"]);
  checker.doubt("a");
  checker.retire("b", () => undefined);
  checker.rejoined("b", 300, 400);
  expect(checker.mayBeAlone(450)).toBe(true);
  checker.trust("a", 500);
  expect(checker.mayBeAlone(450)).toBe(true);
  expect(checker.mayBeAlone(501)).toBe(false);
});

test("no two leaders act in one epoch, but where an old copy gives again one in which somebody still leads", () => {
  const checker = new Checker(["a", "b"]);
  const [one, other] = [{}, {}];
  const none = () => undefined;
  const lose = () => checker.lost("a", { elsewhere: none, kept: none }, 0);
  const act = (leader: object) => () => checker.led("a", "store 2", leader);
  checker.stands("a", one);
  act(one)();
  checker.stands("a", other);
  expect(act(other)).toThrow("two leaders acted in epoch store 2");
  lose();
  checker.stands("a", other);
  act(other)();
  expect(act(one)).not.toThrow();
  expect(act(other)).not.toThrow();
  checker.stands("a", one);
  expect(act(one)).toThrow("two leaders");
});

const id = "0b1ec0de-0000-4000-8000-000000000001";

/** A key with one group, or without: a value that was deleted keeps its place. */
function keyWith(group: string | undefined, us: number): ManagedObject {
  const item = attributeItem("ObjectGroup", group ?? "n1");
  const register = { ...sampleRegister(item, us), origin: "first" };
  const value = group === undefined ? undefined : register.value;
  return { ...sampleObject(instance, id), registers: [{ ...register, value }] };
}

/** A checker for which a client has made a key with the value n1, and deleted that if `deletes`. */
function given(deletes: boolean): Checker {
  const checker = new Checker(["a", "b"]);
  const [made, gone] = [keyWith("n1", 1), keyWith(undefined, 2)];
  const done = (kind: Acknowledged["kind"], object: ManagedObject, atMs: number): Acknowledged => ({
    ...{ kind, id, object, atMs, regions: new Set(["a", "b"]), shared: true, lost: false },
  });
  checker.tried({ kind: "create", after: made });
  checker.acknowledge(done("create", made, 10), undefined);
  if (!deletes) return checker;
  checker.tried({ kind: "update", before: { object: made, tag: "1" }, after: gone });
  checker.acknowledge(done("drop", gone, 20), made);
  return checker;
}

const seen = (operation: string, answer: Answer, text?: string): Observation => ({
  ...{ node: "a1", operation, id, text, askedMs: 30, answeredMs: 40, answer, store: "a" },
});
const shows = (...values: string[]): Observation =>
  seen("look", { kind: "read", state: "PreActive", rank: 1, note: "", values });
const finds = (text: string | undefined, ...ids: string[]): Observation =>
  seen("locate", { kind: "located", ids }, text);
const noSuchValue = seen(
  "drop",
  { kind: "refused", reason: "AttributeInstanceNotFound: the attribute has no such value" },
  "n1",
);

test.each([
  ["a value that nobody deleted is shown", false, shows("n1"), undefined],
  ["and must be", false, shows(), /value n1 of .* is gone/],
  ["a deleted value is not shown", true, shows(), undefined],
  ["and must not be", true, shows("n1"), /value n1 is seen after the deletion/],
  ["a search by a value finds who has it", false, finds("n1", id), undefined],
  ["and must", false, finds("n1"), /a search lacks/],
  ["a search by a deleted value finds nobody", true, finds("n1"), undefined],
  ["and must not", true, finds("n1", id), /a search finds 0b1ec0de after the deletion/],
  ["a search by another value finds nobody", false, finds("n2"), undefined],
  ["and must not find it", false, finds("n2", id), /which never had n2/],
  ["a search of all finds who lost a value", true, finds(undefined, id), undefined],
  ["a value that was deleted is not there", true, noSuchValue, undefined],
  ["one that nobody deleted is", false, noSuchValue, /"no such value" for the create/],
] as const)("%s", (_name, deletes, answer, broken) => {
  const checker = given(deletes);
  if (broken === undefined) checker.observe(answer);
  else expect(() => checker.observe(answer)).toThrow(broken);
});
