import type { SystemRecord } from "@holdfast/engine";
import { KmipError } from "@holdfast/kmip";
import { expect, test } from "vitest";
import { Passwords, PasswordsBusy } from "../access/passwords.ts";
import type { Admission } from "../access/trust.ts";
import { newHash } from "../base/password-hash.ts";
import { RecordedUsers } from "../management/users/recorded-users.ts";
import { AdmittedClient } from "./admitted-client.ts";

const hash = { ...newHash(true), salt: Buffer.alloc(16), hash: Buffer.alloc(32) };
const users = new Map([["vc", hash]]);
const admission: Admission = {
  instance: { id: "i", name: "n", users },
  fingerprint: "00",
  subject: "CN=x",
  notBeforeMs: 0,
  notAfterMs: 1,
};

/** Fails in a way that the machine of the test may not show: FIPS mode, or a high load. */
class FailingPasswords extends Passwords {
  readonly #error: Error;

  constructor(error: Error) {
    super();
    this.#error = error;
  }

  override verify(): Promise<boolean> {
    return Promise.reject(this.#error);
  }
}

test.each([
  [
    "that cannot be checked in FIPS mode is",
    new KmipError("authenticationNotSuccessful", "no"),
    ["vc"],
  ],
  ["that waits too long is not", new PasswordsBusy("busy"), []],
])("a password %s counted among the refused ones", async (_, error, counted) => {
  const refused: string[] = [];
  const client = new AdmittedClient(admission, {
    passwords: new FailingPasswords(error),
    refused: (_who, name) => refused.push(name),
  });
  await expect(client.verifyPassword?.("vc", "guess")).rejects.toBe(error);
  expect(refused).toEqual(counted);
});

test("a user that is deleted while it is connected may do nothing more", () => {
  const record: SystemRecord<"User"> = {
    ...({ type: "User", id: "u", instance: "i", name: "vc", destroyed: undefined } as const),
    ...{ hash: "sealed", setMs: 1, setBy: "t", operations: undefined },
  };
  const recorded = (...records: readonly SystemRecord<"User">[]) =>
    new RecordedUsers("i", records, { open: () => Promise.reject(new Error("not used")) });
  const instance = { ...admission.instance, users: recorded({ ...record, operations: ["Get"] }) };
  const passwords = new FailingPasswords(new Error("not used"));
  const client = new AdmittedClient(
    { ...admission, instance },
    { passwords, refused: () => undefined },
  );
  expect(client.operationsOf("vc")).toEqual(new Set(["Get"]));
  expect(client.operationsOf("nobody")).toEqual(new Set());
  // Each item of a batch asks.
  for (const user of ["vc", "nobody"]) {
    expect(client.operationsOf(user)).toBe(client.operationsOf(user));
  }
  const other = { ...record, id: "o", name: "other" };
  for (const left of [[other], []]) {
    instance.users = recorded(...left);
    expect(client.operationsOf("vc")).toEqual(new Set());
  }
  expect(client.verifyPassword).toBeUndefined();
  instance.users = recorded(record);
  expect(client.operationsOf("vc")).toBeUndefined();
});
