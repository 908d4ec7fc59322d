import { type Event, type ManagedObject, type Register, StoreUnavailable } from "@holdfast/engine";
import type { MemoryOwnStore } from "@holdfast/engine/testing";
import { beforeEach, expect, test } from "vitest";
import { openStore } from "../testing/leader/test-leader.ts";
import { change, objectOf, put, termOf } from "../testing/leader/test-peer.ts";
import { DuplicateNames } from "./duplicate-names.ts";

/** Name, its value, its type (KMIP 2.1, 4.32), and types of items. */
const tags = { name: 0x420053, value: 0x420055, type: 0x420054 } as const;
const types = { structure: 1, enumeration: 5, text: 7 } as const;

let own: MemoryOwnStore;
let events: Event[];
let duty: DuplicateNames;

beforeEach(async () => {
  own = await openStore();
  events = [];
  duty = new DuplicateNames({ own, observe: (event) => events.push(event) });
});

function named(name: string): ManagedObject {
  const value = {
    tag: tags.name,
    type: types.structure,
    value: [
      { tag: tags.value, type: types.text, value: name },
      { tag: tags.type, type: types.enumeration, value: 1 },
    ],
  };
  const register = { tag: tags.name, key: "", index: 0, origin: "a", value, stamp };
  return objectOf({ registers: [register as Register] });
}

const stamp = { us: 1, region: "a" };

/** As a join puts it there. */
async function join(object: ManagedObject): Promise<void> {
  await own.commit("i", [{ kind: "create", after: object }], [], { joined: true });
}

async function run(times = 1): Promise<readonly number[]> {
  for (let at = 0; at < times; at += 1) await duty.run(termOf(1));
  return events.flatMap((event) => (event.type === "duplicateNames" ? [event.names] : []));
}

test("counts the Names that a join left twice, and reports the count when it changes", async () => {
  const [one, other] = [named("x"), named("x")];
  await put(own, [one, named("y"), objectOf(), objectOf()]);
  expect(await run()).toEqual([0]);
  await join(other);
  expect(await run(3)).toEqual([0, 1]);
  await join(named("y"));
  expect(await run()).toEqual([0, 1, 2]);
  await change(own, other, { registers: [] });
  expect(await run(60)).toEqual([0, 1, 2, 1]);
});

test("waits for no Name of a record that cannot be read", async () => {
  await put(own, [named("bad"), named("x")]);
  await join(named("x"));
  const find = own.find.bind(own);
  let looks = 0;
  own.find = async (...args) => {
    if (looks++ > 0) return await find(...args);
    throw new StoreUnavailable("corrupt", "the record does not decode");
  };
  expect(await run()).toEqual([1]);
});

test("a destroyed object has no Name", async () => {
  const destroyed = { facts: { destroyed: { time: 1, region: "a" } }, material: undefined };
  await put(own, [{ ...named("x"), ...destroyed }]);
  await join(named("x"));
  expect(await run()).toEqual([0]);
});
