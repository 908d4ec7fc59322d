import { describe, expect, test } from "vitest";
import { listLines, thingLines } from "./print.ts";

describe("a list for people", () => {
  test("has headings, aligned columns, and none that is empty everywhere", () => {
    const items = [
      { name: "kmip-prod", keys: { Active: 2 }, regions: { a: { status: "Installed" } }, note: "" },
      { name: "x", keys: {}, regions: { a: { state: "usable" }, b: "pending" } },
    ];
    const columns = ["NAME=name", "KEYS=keys", "REGIONS=regions", "NOTE=note"];
    expect(listLines(items, columns)).toEqual([
      "NAME       KEYS      REGIONS",
      "kmip-prod  Active:2  a:Installed",
      "x                    a:usable b:pending",
    ]);
  });

  test("follows paths, and bears what is missing on the way", () => {
    const items = [{ who: { id: "me" } }, { who: null }, {}];
    expect(listLines(items, ["WHO=who.id"])).toEqual(["WHO", "me", "", ""]);
  });

  test("of nothing is nothing", () => {
    expect(listLines([], ["NAME=name"])).toEqual([]);
  });

  test("shows control characters of a client as text", () => {
    const [, line = ""] = listLines([{ subject: "CN=a\u001b[2Jb\nc\u202e" }], ["SUBJECT=subject"]);
    expect(line).toBe("CN=a\\u001b[2Jb\\u000ac\\u202e");
  });
});

describe("one thing for people", () => {
  test("leaves out what is empty, and opens what is nested", () => {
    const regions = { a: { status: "Installed", reason: "" }, b: { status: "Inactive" } };
    const items = [{ id: 1 }, { id: 2 }];
    expect(thingLines({ name: "x", reason: "", labels: { site: "y" }, regions, items })).toEqual([
      "name       x",
      "labels     site=y",
      "regions.a  status=Installed",
      "regions.b  status=Inactive",
      "items[0]   id=1",
      "items[1]   id=2",
    ]);
  });
});
