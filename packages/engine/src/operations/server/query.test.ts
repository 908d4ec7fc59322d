import { isVersion1, objectTypesOf, type Version, versions, within } from "@holdfast/kmip";
import { ItemType } from "@holdfast/ttlv";
import { beforeEach, describe, expect, test } from "vitest";
import { type TestEngine, testEngine } from "../../testing/test-engine.ts";

let engine: TestEngine;

beforeEach(async () => {
  engine = await testEngine();
});

const ask = (version: Version, ...queryFunctions: readonly string[]) =>
  engine.ask(version, "Query", { queryFunctions });

describe("Discover Versions", () => {
  const parts = (text: string) => {
    const [major, minor] = text.split(".").map(Number);
    return { major, minor };
  };

  test.each([
    [[], ["2.1", "2.0", "1.4", "1.3", "1.2", "1.1", "1.0"]],
    [["1.0"], ["1.0"]],
    [
      ["1.1", "1.0", "2.1"],
      ["2.1", "1.1", "1.0"],
    ],
    [["9.31"], []],
    [["9.31", "1.2"], ["1.2"]],
  ])("answers %j with %j", async (asked, answered) => {
    for (const version of versions.filter((one) => within(one, "1.1"))) {
      const answer = await engine.ask(version, "DiscoverVersions", { versions: asked.map(parts) });
      expect(answer).toEqual({ versions: answered.map(parts) });
    }
  });

  test("is not an operation of 1.0", async () => {
    expect(await engine.reason("1.0", "DiscoverVersions", { versions: [] })).toBe(
      "OperationNotSupported",
    );
  });
});

describe("Query", () => {
  const always = [
    "Create",
    "Register",
    "Locate",
    "Check",
    "Get",
    "GetAttributes",
    "GetAttributeList",
    "AddAttribute",
    "ModifyAttribute",
    "DeleteAttribute",
    "Activate",
    "Revoke",
    "Destroy",
    "Query",
  ];

  test.each(versions)("KMIP %s: lists the operations that exist", async (version) => {
    const { operations } = await ask(version, "QueryOperations");
    const expected = [
      ...always,
      ...(within(version, "1.1") ? ["DiscoverVersions"] : []),
      ...(within(version, "2.0") ? ["Log", "AdjustAttribute", "SetAttribute"] : []),
    ];
    expect([...operations].toSorted()).toEqual(expected.toSorted());
  });

  test("lists Interop only if it is available", async () => {
    const begin = { interopFunction: "Begin", interopIdentifier: "BL-M-1-21" };
    expect(await engine.reason("2.1", "Interop", begin)).toBe("OperationNotSupported");
    engine = await testEngine({ interop: true });
    expect((await ask("2.1", "QueryOperations")).operations).toContain("Interop");
    expect((await ask("1.4", "QueryOperations")).operations).not.toContain("Interop");
    expect(await engine.ask("2.1", "Interop", begin)).toEqual({});
    expect(await engine.ask("2.1", "Interop", { ...begin, interopFunction: "End" })).toEqual({});
    expect(await engine.reason("2.1", "Interop", { ...begin, interopFunction: "Reset" })).toBe(
      "PermissionDenied",
    );
  });

  test.each(versions)("KMIP %s: lists all its object types", async (version) => {
    const { objectTypes } = await ask(version, "QueryObjects");
    expect(objectTypes).toEqual(objectTypesOf(version));
    expect(objectTypes.includes("Template")).toBe(isVersion1(version));
  });

  test.each(versions)("KMIP %s: names vendor and server", async (version) => {
    const answer = await ask(version, "QueryServerInformation");
    expect(answer.vendorIdentification).toBe("Holdfast");
    expect(answer.serverInformation).toBeDefined();
    expect(answer.serverInformation?.productName).toBe(
      isVersion1(version) ? undefined : "Holdfast",
    );
    expect(answer.operations).toEqual([]);
  });

  test("lists no name spaces, extensions, attestation, validations or registration", async () => {
    const answer = await ask(
      "1.4",
      "QueryApplicationNamespaces",
      "QueryExtensionList",
      "QueryExtensionMap",
      "QueryAttestationTypes",
      "QueryValidations",
      "QueryClientRegistrationMethods",
    );
    expect(Object.values(answer).flat()).toEqual([]);
  });

  test("returns generator and capabilities", async () => {
    const answer = await ask("1.4", "QueryRNGs", "QueryCapabilities");
    expect(answer.rngParameters).toEqual([{ rngAlgorithm: "Unspecified" }]);
    expect(answer.capabilities).toMatchObject([
      {
        asynchronous: false,
        attestation: false,
        batchUndo: true,
        batchContinue: true,
        streaming: false,
      },
    ]);
  });

  test("lists profiles only if the server has everything that they require", async () => {
    const names = async (version: Version) =>
      (await ask(version, "QueryProfiles")).profiles.map(({ profileName }) => profileName);
    expect(await names("1.4")).toEqual([]);
    engine = await testEngine({ profileSuites: true });
    expect(await names("2.1")).toEqual([]);
    expect(await names("1.3")).toContain("BaselineServerTLSV1_2KMIPV1_3");
    expect(await names("1.3")).not.toContain("TapeLibraryServerKMIPV1_4");
    expect(await names("1.4")).toContain("SymmetricKeyLifecycleServerKMIPV1_4");
    expect(await names("1.4")).not.toContain("CompleteServerTLSV1_2KMIPV1_4");
  });

  test("2.x: returns the default attributes of a key and its storage protection", async () => {
    const answer = await ask("2.1", "QueryDefaultsInformation", "QueryStorageProtectionMasks");
    expect(answer.protectionStorageMasks).toEqual({ masks: [1] });
    const defaults = answer.defaultsInformation;
    const [object] = defaults?.type === ItemType.Structure ? defaults.value : [];
    const fields = object?.type === ItemType.Structure ? object.value : [];
    const [, attributes] = fields;
    const values =
      attributes?.type === ItemType.Structure ? attributes.value.map(({ value }) => value) : [];
    expect(fields[0]?.value).toBe(2);
    expect(values).toEqual([3, 256, 0x0c]);
  });

  test("answers several functions together, and refuses one that a version lacks", async () => {
    const answer = await ask("1.0", "QueryOperations", "QueryObjects", "QueryOperations");
    expect(answer.objectTypes.length).toBeGreaterThan(0);
    expect(new Set(answer.operations).size).toBe(answer.operations.length);
  });
});

describe("Log", () => {
  test("keeps the message as evidence, cut to a limit", async () => {
    expect(await engine.ask("2.1", "Log", { logMessage: "hello 🗝" })).toEqual({});
    await engine.ask("2.0", "Log", { logMessage: "🗝".repeat(2000) });
    const [first, , , second] = engine.store.auditOf("i");
    expect(first).toMatchObject({ action: "kmip-log.create", detail: { message: "hello 🗝" } });
    expect([...String(second?.detail?.["message"])]).toHaveLength(1024);
  });
});
