import { ManagementError } from "@holdfast/admin";
import { changeRecord, type ManagedObject, makeRecord } from "@holdfast/engine";
import { expect, test } from "vitest";
import { tokenValues } from "../testing/system-records.ts";
import { hasMax } from "./peer-commands.ts";
import { has, Presence } from "./presence.ts";

const record = (at: number): ManagedObject => {
  const id = `00000000-0000-4000-8000-${String(at).padStart(12, "0")}`;
  return makeRecord("Token", id, { ...tokenValues, name: "n" }, { us: 1, region: "a" });
};

function world() {
  const here = new Map<string, ManagedObject>();
  const there = new Map<string, ManagedObject>();
  const asked: number[] = [];
  const state = { now: 0, cut: false };
  const viewOf = (map: Map<string, ManagedObject>) => ({ record: (id: string) => map.get(id) });
  const presence = new Presence({
    region: "a",
    view: viewOf(here),
    monotonicMs: () => state.now,
    commands: {
      others: ["b"],
      ask: async (_region: string, _name: string, input: unknown) => {
        if (state.cut) throw new ManagementError("peerUnreachable", "cut off");
        const { records } = input as { readonly records: [string, string][] };
        asked.push(records.length);
        return { had: has(viewOf(there), records) } as never;
      },
    },
  });
  const put = (map: Map<string, ManagedObject>, one: ManagedObject) =>
    void map.set(one.uniqueIdentifier, one);
  return { presence, here, there, asked, state, put };
}

test("a record is pending until the other region has this version of it, which is then not asked for again", async () => {
  const { presence, here, there, asked, state, put } = world();
  const one = record(1);
  put(here, one);
  const pending = { a: "applied", b: "pending" };
  const applied = { a: "applied", b: "applied" };
  expect(await presence.ofOne(one.uniqueIdentifier)).toEqual(pending);
  put(there, one);
  expect(await presence.ofOne(one.uniqueIdentifier)).toEqual(pending);
  state.now += 1_000;
  expect(await presence.ofOne(one.uniqueIdentifier)).toEqual(applied);
  state.cut = true;
  expect(await presence.ofOne(one.uniqueIdentifier)).toEqual(applied);
  const renamed = changeRecord("Token", one, { name: "m" }, { us: 2, region: "a" });
  put(here, renamed);
  expect(await presence.ofOne(one.uniqueIdentifier)).toEqual(pending);
  presence.note(renamed, { a: "applied", b: "applied" });
  expect(await presence.ofOne(one.uniqueIdentifier)).toEqual(applied);
  expect(asked).toEqual([1, 1]);
});

test("many records are asked for together, and an unknown one is only in this region", async () => {
  const { presence, here, there, asked, put } = world();
  const all = Array.from({ length: hasMax + 1 }, (_, at) => record(at));
  for (const one of all) put(here, one);
  for (const one of all.slice(1)) put(there, one);
  const found = await presence.of(all.map(({ uniqueIdentifier }) => uniqueIdentifier));
  expect([...found.values()].filter(({ b }) => b === "pending")).toHaveLength(1);
  expect(asked).toEqual([hasMax, 1]);
  expect(await presence.ofOne("unknown")).toEqual({ a: "applied" });
});
