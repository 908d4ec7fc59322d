import { contract } from "@holdfast/admin";
import { describe, expect, test } from "vitest";
import { askedCall, leavesOutSecret } from "./asked-call.ts";
import { commandLine } from "./command-line.ts";
import type { Operation } from "./contract.ts";

const instance = "6a1f7d0e-0000-4000-8000-000000000000";
const key = "6a1f7d0e-0000-4000-8000-000000000001";
const readAs = (name: keyof typeof contract, call: unknown, target: string) =>
  askedCall(call, contract[name], target);

describe("a call that approvers signed", () => {
  test("begins a form with every field of it, and asks only for secrets again", () => {
    const body = {
      regions: {
        a: { type: "local" },
        b: { type: "pkcs11", token: "kmip", rootKey: "crk", pin: { value: "(secret)" } },
      },
    };
    const call = { params: { instance }, query: {}, body };
    expect(leavesOutSecret(JSON.stringify(call))).toBe(true);
    expect(readAs("configureRoot", call, instance)).toEqual({
      params: { instance },
      target: instance,
      given: {
        regions: {
          a: { type: "local" },
          b: { type: "pkcs11", token: "kmip", rootKey: "crk", pin: { value: "" } },
        },
      },
    });
    const made = { query: {}, body: { name: "second", roles: ["manager"], days: 90 } };
    expect(leavesOutSecret(JSON.stringify(made))).toBe(false);
    expect(readAs("createToken", made, "second")).toEqual({
      ...{ params: {}, target: "second", given: made.body },
    });
  });

  test("is confirmed with what its approvers read: the name of the instance, or the key", () => {
    const forced = { params: { instance }, query: { force: "true", name: "kmip-aa" }, body: {} };
    expect(readAs("deleteInstance", forced, instance)).toMatchObject({
      target: "kmip-aa",
      given: { force: "true", name: "kmip-aa" },
    });
    const plain = { params: { instance, key }, query: {}, body: {} };
    expect(readAs("destroyKey", plain, `${instance}/${key}`).target).toBe(key);
  });
});

test("a field that was emptied is in the command too", () => {
  const operation = {
    command: contract.updateInstance.command,
    params: ["instance"],
    body: { properties: { name: {}, description: {} } },
  } as unknown as Operation;
  const request = { params: { instance: "kmip-aa" }, body: { description: "" } };
  expect(commandLine(operation, request)).toBe("holdfast instance update kmip-aa --description ''");
});
