import { isVersion1, objectItem, type Version, versions } from "@holdfast/kmip";
import { beforeEach, describe, expect, test } from "vitest";
import {
  delayedAnew,
  destroyedFinally,
  pendingDestruction,
  restored,
  stateOf,
} from "../record/lifecycle.ts";
import type { Facts } from "../record/record.ts";
import { aesKey, attributeSet } from "../testing/test-attributes.ts";
import { type TestEngine, testEngine } from "../testing/test-engine.ts";

let engine: TestEngine;

beforeEach(async () => {
  engine = await testEngine();
});

const steps = {
  activate: ["Activate", {}],
  deactivate: ["Revoke", { revocationReason: { code: "CessationOfOperation" } }],
  compromise: ["Revoke", { revocationReason: { code: "KeyCompromise" } }],
  destroy: ["Destroy", {}],
} as const;
type Step = keyof typeof steps;

/** How each State is reached. */
const paths: Readonly<Record<string, readonly Step[]>> = {
  PreActive: [],
  Active: ["activate"],
  Deactivated: ["activate", "deactivate"],
  Compromised: ["compromise"],
  Destroyed: ["destroy"],
  DestroyedCompromised: ["compromise", "destroy"],
};

async function facts(id: string): Promise<Facts> {
  return (await engine.store.read("i", [id]))[0]?.object.facts ?? {};
}

async function take(version: Version, uniqueIdentifier: string, step: Step) {
  const [operation, request] = steps[step];
  return engine.reason(version, operation, { uniqueIdentifier, ...request });
}

async function inState(state: string): Promise<string> {
  const { uniqueIdentifier } = await engine.ask("2.1", "Create", aesKey());
  for (const step of paths[state] ?? []) {
    expect(await take("2.1", uniqueIdentifier, step)).toBeUndefined();
  }
  expect(stateOf(await facts(uniqueIdentifier))).toBe(state);
  return uniqueIdentifier;
}

/** State, step, and where it leads; "wrong" is refused for the State, "destroyed" because nothing is left. */
const table: readonly (readonly [string, Step, string])[] = [
  ["PreActive", "activate", "Active"],
  ["PreActive", "deactivate", "wrong"],
  ["PreActive", "compromise", "Compromised"],
  ["PreActive", "destroy", "Destroyed"],
  ["Active", "activate", "Active"],
  ["Active", "deactivate", "Deactivated"],
  ["Active", "compromise", "Compromised"],
  ["Active", "destroy", "wrong"],
  ["Deactivated", "activate", "wrong"],
  ["Deactivated", "deactivate", "wrong"],
  ["Deactivated", "compromise", "Compromised"],
  ["Deactivated", "destroy", "Destroyed"],
  ["Compromised", "activate", "wrong"],
  ["Compromised", "deactivate", "wrong"],
  ["Compromised", "compromise", "wrong"],
  ["Compromised", "destroy", "DestroyedCompromised"],
  ["Destroyed", "activate", "destroyed"],
  ["Destroyed", "deactivate", "destroyed"],
  ["Destroyed", "compromise", "DestroyedCompromised"],
  ["Destroyed", "destroy", "destroyed"],
  ["DestroyedCompromised", "activate", "destroyed"],
  ["DestroyedCompromised", "destroy", "destroyed"],
];

function reasonFor(version: Version, step: Step, result: string): string | undefined {
  if (result !== "wrong" && result !== "destroyed") return undefined;
  if (isVersion1(version)) return "PermissionDenied";
  return result === "destroyed" && step === "destroy"
    ? "ObjectDestroyed"
    : "WrongKeyLifecycleState";
}

describe.each(["1.1", "2.1"] as const)("KMIP %s", (version) => {
  test.each(table)("in state %s, step %s gives: %s", async (state, step, result) => {
    const uniqueIdentifier = await inState(state);
    const before = await facts(uniqueIdentifier);
    const reason = reasonFor(version, step, result);
    expect(await take(version, uniqueIdentifier, step)).toBe(reason);
    const after = await facts(uniqueIdentifier);
    if (reason === undefined) expect(stateOf(after)).toBe(result);
    else expect(after).toEqual(before);
  });
});

describe("Activate", () => {
  test("of an Active object keeps its date, and succeeds", async () => {
    const uniqueIdentifier = await inState("Active");
    const before = await engine.store.read("i", [uniqueIdentifier]);
    engine.now += 100;
    for (const version of versions) {
      expect(await engine.ask(version, "Activate", { uniqueIdentifier })).toEqual({
        uniqueIdentifier,
      });
    }
    expect(await engine.store.read("i", [uniqueIdentifier])).toEqual(before);
  });

  test("sets the date to now, even if another was planned", async () => {
    const planned = engine.now + 1000;
    const { uniqueIdentifier } = await engine.ask(
      "2.1",
      "Create",
      aesKey({ ActivationDate: planned }),
    );
    engine.now += 1;
    await engine.ask("2.1", "Activate", { uniqueIdentifier });
    expect((await facts(uniqueIdentifier)).activated?.time).toBe(engine.now);
  });
});

describe("Revoke", () => {
  test("keeps reason, message and date of occurrence", async () => {
    const uniqueIdentifier = await inState("Active");
    await engine.ask("2.1", "Revoke", {
      uniqueIdentifier,
      revocationReason: { code: "CACompromise", message: "laptop stolen" },
      compromiseOccurrenceDate: 1234,
    });
    expect((await facts(uniqueIdentifier)).compromised).toEqual({
      time: engine.now,
      region: "r",
      reasonCode: 3,
      message: "laptop stolen",
      occurred: 1234,
    });
  });

  test("takes the object's age for a compromise of unknown date", async () => {
    const uniqueIdentifier = await inState("PreActive");
    const created = engine.now;
    engine.now += 50;
    await take("1.4", uniqueIdentifier, "compromise");
    expect((await facts(uniqueIdentifier)).compromised?.occurred).toBe(created);
  });

  test.each(["1.0", "2.1"] as const)(
    "refuses a reason that is not known in %s",
    async (version) => {
      const uniqueIdentifier = await inState("Active");
      const request = { uniqueIdentifier, revocationReason: { code: "0x80000001" } };
      expect(await engine.reason(version, "Revoke", request)).toBe("InvalidField");
      expect(stateOf(await facts(uniqueIdentifier))).toBe("Active");
    },
  );

  test("refuses an occurrence date without a compromise", async () => {
    const uniqueIdentifier = await inState("Active");
    const request = {
      uniqueIdentifier,
      revocationReason: { code: "Superseded" },
      compromiseOccurrenceDate: 1,
    };
    expect(await engine.reason("2.1", "Revoke", request)).toBe("InvalidField");
  });
});

describe("Destroy", () => {
  test("removes the material and keeps the rest", async () => {
    const uniqueIdentifier = await inState("PreActive");
    const [before] = await engine.store.read("i", [uniqueIdentifier]);
    await take("1.1", uniqueIdentifier, "destroy");
    const [after] = await engine.store.read("i", [uniqueIdentifier]);
    expect(after?.object).toEqual({
      ...before?.object,
      material: undefined,
      facts: { destroyed: { time: engine.now, region: "r" } },
    });
  });
});

describe("Destroy with a delay", () => {
  const delay = 7 * 86_400;

  async function destroyLater(state: string): Promise<string> {
    const uniqueIdentifier = await inState(state);
    const client = { ...engine.client, destroyDelaySeconds: delay };
    const answer = await engine.sendAs(client, "2.1", [["Destroy", { uniqueIdentifier }]]);
    expect(answer.items[0]?.status).toBe("Success");
    return uniqueIdentifier;
  }

  test("keeps the material, and answers as Destroyed at once", async () => {
    const id = await destroyLater("Deactivated");
    const [stored] = await engine.store.read("i", [id]);
    expect(stored?.object.material).toBeDefined();
    expect(stored?.object.facts.destroyed).toBeUndefined();
    const asked = { uniqueIdentifier: id };
    expect(await engine.reason("2.1", "Get", asked)).toBe("ObjectDestroyed");
    expect(await engine.reason("1.1", "Get", asked)).toBe("ItemNotFound");
    expect(await engine.reason("2.1", "Check", asked)).toBe("ObjectDestroyed");
    expect(await engine.reason("2.1", "Activate", asked)).toBe("WrongKeyLifecycleState");
    expect(await engine.reason("2.1", "Destroy", asked)).toBe("ObjectDestroyed");
    const { attributes } = await engine.ask("1.1", "GetAttributes", {
      uniqueIdentifier: id,
      attributeReferences: ["State", "Destroy Date"],
    });
    expect(
      JSON.stringify(attributes, (_, value) => (typeof value === "bigint" ? Number(value) : value)),
    ).toContain(String(engine.now));
    expect((await engine.ask("2.1", "Locate", {})).uniqueIdentifiers ?? []).not.toContain(id);
    const destroyed = await engine.ask("2.1", "Locate", { storageStatusMask: 4 });
    expect(destroyed.uniqueIdentifiers).toContain(id);
  });

  test("is not shortened by a clock that is behind", async () => {
    const latest = engine.now + 30 * 86_400;
    const doubt = () => ({ latestSeconds: latest, reason: "this node's clock is behind" });
    const clock = { monotonicMs: () => 0, wallMs: () => engine.now * 1000, doubt };
    engine = await testEngine({ clock });
    const pending = await facts(await destroyLater("PreActive"));
    expect(pendingDestruction(pending)?.until).toBe(latest + delay);
    const { uniqueIdentifier } = await engine.ask("2.1", "Create", aesKey());
    expect(await take("2.1", uniqueIdentifier, "destroy")).toBeUndefined();
    expect((await facts(uniqueIdentifier)).destroyed?.time).toBeLessThan(latest);
  });

  test("may be restored to the state before, and is final once the delay is over", async () => {
    const id = await destroyLater("Deactivated");
    const pending = await facts(id);
    const at = { time: engine.now + 60, region: "s", us: 1 };
    const back = restored(pending, at);
    expect(stateOf(back)).toBe("Deactivated");
    expect(back.destruction?.us).toBe((pending.destruction?.us ?? 0) + 1);
    expect(restored(back, at)).toBe(back);
    expect(destroyedFinally(back, engine.now + delay)).toBe(back);
    expect(destroyedFinally(pending, engine.now + delay - 1)).toBe(pending);
    const final = destroyedFinally(pending, engine.now + delay);
    expect(final.destroyed).toEqual({ time: engine.now, region: "r" });
    expect(restored(final, at)).toBe(final);
  });

  test("a compromise meanwhile stays when it is restored", async () => {
    const id = await destroyLater("PreActive");
    expect(await take("2.1", id, "compromise")).toBeUndefined();
    expect(stateOf(await facts(id))).toBe("DestroyedCompromised");
    expect(stateOf(restored(await facts(id), { time: 1, region: "r", us: 1 }))).toBe("Compromised");
  });

  test("begins its delay anew where a copy comes back from a backup", async () => {
    const pending = await facts(await destroyLater("PreActive"));
    const later = delayedAnew(pending, engine.now + delay * 2);
    expect(pendingDestruction(later)?.until).toBe(engine.now + delay * 3);
    expect(delayedAnew(pending, engine.now)).toBe(pending);
  });
});

describe("objects without a State", () => {
  const template = {
    objectType: "Template",
    attributes: attributeSet({}),
    object: objectItem("Template", { attributes: attributeSet({ ObjectGroup: "g" }).attributes }),
  };

  test("a Template can be destroyed, and nothing else", async () => {
    const { uniqueIdentifier } = await engine.ask("1.4", "Register", template);
    expect(await take("1.4", uniqueIdentifier, "activate")).toBe("IllegalOperation");
    expect(await take("1.4", uniqueIdentifier, "compromise")).toBe("IllegalOperation");
    expect(await take("1.4", uniqueIdentifier, "destroy")).toBeUndefined();
  });

  test.each(["1.0", "1.4"] as const)(
    "a Template can be destroyed once in %s, also after its dates have come",
    async (version) => {
      const attributes = attributeSet({ ActivationDate: engine.now - 1 });
      const request = { ...template, attributes };
      const { uniqueIdentifier } = await engine.ask(version, "Register", request);
      expect(await take(version, uniqueIdentifier, "destroy")).toBeUndefined();
      expect(stateOf(await facts(uniqueIdentifier))).toBe("Destroyed");
      expect(await take(version, uniqueIdentifier, "destroy")).toBe("PermissionDenied");
    },
  );

  async function opaque(): Promise<string> {
    const object = objectItem("OpaqueObject", {
      opaqueDataType: 0x80000001,
      opaqueDataValue: new Uint8Array(1),
    });
    const request = { objectType: "OpaqueObject", attributes: attributeSet({}), object };
    return (await engine.ask("1.4", "Register", request)).uniqueIdentifier;
  }

  test("an Opaque Object has a State in 2.x", async () => {
    const uniqueIdentifier = await opaque();
    expect(await take("1.4", uniqueIdentifier, "activate")).toBe("IllegalOperation");
    expect(await take("2.1", uniqueIdentifier, "deactivate")).toBe("WrongKeyLifecycleState");
    expect(await take("2.1", uniqueIdentifier, "activate")).toBeUndefined();
  });

  test.each(["1.0", "1.4"] as const)("an Opaque Object can be revoked in %s", async (version) => {
    const uniqueIdentifier = await opaque();
    expect(await take(version, uniqueIdentifier, "deactivate")).toBeUndefined();
    expect(stateOf(await facts(uniqueIdentifier))).toBe("Deactivated");
    expect((await facts(uniqueIdentifier)).deactivated?.reasonCode).toBe(6);
    expect(await take(version, uniqueIdentifier, "deactivate")).toBe("PermissionDenied");
    expect(await take(version, uniqueIdentifier, "compromise")).toBeUndefined();
    expect(await take(version, uniqueIdentifier, "destroy")).toBeUndefined();
    expect(await take(version, uniqueIdentifier, "deactivate")).toBe("PermissionDenied");
  });
});

describe("Check", () => {
  const limits = { total: 100n, unit: "Byte" } as const;

  test.each([
    [{}, undefined],
    [{ cryptographicUsageMask: 0x0c }, undefined],
    [{ cryptographicUsageMask: 0x04 }, undefined],
    [{ cryptographicUsageMask: 0x05 }, "IncompatibleCryptographicUsageMask"],
    [{ usageLimitsCount: 100n }, undefined],
    [{ usageLimitsCount: 101n }, "UsageLimitExceeded"],
    [{ leaseTime: 3600 }, undefined],
    [{ leaseTime: 3601 }, "PermissionDenied"],
  ])("allows or denies case %#", async (asked, reason) => {
    const { uniqueIdentifier } = await engine.ask("2.1", "Create", aesKey({ UsageLimits: limits }));
    const request = { uniqueIdentifier, ...asked };
    expect(await engine.reason("2.1", "Check", request)).toBe(reason);
    expect(await engine.reason("1.0", "Check", request)).toBe(reason && "PermissionDenied");
    if (reason === undefined) {
      expect(await engine.ask("2.1", "Check", request)).toEqual({ uniqueIdentifier });
    }
  });

  test.each(versions)("returns what it denies, in KMIP 1.x: %s", async (version) => {
    const { uniqueIdentifier } = await engine.ask("2.1", "Create", aesKey({ UsageLimits: limits }));
    const ask = async (asked: object) => {
      const items = [["Check", { uniqueIdentifier, ...asked }]] as const;
      return (await engine.send(version, items)).items[0];
    };
    const wrong = { cryptographicUsageMask: 0x05, usageLimitsCount: 101n };
    const item = await ask({ ...wrong, leaseTime: 3600 });
    expect(item?.status).toBe("OperationFailed");
    expect(item?.payload).toEqual(isVersion1(version) ? wrong : undefined);
    const missing = (await engine.send(version, [["Check", { uniqueIdentifier: "none" }]]))
      .items[0];
    expect(missing?.payload).toBeUndefined();
  });

  test("allows any use of an object without limits", async () => {
    const { uniqueIdentifier } = await engine.ask("2.1", "Create", aesKey());
    const usageLimitsCount = 2n ** 62n;
    expect(await engine.ask("2.1", "Check", { uniqueIdentifier, usageLimitsCount })).toEqual({
      uniqueIdentifier,
    });
  });
});
