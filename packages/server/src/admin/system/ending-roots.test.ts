import { type Document, systemTypes } from "@holdfast/engine";
import { describe, expect, test } from "vitest";
import type { Config } from "../../config/config-table.ts";
import {
  leftText,
  type RootReference,
  referenceText,
  rootFields,
} from "../../records/root-reference.ts";
import { endingRootChecks } from "./ending-roots.ts";

const day = (text: string) => Date.parse(`${text}T12:00:00Z`);
const hpcs: RootReference = { type: "hpcs", instanceId: "manager", rootKey: "crk" };
const keyProtect: RootReference = { ...hpcs, type: "key-protect" };

function instance(name: string, fields: Readonly<Record<string, string | undefined>>): Document {
  const all = Object.entries({ name, ...fields }).filter(([, value]) => value !== undefined);
  const { Instance: type } = systemTypes;
  return { type, id: name, fixed: {}, fields: Object.fromEntries(all), destroyed: undefined };
}

function checks(documents: readonly Document[], at = "2026-11-27", type = "local") {
  const config = { region: "a", peer: { region: "b" }, rootOfTrust: { type } } as Config;
  const view = { documents: () => documents, freshAtMs: undefined };
  return endingRootChecks({ view, config, wallMs: () => day(at) });
}

describe("a root of trust that its maker ends", () => {
  test("is warned of with its dates, for each instance and region", () => {
    const found = checks([
      instance("finance", { [rootFields.current("b")]: referenceText(hpcs) }),
      instance("trial", { [rootFields.current("a")]: referenceText(keyProtect) }),
    ]);
    expect(found).toHaveLength(1);
    expect(found[0]).toMatchObject({ name: "root of trust", state: "warning" });
    expect(found[0]?.detail).toMatch(/28 March 2026.*28 March 2027.*Under it: finance \(b\)$/);
    expect(found[0]?.mend).toContain("root-of-trust configure");
  });

  test("still counts while keys are left under it", () => {
    const left = leftText([{ reference: hpcs, atMs: 1 }]);
    const [found] = checks([
      instance("finance", {
        [rootFields.current("a")]: referenceText(keyProtect),
        [rootFields.left("a")]: left,
      }),
    ]);
    expect(found?.detail).toContain("finance (a)");
  });

  test("counts for instances that name none where the configuration has it", () => {
    expect(checks([], "2026-11-27", "hpcs")[0]?.detail).toContain("the configuration (a)");
  });

  test("is a failure once it has ended", () => {
    const documents = [instance("finance", { [rootFields.current("a")]: referenceText(hpcs) })];
    expect(checks(documents, "2027-03-28")[0]?.state).toBe("warning");
    expect(checks(documents, "2027-03-29")[0]?.state).toBe("failed");
  });

  test("is not mentioned where nothing is under it", () => {
    const gone = instance("gone", { [rootFields.current("a")]: referenceText(hpcs) });
    const fact = { region: "a", atMs: 1 } as unknown as NonNullable<Document["destroyed"]>;
    expect(checks([{ ...gone, destroyed: fact }])).toEqual([]);
    expect(
      checks([instance("trial", { [rootFields.current("a")]: referenceText(keyProtect) })]),
    ).toEqual([]);
  });
});
