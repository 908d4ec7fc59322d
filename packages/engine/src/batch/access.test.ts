import { attributeItem, operations, type ResponseItem } from "@holdfast/kmip";
import { beforeEach, describe, expect, test } from "vitest";
import { allowedOperations, implementedOperations, operationSets } from "../base/operation-sets.ts";
import { aesKey } from "../testing/test-attributes.ts";
import { type TestEngine, type TestItem, testEngine } from "../testing/test-engine.ts";
import { authorize, type Client } from "./access.ts";

let engine: TestEngine;

beforeEach(async () => {
  engine = await testEngine();
});

const shown = ({ status, reason }: ResponseItem) => reason ?? status;

async function asked(
  client: Partial<Client>,
  items: readonly TestItem[],
  ...usernames: readonly string[]
): Promise<readonly string[]> {
  const credentials = usernames.map((username) => ({
    ...{ type: "UsernameAndPassword" as const, username, password: "right" },
  }));
  const header = { credentials, batchErrorContinuationOption: "Continue" } as const;
  const answer = await engine.sendAs({ ...engine.client, ...client }, "1.4", items, header);
  return answer.items.map(shown);
}

describe("a set of operations", () => {
  test("allows what its name says", () => {
    const changing = implementedOperations.filter((name) => operations[name].changes);
    const listed = (...limit: readonly string[]) => [...(allowedOperations(limit) ?? [])];
    expect(operationSets.map((name) => [name, allowedOperations([name])?.size])).toMatchObject([
      ["all", undefined],
      ["vsphere", 5],
      ["read-only", expect.any(Number)],
    ]);
    expect(listed("vsphere")).toEqual([
      "Create",
      "Get",
      "GetAttributes",
      "AddAttribute",
      "Activate",
    ]);
    expect(listed("read-only")).toEqual(expect.arrayContaining(["Get", "Locate", "GetAttributes"]));
    expect(listed("read-only").filter((name) => changing.some((one) => one === name))).toEqual([]);
    expect(listed("Get", "Locate")).toEqual(["Get", "Locate"]);
    expect(listed("vsphere", "all")).toEqual([]);
  });

  test("of another release, or none, allows nothing", () => {
    for (const limit of [[], ["future"], ["constructor"], ["__proto__"], [""]]) {
      expect(allowedOperations(limit)).toEqual(new Set());
    }
    expect(allowedOperations(undefined)).toBeUndefined();
  });
});

describe("a client with a limit", () => {
  const operationsLeft = allowedOperations(["Create", "Activate"]);

  test("to nothing may still call what needs no Credential", () => {
    const client = { ...engine.client, operations: new Set<string>() };
    const allowed = implementedOperations.filter((operation) => {
      try {
        authorize(client, [], operation);
        return true;
      } catch (error) {
        expect(error).toMatchObject({ fault: "permissionDenied" });
        return false;
      }
    });
    expect(allowed).toEqual(["Query", "DiscoverVersions"]);
  });

  test("is refused item by item", async () => {
    const items: readonly TestItem[] = [
      ["Create", aesKey()],
      ["Get", {}],
      ["Activate", {}],
    ];
    const answers = await asked({ operations: operationsLeft }, items);
    expect(answers).toEqual(["Success", "PermissionDenied", "Success"]);
    const failed = engine.events.filter((event) => event.type === "operation");
    expect(failed.map(({ operation, result }) => `${operation} ${result}`)).toContain(
      "Get PermissionDenied",
    );
  });

  test("may do only what the certificate and its users all may", async () => {
    const client: Partial<Client> = {
      operations: allowedOperations(["Create", "Activate", "Get"]),
      verifyPassword: async () => true,
      operationsOf: (name) => allowedOperations({ reader: ["read-only"], maker: ["Create"] }[name]),
    };
    const items: readonly TestItem[] = [
      ["Create", aesKey()],
      ["Get", {}],
      ["Activate", {}],
    ];
    const [yes, no] = ["Success", "PermissionDenied"];
    expect(await asked(client, items, "free")).toEqual([yes, yes, yes]);
    expect((await asked(client, items, "reader"))[0]).toBe(no);
    expect(await asked(client, items, "maker")).toEqual([yes, no, no]);
    expect((await asked(client, items, "maker", "reader"))[0]).toBe(no);
    // Without users, a Credential is ignored.
    const { verifyPassword: _, ...noUsers } = client;
    expect((await asked(noUsers, items, "reader"))[0]).toBe(yes);
  });

  test.each<[string, readonly string[] | undefined]>([
    ["deleted", []],
    ["given a wider limit", undefined],
  ])("may do nothing more if its user is %s during the check of the password", async (_, later) => {
    let limit: readonly string[] | undefined = ["Get"];
    const client: Partial<Client> = {
      verifyPassword: async () => {
        limit = later;
        return true;
      },
      operationsOf: () => allowedOperations(limit),
    };
    expect(await asked(client, [["Create", aesKey()]], "vc")).toEqual(["PermissionDenied"]);
  });

  test("may do nothing more once its user, the last one, is deleted", async () => {
    const users = new Set(["vc"]);
    const client: Partial<Client> = {
      get verifyPassword() {
        return users.size === 0 ? undefined : async () => users.delete("vc");
      },
      operationsOf: (name) => allowedOperations(users.has(name) ? ["Get"] : []),
    };
    const items: readonly TestItem[] = [
      ["Create", aesKey()],
      ["Query", { queryFunctions: ["QueryOperations"] }],
    ];
    const header = {
      credentials: [{ type: "UsernameAndPassword", username: "vc", password: "right" }],
      batchErrorContinuationOption: "Continue",
    } as const;
    // Not spread into another object: that would take the getter's value.
    const asClient = Object.assign(client, engine.client) as Client;
    const answer = await engine.sendAs(asClient, "1.4", items, header);
    expect(answer.items.map(shown)).toEqual(["PermissionDenied", "Success"]);
  });
});

test("who may not Revoke may not plan a deactivation", async () => {
  const newAttribute = { item: attributeItem("DeactivationDate", engine.now + 60) };
  const limit = allowedOperations(["vsphere", "ModifyAttribute", "SetAttribute"]);
  const verifyPassword = async () => true;
  const limited: readonly Partial<Client>[] = [
    { operations: limit },
    { verifyPassword, operationsOf: () => limit },
  ];
  for (const client of limited) {
    for (const steps of [[], ["Activate"]] as const) {
      const { uniqueIdentifier } = await engine.ask("2.1", "Create", aesKey());
      for (const step of steps) await engine.ask("2.1", step, { uniqueIdentifier });
      const item = { uniqueIdentifier, newAttribute };
      expect(await asked(client, [["AddAttribute", item]], "vc")).toEqual(["PermissionDenied"]);
      const all = { operations: allowedOperations(["vsphere", "Revoke"]) };
      expect(await asked(all, [["AddAttribute", item]])).toEqual(["Success"]);
      expect(await asked(client, [["ModifyAttribute", item]], "vc")).toEqual(["PermissionDenied"]);
    }
  }
  const { uniqueIdentifier } = await engine.ask("2.1", "Create", aesKey());
  const client = { ...engine.client, operations: limit };
  const set = await engine.sendAs(client, "2.1", [
    ["SetAttribute", { uniqueIdentifier, newAttribute }],
  ]);
  expect(set.items.map(shown)).toEqual(["PermissionDenied"]);
});

describe("an instance that keeps its keys", () => {
  const keeper = { keepsKeys: true };
  const cessation = { revocationReason: { code: "CessationOfOperation" } };
  const compromise = { revocationReason: { code: "KeyCompromise" } };

  async function made(...steps: readonly TestItem[]): Promise<string> {
    const { uniqueIdentifier } = await engine.ask("2.1", "Create", aesKey());
    for (const [operation, payload] of steps) {
      await engine.ask("2.1", operation, { ...(payload as object), uniqueIdentifier });
    }
    return uniqueIdentifier;
  }
  const one = async (client: Partial<Client>, id: string, [operation, payload]: TestItem) =>
    (await asked(client, [[operation, { ...(payload as object), uniqueIdentifier: id }]]))[0];

  test("refuses Destroy, and Revoke of Active objects, and nothing else", async () => {
    const active = await made(["Activate", {}]);
    for (const step of [
      ["Revoke", cessation],
      ["Revoke", compromise],
      ["Destroy", {}],
    ] as const) {
      expect(await one(keeper, active, step), step[0]).toBe("PermissionDenied");
    }
    expect(await one(keeper, active, ["Get", {}])).toBe("Success");
    const preActive = await made();
    expect(await one(keeper, preActive, ["Destroy", {}])).toBe("PermissionDenied");
    expect(await one(keeper, preActive, ["Revoke", compromise])).toBe("Success");
    const revoked = await made(["Activate", {}], ["Revoke", cessation]);
    expect(await one(keeper, revoked, ["Revoke", compromise])).toBe("Success");
    expect(await one({}, active, ["Revoke", cessation])).toBe("Success");
    expect(await one({}, active, ["Destroy", {}])).toBe("Success");
  });

  test("refuses a Deactivation Date, also one that comes after the activation", async () => {
    const date = { item: attributeItem("DeactivationDate", engine.now + 60) };
    for (const steps of [[], [["Activate", {}]]] as const) {
      const id = await made(...steps);
      expect(await one(keeper, id, ["AddAttribute", { newAttribute: date }])).toBe(
        "PermissionDenied",
      );
      expect(await one({}, id, ["AddAttribute", { newAttribute: date }])).toBe("Success");
      expect(await one(keeper, id, ["ModifyAttribute", { newAttribute: date }])).toBe(
        "PermissionDenied",
      );
    }
  });

  test("says what an operator can do", async () => {
    const active = await made(["Activate", {}]);
    const client = { ...engine.client, ...keeper };
    const answer = await engine.sendAs(client, "2.1", [["Destroy", { uniqueIdentifier: active }]]);
    expect(answer.items[0]?.message).toContain("an operator can: `holdfast key destroy`");
  });
});
