import { byteString, enumeration, structure, textString } from "@holdfast/ttlv";
import { describe, expect, test } from "vitest";
import { KmipError } from "../schema/faults.ts";
import { tags } from "../schema/tags.ts";
import { type Version, versions, within } from "../schema/version.ts";
import { type Credential, credential } from "./credential.ts";

const secret = "hunter2hunter2";
const bytes = new TextEncoder().encode(secret);

const credentials: readonly [Version, Credential][] = [
  ["1.0", { type: "UsernameAndPassword", username: "u", password: secret }],
  ["1.0", { type: "UsernameAndPassword", username: "u" }],
  ["1.1", { type: "Device", deviceSerialNumber: "1", password: secret, mediaIdentifier: "m" }],
  [
    "1.2",
    {
      type: "Attestation",
      nonce: { id: Uint8Array.of(1), value: Uint8Array.of(2) },
      attestationType: "TPMQuote",
      measurement: bytes,
    },
  ],
  ["2.0", { type: "OneTimePassword", username: "u", oneTimePassword: secret }],
  ["2.0", { type: "HashedPassword", username: "u", timeStamp: 1n, hashedPassword: bytes }],
  ["2.0", { type: "Ticket", ticket: { type: "Login", value: bytes } }],
  ["1.0", { type: "0x80000001", value: byteString(tags.CredentialValue.tag, bytes) }],
];

const tag = tags.Credential.tag;

describe("every Credential Type is read and written", () => {
  const cases = credentials.flatMap(([since, one]) =>
    versions.map((version) => [one.type, version, since, one] as const),
  );
  test.each(cases)("%s in %s, if the version has it", (_, version, since, one) => {
    if (within(version, since)) {
      const item = credential.encode(tag, one, version);
      expect(item && credential.decode(item, version)).toEqual(one);
    } else {
      const item = credential.encode(tag, one, "2.1");
      expect(() => item && credential.decode(item, version)).toThrow(KmipError);
    }
  });
});

test("faults name fields, never values", () => {
  const value = (...items: Parameters<typeof structure>[1]) =>
    structure(tag, [
      enumeration(tags.CredentialType.tag, 1),
      structure(tags.CredentialValue.tag, items),
    ]);
  const user = textString(tags.Username.tag, "u");
  const broken = [
    [
      value(textString(tags.Password.tag, secret)),
      "missingField",
      "Username is missing in Credential Value",
    ],
    [
      value(user, byteString(tags.Password.tag, bytes)),
      "invalidMessage",
      "Password must be of type Text String",
    ],
    [
      value(user, textString(tags.OneTimePassword.tag, secret)),
      "unknownTag",
      "One Time Password is not known in KMIP 1.1",
    ],
    [value(user, user), "invalidMessage", "Username occurs twice in Credential Value"],
  ] as const;
  for (const [item, fault, message] of broken) {
    expect(() => credential.decode(item, "1.1")).toThrow(new KmipError(fault, message));
  }
});
