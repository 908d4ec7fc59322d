import { createPublicKey, ECDH, generateKeyPairSync } from "node:crypto";
import { type Approver, policyFault, policyText, readSignatures, signersOf } from "@holdfast/admin";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ApprovalWorld, refusal } from "../testing/approval-world.ts";
import { approversNamed, policyWith, signedBy } from "../testing/approvals.ts";
import { keyText, newAuthenticator, type TestAuthenticator } from "../testing/authenticators.ts";

const text = "holdfast-approval-1\nsome request\n";
const erin = newAuthenticator("erin");

/** Whether a line signs a text with a key. */
function counts(line: string, { name, key }: Approver = erin, of = text): boolean {
  const lines = readSignatures(line);
  return typeof lines !== "string" && signersOf(of, [{ name, key }], lines).length === 1;
}

describe("a signature of an authenticator", () => {
  test("counts for its text, with ES256 and with RS256, at the host and at hosts below it", () => {
    expect(counts(erin.sign(text))).toBe(true);
    const hello = newAuthenticator("hello", "kms.example", "rsa");
    expect(counts(hello.sign(text), hello)).toBe(true);
    expect(counts(erin.sign(text, { client: { origin: "https://a1.kms.example" } }))).toBe(true);
    expect(counts(erin.sign(text, { client: { crossOrigin: undefined } }))).toBe(true);
    const reasoned = erin.sign(text, { reason: "two approvers are ill" });
    expect(counts(reasoned)).toBe(true);
    expect(counts(reasoned.replace(/ [^ ]*$/, " nothing"))).toBe(false);
  });

  test("does not count for another text, key, site or ceremony, or where nobody was verified", () => {
    expect(counts(erin.sign("another text\n"))).toBe(false);
    expect(counts(erin.sign(text), erin, "another text\n")).toBe(false);
    const eve = newAuthenticator("eve");
    expect(counts(eve.sign(text).replace(eve.key, erin.key))).toBe(false);
    expect(counts(erin.sign(text, { relyingParty: "evil.example" }))).toBe(false);
    for (const flags of [0, 0b001, 0b100]) {
      expect(counts(erin.sign(text, { flags })), `flags ${flags}`).toBe(false);
    }
    const wrong: readonly Readonly<Record<string, unknown>>[] = [
      { type: "webauthn.create" },
      { type: undefined },
      { challenge: "" },
      { crossOrigin: true },
      { topOrigin: "https://evil.example" },
      ...["https://evil.example", "http://kms.example", "https://evilkms.example", 7].map(
        (origin) => ({ origin }),
      ),
      { origin: "https://kms.example.evil.example" },
      { origin: "https://evil.example/https://kms.example" },
    ];
    for (const client of wrong) {
      expect(counts(erin.sign(text, { client })), JSON.stringify(client)).toBe(false);
    }
  });

  test("does not count once a bit of it is another one, and nothing is thrown", () => {
    const [head = "", key = "", assertion = ""] = erin.sign(text).split(" ");
    const parts = assertion.split(".").map((part) => Buffer.from(part, "base64url"));
    const bits = parts.flatMap((part, at) =>
      Array.from({ length: part.length * 8 }, (_, bit) => [at, bit] as const),
    );
    fc.assert(
      fc.property(fc.constantFrom(...bits), ([at, bit]) => {
        const changed = parts.map((part) => Buffer.from(part));
        const part = changed[at] as Buffer;
        part[bit >> 3] = (part[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        const text64 = changed.map((each) => each.toString("base64url")).join(".");
        return !counts([head, key, text64].join(" "));
      }),
    );
    fc.assert(
      fc.property(fc.string({ maxLength: 300 }), fc.nat({ max: 900 }), (noise, at) => {
        const line = erin.sign(text);
        return !counts(`${line.slice(0, at)}${noise}x${line.slice(at)}`);
      }),
    );
  });
});

test("a policy takes only keys with one name each, of the algorithms that browsers offer", () => {
  const [alice, bob] = approversNamed("alice", "bob") as unknown as readonly [Approver, Approver];
  const fault = (key: string) => policyFault(policyWith([alice, bob, { name: "erin", key }]));
  expect(fault(erin.key)).toBeUndefined();
  const elsewhere = { name: "frank", key: erin.key.replace("kms.example", "other.example") };
  expect(policyFault(policyWith([alice, erin, elsewhere]))).toContain("one key is named twice");
  const spki = Buffer.from(erin.key.split(":")[2] ?? "", "base64url");
  const point = ECDH.convertKey(
    spki.subarray(26),
    "prime256v1",
    undefined,
    undefined,
    "compressed",
  );
  const header = Buffer.from("3039301306072a8648ce3d020106082a8648ce3d030107032200", "hex");
  const compressed = Buffer.concat([header, point as Buffer]);
  // It is the same key.
  expect(
    createPublicKey({ key: compressed, format: "der", type: "spki" }).equals(
      createPublicKey({ key: spki, format: "der", type: "spki" }),
    ),
  ).toBe(true);
  const of = (key: Buffer) => `webauthn:kms.example:${key.toString("base64url")}`;
  const others = [
    generateKeyPairSync("ec", { namedCurve: "P-384" }),
    generateKeyPairSync("ed25519"),
  ].map(({ publicKey }) => keyText("kms.example", publicKey));
  // Of RSA with 1,024 bits, secp256k1 and X25519, of which OpenSSL's FIPS provider makes none.
  const unapproved = [
    "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDi5JamiieyUEDw5dZXxbER9EdcZ6H9ywyomrWSGh9Vww8HHMxVk7mFZzOl6yZy02UQndvUufFaiM9XM1kb-SP-84m__TRqDU8fjt6EZvnKnwzlIwn8Kl_F2OJZBDi8f6KYSwtOsbKQezLsBxGbM6TrtKHI1pzOU4c40cpPRdvf2wIDAQAB",
    "MFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAEsqNShKO3UBHFHZNc99ykSsoiSOP0rePMNb7NJF2VaCF6_RtYdHux8IBdAfx3aomEd8IIW6dfeO6bU-N1ak-VPw",
    "MCowBQYDK2VuAyEAZTSaLlMfRhWhkebSDWL-6XKnKntW50iSit-LdV-2QQ0",
  ].map((key) => `webauthn:kms.example:${key}`);
  const wrong = [
    of(compressed),
    of(Buffer.concat([spki, Buffer.of(0)])),
    of(spki.subarray(0, -1)),
    `${erin.key}=`,
    erin.key.replace("kms.example", "KMS.example"),
    erin.key.replace("kms.example", "kms..example"),
    erin.key.replace("kms.example", ""),
    erin.key.replace("webauthn:", ""),
    ...others,
    ...unapproved,
  ];
  for (const key of wrong) {
    expect(fault(key), key).toBe("erin: must be a name and a public key");
  }
});

describe("a policy with authenticators", () => {
  let world: ApprovalWorld;

  beforeEach(() => {
    world = new ApprovalWorld();
  });
  afterEach(() => world[Symbol.asyncDispose]());

  const manager = { body: { name: "second", roles: ["manager"], days: 90 } };

  test("is begun, asked, signed and used as one with keys in files, in both regions", async () => {
    const frank = newAuthenticator("frank", "kms.example", "rsa");
    const [alice] = world.approvers;
    const policy = policyWith([alice, erin, frank]);
    const all = (of: string, by: readonly TestAuthenticator[]) =>
      [signedBy(of, [alice]), ...by.map((one) => one.sign(of))].join("\n");
    const begun = policyText(policy);
    await world.write(begun, all(begun, [erin, frank]), Date.now() - 1000);
    const approval = await world.asked("createToken", manager);
    const document = await world.document(approval);
    const request = document.slice(0, document.indexOf("\n\n") + 1);
    const hand = (signatures: string) =>
      world.b.call("signApproval", { params: { approval }, body: { signatures } });
    const unverified = erin.sign(request, { flags: 0b001 });
    expect(await refusal(hand(unverified))).toContain("signature of erin is not of this request");
    await hand(erin.sign(request));
    await world.see();
    const use = () => world.a.call("createToken", manager, { approval });
    expect(await refusal(use())).toContain("1 of 2 approvers have signed");
    await hand(frank.sign(request));
    await world.see();
    const { state, signedBy: signers } = await world.a.call("readApproval", {
      params: { approval },
    });
    expect([state, signers.map(({ name }) => name).toSorted()]).toEqual([
      "approved",
      ["erin", "frank"],
    ]);
    await use();
  });

  test("is not begun without the admission of each of its keys", async () => {
    const [alice, bob] = world.approvers;
    const text = policyText(policyWith([alice, bob, erin]));
    await world.write(text, signedBy(text, [alice, bob]), Date.now() - 1000);
    expect((await world.a.call("readApprovalPolicy", {})).items).toEqual([]);
  });
});
