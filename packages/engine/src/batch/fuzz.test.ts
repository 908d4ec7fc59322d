import {
  attributeItem,
  type ClientRequestItem,
  decodeResponse,
  encodeRequest,
  type ImplementedOperation,
  type OperationRow,
  objectItem,
  operations,
  tags,
  type Version,
  versions,
  within,
} from "@holdfast/kmip";
import { byteString, decode, encode, textString } from "@holdfast/ttlv";
import fc from "fast-check";
import { expect, test } from "vitest";
import { aesKey, attributeSet, named } from "../testing/test-attributes.ts";
import { nameDer, testCertificate } from "../testing/test-certificate.ts";
import { testEngine } from "../testing/test-engine.ts";

const seed = 20261125;
const uniqueIdentifier = "11111111-1111-4111-8111-111111111111";
const name = nameDer([["2.5.4.3", "c"]]);
const value = textString(tags.AttributeValue.tag, "v");
const vendor = attributeItem("VendorAttribute", { vendorIdentification: "x", name: "n", value });
const key = objectItem("SymmetricKey", {
  keyBlock: {
    keyFormatType: "Raw",
    keyValue: { keyMaterial: byteString(tags.KeyMaterial.tag, new Uint8Array(16)) },
    cryptographicAlgorithm: "AES",
    cryptographicLength: 128,
  },
});
const certificate = objectItem("Certificate", {
  certificateType: "X_509",
  certificateValue: testCertificate({ issuer: name, subject: name, serialNumber: Buffer.of(1) }),
});
const everything = attributeSet({
  Name: named("n"),
  CryptographicAlgorithm: "AES",
  CryptographicLength: 128,
  CryptographicUsageMask: 0x0c,
  ActivationDate: 1_700_000_000,
  DeactivationDate: 1_900_000_000,
  UsageLimits: { total: 5n, unit: "Object" },
  ObjectGroup: "g",
  Link: { type: "PublicKeyLink", linkedObjectIdentifier: uniqueIdentifier },
  ApplicationSpecificInformation: { namespace: "s", data: "d" },
  ContactInformation: "c",
});

/** At least one request of every operation. */
const samples: readonly (readonly [ImplementedOperation, unknown])[] = [
  ["Create", { objectType: "SymmetricKey", attributes: everything }],
  ["Create", aesKey()],
  ["Register", { objectType: "SymmetricKey", attributes: attributeSet({}), object: key }],
  ["Register", { objectType: "Certificate", attributes: attributeSet({}), object: certificate }],
  ["Get", {}],
  ["Get", { keyFormatType: "TransparentSymmetricKey" }],
  ["GetAttributes", { references: [] }],
  ["GetAttributes", { references: [{ tag: tags.State.tag, key: "" }] }],
  ["GetAttributeList", {}],
  ["AddAttribute", { newAttribute: { item: vendor } }],
  ["ModifyAttribute", { newAttribute: { item: attributeItem("ContactInformation", "d") } }],
  ["SetAttribute", { newAttribute: { item: attributeItem("ContactInformation", "e") } }],
  [
    "AdjustAttribute",
    { reference: { tag: tags.UsageLimits.tag, key: "" }, adjustmentType: "Increment" },
  ],
  ["DeleteAttribute", { reference: { tag: tags.ContactInformation.tag, key: "" } }],
  ["Locate", { maximumItems: 3, attributes: [{ item: attributeItem("Name", named("n")) }] }],
  ["Check", { cryptographicUsageMask: 4, usageLimitsCount: 1n, leaseTime: 5 }],
  ["Activate", {}],
  ["Revoke", { revocationReason: { code: "KeyCompromise", message: "m" } }],
  ["Destroy", {}],
  ["Query", { queryFunctions: ["QueryOperations", "QueryServerInformation"] }],
  ["DiscoverVersions", { versions: [{ major: 1, minor: 1 }] }],
  ["Log", { logMessage: "m" }],
  ["Interop", { interopFunction: "Begin", interopIdentifier: "i" }],
];

function has(version: Version, operation: ImplementedOperation): boolean {
  const row: OperationRow = operations[operation];
  return within(version, row.since, row.until);
}

/** A batch of everything that a version has, with one of the three continuation options. */
function batch(version: Version, option: "Stop" | "Continue" | "Undo"): Uint8Array {
  const items = samples
    .filter(([operation]) => has(version, operation))
    .map(
      ([operation, payload], at): ClientRequestItem => ({
        operation,
        payload,
        uniqueBatchItemId: Uint8Array.of(at),
      }),
    );
  return encode(
    encodeRequest({ version, header: { batchErrorContinuationOption: option }, items }),
  );
}

const requests = versions.flatMap((version) =>
  (["Continue", "Undo", "Stop"] as const).map((option) => batch(version, option)),
);

test("the samples include every operation", () => {
  const all = Object.keys(operations).filter((operation) => {
    const row: OperationRow = operations[operation as ImplementedOperation];
    return row.request !== undefined;
  });
  const sampled = new Set(samples.map(([operation]): string => operation));
  expect(all.filter((operation) => !sampled.has(operation))).toEqual([]);
});

test("complete batches of every version are answered item by item", async () => {
  const engine = await testEngine({ interop: true });
  for (const version of versions) {
    const bytes = await engine.engine.execute(batch(version, "Continue"), engine.client, "r");
    const { items } = decodeResponse(decode(bytes));
    const asked = samples.filter(([operation]) => has(version, operation));
    expect(items.map(({ operation }) => operation)).toEqual(asked.map(([operation]) => operation));
    expect(items.filter(({ message }) => message === "internal error")).toEqual([]);
  }
});

test(`broken batches are answered, and none causes an internal error (seed ${seed})`, async () => {
  const engine = await testEngine({ interop: true });
  const edit = fc.tuple(
    fc.nat(10_000),
    fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 2, 5, 7, 8, 0x7f, 0xff)),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...requests),
      fc.array(edit, { minLength: 1, maxLength: 5 }),
      async (request, edits) => {
        const bytes = Uint8Array.from(request);
        for (const [at, byte] of edits) bytes[at % bytes.length] = byte;
        engine.events.length = 0;
        const response = decode(await engine.engine.execute(bytes, engine.client, "r"));
        expect(decodeResponse(response).items.length).toBeGreaterThan(0);
        const inside = engine.events.filter(
          (event) => event.type === "operation" && event.result === "GeneralFailure",
        );
        expect(inside).toEqual([]);
      },
    ),
    { seed, numRuns: 1500 },
  );
});
