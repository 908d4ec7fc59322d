import type { FieldChanges, SystemRecord } from "@holdfast/engine";
import { describe, expect, test } from "vitest";
import type { Config } from "../../config/config-table.ts";
import { type RootReference, rootChanges } from "../../records/root-reference.ts";
import { systemRecord } from "../../testing/system-records.ts";
import { endingRootChecks } from "./ending-roots.ts";

const day = (text: string) => Date.parse(`${text}T12:00:00Z`);
const hpcs: RootReference = { type: "hpcs", instanceId: "manager", rootKey: "crk" };
const keyProtect: RootReference = { ...hpcs, type: "key-protect" };

type Instance = SystemRecord<"Instance">;

function instance(name: string, changes: FieldChanges<"Instance">): Instance {
  return systemRecord("Instance", { instance: name, name, ...changes });
}

function checks(records: readonly Instance[], at = "2026-11-27", type = "local") {
  const config = { region: "a", peer: { region: "b" }, rootOfTrust: { type } } as Config;
  const view = {
    all: () => records as never,
    freshAtMs: undefined,
    unreadDenials: new Set<string>(),
    unreadPolicies: new Set<string>(),
  };
  return endingRootChecks({ view, config, wallMs: () => day(at) });
}

describe("a root of trust that its vendor discontinues", () => {
  test("causes a warning with its dates, for each instance and region", () => {
    const found = checks([
      instance("finance", rootChanges("b", { current: hpcs })),
      instance("trial", rootChanges("a", { current: keyProtect })),
    ]);
    expect(found).toHaveLength(1);
    expect(found[0]).toMatchObject({ name: "root of trust", state: "warning" });
    expect(found[0]?.detail).toMatch(/28 March 2026.*28 March 2027.*Under it: finance \(b\)$/);
    expect(found[0]?.mend).toContain("root-of-trust move --all --from hpcs");
  });

  test("still counts while keys are left under it", () => {
    const left = [{ reference: hpcs, atMs: 1 }];
    const [found] = checks([instance("finance", rootChanges("a", { current: keyProtect, left }))]);
    expect(found?.detail).toContain("finance (a)");
  });

  test("is reported for the configuration if that names it", () => {
    expect(checks([], "2026-11-27", "hpcs")[0]?.detail).toContain("the configuration (a)");
  });

  test("is a failure once it has ended", () => {
    const records = [instance("finance", rootChanges("a", { current: hpcs }))];
    const at = (date: string) => checks(records, date)[0];
    expect(at("2027-03-26")?.detail).toContain("; 3 days are left. ");
    expect(at("2027-03-28")).toMatchObject({ state: "warning" });
    expect(at("2027-03-28")?.detail).toContain("; 1 day is left. ");
    expect(at("2027-03-29")).toMatchObject({ state: "failed" });
    expect(at("2027-03-29")?.detail).toContain("; it has ended. ");
  });

  test("is not mentioned if nothing is under it", () => {
    const gone = instance("gone", rootChanges("a", { current: hpcs }));
    const fact = { region: "a", atMs: 1 } as unknown as NonNullable<Instance["destroyed"]>;
    expect(checks([{ ...gone, destroyed: fact }])).toEqual([]);
    expect(checks([instance("trial", rootChanges("a", { current: keyProtect }))])).toEqual([]);
  });
});
