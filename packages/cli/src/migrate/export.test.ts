import type { KmipClient } from "@holdfast/client";
import { type Attribute, attributeItem, attributes, objectItem, tags } from "@holdfast/kmip";
import { byteString, type Item } from "@holdfast/ttlv";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { exportAll } from "./export.ts";
import type { ReportLine } from "./files/report-file.ts";
import type { Peer, Refused } from "./peer.ts";

const basic: readonly Item[] = [
  attributeItem("ObjectType", "SymmetricKey"),
  attributeItem("State", "PreActive"),
  attributeItem("CryptographicAlgorithm", "AES"),
  attributeItem("CryptographicLength", 256),
];
const object = () =>
  objectItem("SymmetricKey", {
    keyBlock: {
      keyFormatType: "Raw",
      keyValue: { keyMaterial: byteString(tags.KeyMaterial.tag, Buffer.alloc(32, 1)) },
    },
  });

/** A server whose list of keys is the next one at each reading, and the last one for ever. */
function sourceWith(lists: readonly (readonly string[])[], items: readonly Item[] = basic) {
  let at = 0;
  const identifiers = async () => {
    const ids = lists[Math.min(at, lists.length - 1)] ?? [];
    at += 1;
    return { ids, counted: ids.length, repeated: 0 };
  };
  const describe = async (id: string) => ({ id, items, unread: [] });
  return { version: "2.1", who: "the source", identifiers, describe, object: async () => object() };
}

/** Exports to a server that keeps of what it is sent only what `keeps` says; the lines of the report. */
async function exported(
  source: object,
  keeps: (item: Item) => boolean = () => true,
  shows?: Refused,
) {
  const held = new Map<string, readonly Item[]>();
  const register = async (asked: { attributes: { attributes: readonly Attribute[] } }) => {
    const uniqueIdentifier = `new-${held.size}`;
    const own = [attributeItem("ObjectType", "SymmetricKey"), attributeItem("State", "PreActive")];
    const sent = asked.attributes.attributes.map(({ item }) => item);
    held.set(uniqueIdentifier, [...own, ...sent.filter(keeps)]);
    return { uniqueIdentifier };
  };
  const activate = async ({ uniqueIdentifier: id }: { uniqueIdentifier: string }) => {
    const others = (held.get(id) ?? []).filter(({ tag }) => tag !== attributes.State.tag);
    held.set(id, [...others, attributeItem("State", "Active")]);
  };
  const target = {
    version: "2.1",
    takesImport: async () => false,
    call: async (work: (client: KmipClient) => unknown) =>
      await work({ register, activate } as never),
    describe: async (id: string) => shows ?? { id, items: held.get(id) ?? [], unread: [] },
    object: async () => object(),
  };
  const lines = new Map<string, ReportLine>();
  const add = (more: readonly ReportLine[]) => {
    for (const line of more) lines.set(line.id, line);
  };
  const ended = exportAll({
    ...{ source: source as unknown as Peer, target: target as unknown as Peer },
    report: { lines: new Map(), add },
    ...{ transportKey: false, pageSize: 10, rate: undefined, dryRun: false },
    around: {
      ...{ now: () => 0, date: () => new Date(0) },
      ...{ sleep: async () => undefined, newId: () => "1" },
    },
  });
  const failure = await ended.then(() => undefined, String);
  return { failure, lines };
}

beforeEach(() => void vi.spyOn(process.stdout, "write").mockImplementation(() => true));

describe("an export gives what is made at the source meanwhile", () => {
  test("and ends when a reading of the list finds nothing new", async () => {
    const source = sourceWith([["1"], ["1", "2"], ["2", "3"], ["2", "3"]]);
    const { failure, lines } = await exported(source);
    expect(failure).toBeUndefined();
    expect([...lines].map(([id, { outcome }]) => [id, outcome])).toEqual([
      ["1", "Registered"],
      ["2", "Registered"],
      ["3", "Registered"],
    ]);
  });

  test("but does not follow a source that makes keys for ever", async () => {
    const lists = Array.from({ length: 100 }, (_, at) => [`key ${at}`]);
    const { failure, lines } = await exported(sourceWith(lists));
    expect(failure).toContain("something new in each of 6 readings");
    expect(lines.size).toBe(6);
  });
});

test("an export names what the target took and does not show", async () => {
  const comment = attributeItem("Comment", "of the old server");
  const source = sourceWith([["1"]], [...basic, comment]);
  const whole = await exported(source);
  expect(whole).toMatchObject({ failure: undefined });
  expect(whole.lines.get("1")).not.toHaveProperty("left");
  const dropped = await exported(source, (item) => item.tag !== comment.tag);
  expect(dropped.lines.get("1")).toMatchObject({ outcome: "Registered", left: ["Comment"] });
});

const later = Date.UTC(2030, 0, 1) / 1000;

test.each<[string, string, Item, boolean]>([
  ["usage mask", "PreActive", attributeItem("CryptographicUsageMask", 4), true],
  ["planned activation", "PreActive", attributeItem("ActivationDate", later), true],
  ["planned end", "PreActive", attributeItem("DeactivationDate", later), true],
  ["comment", "PreActive", attributeItem("Comment", "of the old server"), false],
  ["activation in the past", "Active", attributeItem("ActivationDate", 1), false],
  ["planned end", "Active", attributeItem("DeactivationDate", later), true],
])(
  "an export fails if the target drops the %s of an object in State %s",
  async (_, state, item, fails) => {
    const others = basic.filter(({ tag }) => tag !== attributes.State.tag);
    const stated = [...others, attributeItem("State", state as "Active"), item];
    const keeps = ({ tag }: Item) => tag !== item.tag;
    const { failure, lines } = await exported(sourceWith([["1"]], stated), keeps);
    const [name = ""] = lines.get("1")?.left ?? [];
    expect(lines.get("1")).toMatchObject(
      fails
        ? { outcome: "Differs", reason: expect.stringContaining(`the same ${name}: `) }
        : { outcome: "Registered" },
    );
    expect(name).not.toBe("");
    if (fails) expect(failure).toContain("1 objects were not exported");
    else expect(failure).toBeUndefined();
  },
);

test("an object whose attributes the target does not show is not known to be the same", async () => {
  const items = basic.filter(({ tag }) => tag !== attributes.State.tag);
  const refused = { id: "new-0", refused: "PermissionDenied", gone: false };
  const { failure, lines } = await exported(sourceWith([["1"]], items), undefined, refused);
  expect(failure).toContain("1 objects were not exported");
  expect(lines.get("1")).toMatchObject({
    outcome: "Differs",
    reason: "the target does not show its attributes: PermissionDenied",
  });
});
