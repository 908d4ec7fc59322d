import {
  changeRecord,
  type ManagedObject,
  makeRecord,
  ObjectKekStore,
  systemInstance,
} from "@holdfast/engine";
import { expect, test } from "vitest";
import { systemIds as ids, systemClock } from "../../base/system.ts";
import { SystemView } from "../../records/system-view.ts";
import { ArchivedSystem } from "./archived-system.ts";

const now = { us: 1_700_000_000_000_000, region: "a" };
const kek = (createdMs: number) => ({
  id: ids.uuid(),
  createdMs,
  check: ids.randomBytes(8),
  wraps: [{ region: "a", rootOfTrust: "r", rootKeyVersion: "1", blob: ids.randomBytes(40) }],
});

test("a view sees the last copy of each record", async () => {
  const id = ids.uuid();
  const first = makeRecord("Instance", id, { instance: "i", labels: { a: "1" } }, now);
  const changes = { labels: { a: "2" } };
  const last = changeRecord("Instance", first, changes, { ...now, us: now.us + 1 });
  const own = new ArchivedSystem([first, last]);
  await using view = new SystemView({
    own,
    peers: [],
    monotonicMs: systemClock.monotonicMs,
    observe: () => undefined,
  });
  await view.refresh();
  expect(view.get("Instance", id)?.labels).toEqual({ a: "2" });
});

test("keys are listed by their instance, over several pages, and can be re-wrapped", async () => {
  const archived = new ArchivedSystem([]);
  const keks = new ObjectKekStore(archived, { clock: systemClock, region: "a" });
  const many = Array.from({ length: 300 }, (_, at) => kek(at));
  for (const one of many) expect(await keks.add("i", one, false)).toBe(true);
  await keks.add("j", kek(0), false);
  expect(await keks.list("i")).toEqual(many);
  const [one] = many;
  if (one?.wraps[0] === undefined) throw new Error("no KEK");
  const wrap = { ...one.wraps[0], rootKeyVersion: "2", blob: ids.randomBytes(40) };
  expect(await keks.rewrap("i", one.id, one.wraps[0].blob, wrap)).toBe(true);
  expect((await keks.list("i"))[0]?.wraps).toEqual([wrap]);
});

test("a write that is based on an older copy is refused", async () => {
  const object = makeRecord("Instance", ids.uuid(), { instance: "i" }, now);
  const archived = new ArchivedSystem([object]);
  const [before] = await archived.read(systemInstance, [object.uniqueIdentifier]);
  if (before === undefined) throw new Error("no record");
  const change = (after: ManagedObject) =>
    archived.commit(systemInstance, [{ kind: "update", before, after }]);
  const labelled = (a: string) => changeRecord("Instance", object, { labels: { a } }, now);
  expect((await change(labelled("1"))).kind).toBe("committed");
  expect((await change(labelled("2"))).kind).toBe("conflict");
});
