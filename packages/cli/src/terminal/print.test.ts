import { contract, type Layout, type Route } from "@holdfast/admin";
import { describe, expect, test } from "vitest";
import { listLines, thingLines } from "./print.ts";

const uuid = "6f1f0e9e-3f0f-4b8a-8f5c-2a8d8f4c1a00";
const sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
const long =
  "a text that is far longer than what any terminal of an administrator shows on one line";

/** An item with a long value at every path of a layout. */
function itemOf({ columns, below = [], wide = [] }: Layout): Record<string, unknown> {
  const values: Readonly<Record<string, unknown>> = {
    id: uuid,
    fingerprint: sha256,
    sha256,
    sha1: sha256.slice(0, 40),
    time: "2026-11-25T20:12:09.123Z",
    createdAt: "2026-11-25T20:12:09.123Z",
    expiresAt: "2026-11-25T20:12:09.123Z",
    startedAt: "2026-11-25T20:12:09.123Z",
    notAfter: "2026-11-25T20:12:09.123Z",
    keys: { Active: 120_000, PreActive: 12, Deactivated: 3, Destroyed: 40 },
    regions: { a: "applied", b: "pending" },
  };
  const paths = [...columns, ...below, ...wide].map(
    (text) => text.split("=")[1]?.split("|")[0] ?? "",
  );
  return Object.fromEntries(paths.map((path) => [path, values[path] ?? `${path} ${long}`]));
}

const layouts = Object.values<Route>(contract).flatMap(({ command: row }) =>
  row.list === undefined ? [] : [[row.words, row.list] as const],
);

describe("the list of", () => {
  test.each(layouts)("%s fits into 60, 80 and 200 columns", (_words, layout) => {
    const item = itemOf(layout);
    for (const width of [60, 80, 200]) {
      const { lines, cut } = listLines([item, item], layout, width);
      expect(Math.max(...lines.map((line) => [...line].length))).toBeLessThanOrEqual(width);
      // The most important columns are there, and what is missing is named.
      const headings = lines[0] ?? "";
      for (const column of layout.columns.slice(0, 2)) {
        expect(headings).toContain(column.split("=")[0]);
      }
      for (const column of layout.columns) {
        const heading = column.split("=")[0] ?? "";
        expect(headings.includes(heading) || cut.includes(heading)).toBe(true);
      }
    }
  });

  test.each(layouts)("%s is in full, one line per item, without a terminal", (_words, layout) => {
    const item = itemOf(layout);
    const { lines, cut } = listLines([item, item], layout);
    expect(cut).toEqual([]);
    expect(lines).toHaveLength(3);
    expect(lines[1]).not.toContain("…");
    const all = [...layout.columns, ...(layout.below ?? []), ...(layout.wide ?? [])];
    for (const column of all) expect(lines[0]).toContain(column.split("=")[0]);
    const bare = { ...item, [layout.columns.at(-1)?.split("=")[1] ?? ""]: "" };
    // The headings do not depend on what is in the list.
    expect(listLines([bare], layout).lines[0]?.split(/ {2,}/)).toEqual(lines[0]?.split(/ {2,}/));
  });
});

describe("a list at a terminal", () => {
  const items = [
    { name: "kmip-prod", keys: { Active: 2 }, regions: { a: { status: "Installed" } }, note: "" },
    { name: "x", keys: {}, regions: { a: { state: "usable" }, b: "pending" } },
  ];
  const columns = ["NAME=name", "KEYS=keys", "REGIONS=regions", "NOTE=note"];

  test("has headings and aligned columns, and no column that is always empty", () => {
    expect(listLines(items, { columns }, 80)).toEqual({
      lines: [
        "NAME       KEYS      REGIONS",
        "kmip-prod  Active:2  a:Installed",
        "x                    a:usable b:pending",
      ],
      cut: [],
    });
  });

  test("cuts text, leaves out the last columns, and names both", () => {
    const event = {
      time: "2026-11-25T20:12:09.36+0000",
      what: "kmip-key.create",
      who: long,
      id: uuid,
    };
    const layout = { columns: ["TIME=time", "WHAT=what", "WHO=who", "ID=id"] };
    expect(listLines([event], layout, 60)).toEqual({
      lines: [
        "TIME                  WHAT             WHO",
        "2026-11-25T20:12:09Z  kmip-key.create  a text that is far l…",
      ],
      cut: ["WHO", "ID"],
    });
  });

  test("removes the year from an event's time before it cuts the action", () => {
    const layout = contract.listEvents.command.list as Layout;
    const event = {
      time: "2026-11-25T20:12:09.36+0000",
      outcome: "success",
      action: "kmip-certificate-authority.create",
      who: long,
      target: uuid,
      instance: uuid,
    };
    for (const width of [60, 80]) {
      const { lines, cut } = listLines([event], layout, width);
      expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(width);
      expect(lines[0]).toMatch(/^TIME +OUTCOME +ACTION/);
      expect(lines[1]).toMatch(/^11-25 20:12:09 +success +kmip-certificate-authority\.create\b/);
      expect(cut).toEqual(expect.arrayContaining(["TIME", "WHO"]));
    }
    for (const width of [400, undefined]) {
      const { lines, cut } = listLines([event], layout, width);
      expect(lines[1]).toMatch(/^2026-11-25T20:12:09Z +success/);
      expect(cut).toEqual([]);
    }
  });

  test("wraps the last column, and prints more about a row below it", () => {
    const check = { state: "failed", name: "leader", detail: "region a has no leader", mend: long };
    const columns = ["STATE=state", "CHECK=name", "DETAIL=detail"];
    const layout: Layout = { of: "checks", columns, below: ["MEND=mend"], wrap: "DETAIL" };
    expect(listLines([check], layout, 40)).toEqual({
      lines: [
        "STATE   CHECK   DETAIL",
        "failed  leader  region a has no leader",
        "    mend: a text that is far longer than",
        "    what any terminal of an",
        "    administrator shows on one line",
      ],
      cut: [],
    });
    expect(listLines([check], layout, 30).lines.slice(1, 3)).toEqual([
      "failed  leader  region a has",
      "                no leader",
    ]);
  });

  test("shows identifiers and fingerprints only if they are asked for", () => {
    const layout = { columns: ["NAME=name"], wide: ["SHA-1=sha1|colons"] };
    const item = { name: "x", sha1: "0aff10" };
    expect(listLines([item], layout, 200).lines).toEqual(["NAME", "x"]);
    expect(listLines([item], layout).lines).toEqual(["NAME  SHA-1", "x     0A:FF:10"]);
  });

  test("shows control characters of a client as text", () => {
    const { lines } = listLines([{ subject: "CN=a\u001b[2Jb\nc\u202e" }], {
      columns: ["SUBJECT=subject"],
    });
    expect(lines[1]).toBe("CN=a\\u001b[2Jb\\u000ac\\u202e");
  });

  test("is aligned in any script", () => {
    const items = [
      { a: "鍵管理", b: 1 },
      { a: "é", b: 2 },
      { a: "鍵".repeat(20), b: 3 },
    ];
    expect(listLines(items, { columns: ["A=a", "B=b"] }, 18).lines).toEqual([
      "A                B",
      "鍵管理           1",
      "é                2",
      "鍵鍵鍵鍵鍵鍵鍵…  3",
    ]);
  });

  test("without items has no lines", () => {
    expect(listLines([], { columns: ["NAME=name"] }).lines).toEqual([]);
  });
});

describe("one object for people", () => {
  test("leaves out empty fields, flattens nested ones, and shows lists as tables", () => {
    const regions = { a: { status: "Installed", reason: "" }, b: { status: "Inactive" } };
    const peers = [{ region: "b", state: "up", behind: 0 }];
    const thing = { name: "x", reason: "", rootOfTrust: "ok", labels: { site: "y" }, regions };
    expect(thingLines({ ...thing, peers })).toEqual([
      "name           x",
      "root of trust  ok",
      "labels         site=y",
      "regions.a      status=Installed",
      "regions.b      status=Inactive",
      "",
      "peers:",
      "  REGION  STATE  BEHIND",
      "  b       up     0",
    ]);
  });

  test("shows which regions have a change, and pending regions only if there are any", () => {
    const both = { a: "applied", b: "applied" };
    const one = { a: "applied", b: "pending" };
    expect(thingLines({ name: "x", regions: both, pending: both })).toEqual([
      "name     x",
      "regions  a, b",
    ]);
    expect(thingLines({ pending: one })).toEqual(["pending  a, b (pending)"]);
  });

  test("shows a list in full even if its columns do not fit", () => {
    const certificates = [{ what: long, issuer: long, serial: uuid, notAfter: "2036-11-23" }];
    for (const width of [60, 80, 200]) {
      const lines = thingLines({ certificates }, width);
      expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(width);
      const words = lines.join(" ").split(/\s+/);
      for (const word of [...long.split(" "), uuid, "2036-11-23"]) expect(words).toContain(word);
    }
  });

  test("fits the terminal, and writes all times in one format", () => {
    expect(thingLines({ at: "2026-11-25T20:12:09.000Z", reason: long }, 40)).toEqual([
      "at      2026-11-25T20:12:09Z",
      "reason  a text that is far longer than",
      "        what any terminal of an",
      "        administrator shows on one line",
    ]);
  });
});

test("a text without spaces breaks by the columns that it takes", () => {
  const reason = "\u9375".repeat(30);
  const lines = thingLines({ reason }, 40);
  expect(lines).toEqual([`reason  ${"\u9375".repeat(16)}`, `        ${"\u9375".repeat(14)}`]);
  // No character is cut into halves.
  expect(thingLines({ reason: "\u{1f511}".repeat(9) }, 13).join("")).not.toMatch(/\p{Cs}/u);
});

test("a State is spelled as KMIP prints it, in lists and objects", () => {
  const item = { state: "PreActive", keys: { PreActive: 2, Active: 1 } };
  const { lines } = listLines([item], { columns: ["STATE=state", "KEYS=keys"] });
  expect(lines[1]).toBe("Pre-Active  Pre-Active:2 Active:1");
  expect(thingLines(item)).toEqual(["state  Pre-Active", "keys   Pre-Active=2 Active=1"]);
});
