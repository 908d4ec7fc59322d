import {
  attributes,
  decodeResponse,
  encodeRequest,
  type ImplementedOperation,
  isVersion1,
  type Version,
  vendorAttribute,
  versions,
  within,
} from "@holdfast/kmip";
import { decode, encode, textString } from "@holdfast/ttlv";
import { beforeEach, expect, test } from "vitest";
import { aesKey } from "../testing/test-attributes.ts";
import { type TestEngine, testEngine } from "../testing/test-engine.ts";
import { is } from "../testing/test-locate.ts";

let engine: TestEngine;
let uniqueIdentifier: string;

beforeEach(async () => {
  engine = await testEngine();
});

const site = { item: vendorAttribute("x", "Site", textString(0, "here".repeat(100))) };
const sites = { tag: attributes.VendorAttribute.tag, key: "x\0Site" };
const group = is("ObjectGroup", "g");
const limits = is("UsageLimits", { total: 1000n, unit: "Byte" });

interface Change {
  readonly what: string;
  readonly operation: ImplementedOperation;
  readonly payload: () => object;
  /** What the object has before. */
  readonly before?: object;
  /** The first version that has the operation. */
  readonly since?: Version;
}

const adding = (newAttribute: object) => ({
  operation: "AddAttribute" as const,
  payload: () => ({ uniqueIdentifier, newAttribute }),
});

const changes: readonly Change[] = [
  { what: "Create", operation: "Create", payload: () => aesKey() },
  { what: "Activate", operation: "Activate", payload: () => ({ uniqueIdentifier }) },
  { what: "Destroy", operation: "Destroy", payload: () => ({ uniqueIdentifier }) },
  { what: "Add Attribute", ...adding(site) },
  { what: "Add Attribute of Usage Limits", ...adding(limits) },
  { what: "Add Attribute of a second value", ...adding(group), before: is("ObjectGroup", "f") },
  {
    what: "Modify Attribute",
    operation: "ModifyAttribute",
    payload: () => ({ uniqueIdentifier, newAttribute: is("ContactInformation", "Joe") }),
    before: is("ContactInformation", "J"),
  },
  {
    what: "Set Attribute",
    operation: "SetAttribute",
    payload: () => ({ uniqueIdentifier, newAttribute: limits }),
    since: "2.0",
  },
  {
    what: "Delete Attribute",
    operation: "DeleteAttribute",
    payload: () => ({ uniqueIdentifier, reference: sites }),
    before: site,
  },
];

async function records(): Promise<readonly string[]> {
  const page = await engine.store.find("i", { live: true, destroyed: true, limit: 100 });
  return page.objects.map(({ tag }) => tag);
}

const batchId = Uint8Array.from({ length: 1000 }, (_, at) => at & 0xff);

/** The length of the answer to one change, and whether it was made. */
async function tried(
  version: Version,
  { operation, payload, before }: Change,
  maximumResponseSize: number,
) {
  const made = await engine.ask("2.1", "Create", aesKey());
  uniqueIdentifier = made.uniqueIdentifier;
  if (before !== undefined) {
    await engine.ask("2.1", "AddAttribute", { uniqueIdentifier, newAttribute: before });
  }
  const request = encodeRequest({
    version,
    header: { maximumResponseSize },
    items: [{ operation, payload: payload(), uniqueBatchItemId: batchId }],
  });
  const stored = await records();
  const bytes = await engine.engine.execute(encode(request), engine.client, "request-1");
  const [item] = decodeResponse(decode(bytes)).items;
  const changed = JSON.stringify(await records()) !== JSON.stringify(stored);
  return { bytes: bytes.length, reason: item?.reason, changed };
}

const cases = changes.flatMap((change) =>
  versions
    .filter((version) => within(version, change.since))
    .map((version) => [change.what, version, change] as const),
);

test.each(cases)(
  "%s in KMIP %s is made if its answer fits, and only then",
  async (_, version, change) => {
    const { bytes, changed, reason } = await tried(version, change, 1 << 20);
    expect({ changed, reason }).toEqual({ changed: true, reason: undefined });
    // In 1.x the room for an Attribute Index is needed, although an index of 0 is left out.
    const indexBytes = isVersion1(version) && change.what.includes("Attribute") ? 16 : 0;
    expect(await tried(version, change, bytes + indexBytes)).toMatchObject({
      bytes,
      changed: true,
    });
    const refused = await tried(version, change, bytes - 8);
    expect(refused).toMatchObject({ changed: false, reason: "ResponseTooLarge" });
  },
);
