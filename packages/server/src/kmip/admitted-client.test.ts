import { KmipError } from "@holdfast/kmip";
import { expect, test } from "vitest";
import { Passwords, PasswordsBusy } from "../access/passwords.ts";
import type { Admission } from "../access/trust.ts";
import { newHash } from "../base/password-hash.ts";
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
