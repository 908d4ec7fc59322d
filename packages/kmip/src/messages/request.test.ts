import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import {
  boolean,
  byteString,
  decode,
  encode,
  enumeration,
  type Item,
  integer,
  structure,
  textString,
} from "@holdfast/ttlv";
import { describe, expect, test } from "vitest";
import { KmipError, resultReasonOf } from "../schema/faults.ts";
import { type TagName, tags } from "../schema/tags.ts";
import { isVersion1, type Version, versions, within } from "../schema/version.ts";
import type { RequestMessage } from "./message.ts";
import { operationRow } from "./operations.ts";
import { decodeRequest, encodeRequest } from "./request.ts";
import { decodeResponse, encodeResponse } from "./response.ts";

const corpus =
  process.env["KMIP_CORPUS"] ?? join(import.meta.dirname, "../../../../../shared/oasis");
const goldenFile = join(corpus, "golden-encodings.json");

const t = (name: TagName): number => tags[name].tag;
const part = (name: TagName, ...items: readonly Item[]) => structure(t(name), items);

function versionItem(major: number, minor: number): Item {
  return part(
    "ProtocolVersion",
    integer(t("ProtocolVersionMajor"), major),
    integer(t("ProtocolVersionMinor"), minor),
  );
}

const versionOf = (version: Version): Item => {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return versionItem(major, minor);
};
const count = (n: number) => integer(t("BatchCount"), n);
const operation = (code: number) => enumeration(t("Operation"), code);
const batchId = (...bytes: readonly number[]) =>
  byteString(t("UniqueBatchItemID"), Uint8Array.from(bytes));
const payload = (...items: readonly Item[]) => part("RequestPayload", ...items);
const uniqueIdentifier = textString(t("UniqueIdentifier"), "id");
const get = part("BatchItem", operation(0x0a), payload(uniqueIdentifier));
const header = (version: Version, ...more: readonly Item[]) =>
  part("RequestHeader", versionOf(version), ...more, count(1));
const request = (...items: readonly Item[]) => part("RequestMessage", ...items);

function failure(message: Item): KmipError {
  try {
    decodeRequest(message);
  } catch (error) {
    if (error instanceof KmipError) return error;
    throw error;
  }
  throw new Error("the message decoded");
}

/** The Result Reason that a client gets for the fault of the only item. */
function itemReason(message: Item): string | undefined {
  const { version, items } = decodeRequest(message);
  const fault = items[0]?.fault?.fault;
  return fault && resultReasonOf(fault, version, operationRow(items[0]?.operation)?.errors);
}

/** The Result Reason of the fault of the message or of its only item. */
function reason(message: Item, version: Version): string | undefined {
  try {
    return itemReason(message);
  } catch (error) {
    if (error instanceof KmipError) return resultReasonOf(error.fault, error.version ?? version);
    throw error;
  }
}

describe("the protocol version", () => {
  test.each(versions)("%s is read from the header", (version) => {
    const message = decodeRequest(request(header(version), get));
    expect(message.version).toBe(version);
    expect(message.header).toEqual({ attestationTypes: [], credentials: [], batchCount: 1 });
    expect(message.items).toEqual([
      {
        operation: "Get",
        operationCode: 0x0a,
        extensions: [],
        payload: { uniqueIdentifier: "id" },
      },
    ]);
  });

  test.each<[number, number, Version, string]>([
    [1, 5, "1.4", "InvalidMessage"],
    [1, -1, "1.0", "InvalidMessage"],
    [1, 0x7fffffff, "1.4", "InvalidMessage"],
    [2, 2, "2.1", "UnsupportedProtocolVersion"],
    [3, 0, "2.1", "UnsupportedProtocolVersion"],
    [0, 9, "1.0", "InvalidMessage"],
    [-2, 0, "1.0", "InvalidMessage"],
    [0x7fffffff, 0, "2.1", "UnsupportedProtocolVersion"],
  ])("%i.%i is answered in %s with %s", (major, minor, version, answer) => {
    const error = failure(request(part("RequestHeader", versionItem(major, minor), count(1)), get));
    expect(error.fault).toBe("unsupportedProtocolVersion");
    expect(error.version).toBe(version);
    expect(resultReasonOf(error.fault, version)).toBe(answer);
  });

  test("is reported as unsupported even if a newer version has other fields", () => {
    const head = part("RequestHeader", versionItem(3, 0), integer(0x42ffff, 1), count(1));
    expect(failure(request(head, get)).fault).toBe("unsupportedProtocolVersion");
  });
});

describe("faults of the whole message", () => {
  const twoGets = (...ids: readonly (Item | undefined)[]) =>
    request(
      part("RequestHeader", versionOf("1.1"), count(ids.length)),
      ...ids.map((id) =>
        part("BatchItem", operation(0x0a), ...(id === undefined ? [] : [id]), payload()),
      ),
    );

  test.each<[string, Item, string]>([
    ["another structure", part("ResponseMessage", header("1.1"), get), "invalidMessage"],
    ["not a structure", integer(t("RequestMessage"), 1), "invalidMessage"],
    ["no header", request(get), "missingField"],
    ["nothing", request(), "missingField"],
    ["a header that is not a structure", request(integer(t("RequestHeader"), 1)), "invalidMessage"],
    ["no version", request(part("RequestHeader", count(1)), get), "missingField"],
    [
      "half a version",
      request(
        part("RequestHeader", part("ProtocolVersion", integer(t("ProtocolVersionMajor"), 1))),
        get,
      ),
      "missingField",
    ],
    ["no Batch Count", request(part("RequestHeader", versionOf("1.1")), get), "missingField"],
    [
      "a Batch Count too high",
      request(part("RequestHeader", versionOf("1.1"), count(2)), get),
      "invalidMessage",
    ],
    ["a Batch Count too low", request(header("1.1"), get, get), "invalidMessage"],
    ["no items", request(part("RequestHeader", versionOf("1.1"), count(0))), "invalidMessage"],
    ["a field twice", request(header("1.1", count(1)), get), "invalidMessage"],
    [
      "a known tag in a wrong place",
      request(header("1.1", uniqueIdentifier), get),
      "invalidMessage",
    ],
    [
      "a wrong type",
      request(header("1.1", textString(t("MaximumResponseSize"), "1")), get),
      "invalidMessage",
    ],
    [
      "Authentication without a Credential",
      request(header("1.1", part("Authentication")), get),
      "missingField",
    ],
    ["several items, the first without an ID", twoGets(undefined, batchId(1)), "missingField"],
    ["several items, the last without an ID", twoGets(batchId(1), undefined), "missingField"],
    [
      "several items with one ID",
      twoGets(batchId(1, 2), batchId(3), batchId(1, 2)),
      "invalidMessage",
    ],
  ])("are reported for %s", (_, message, fault) => {
    expect(failure(message).fault).toBe(fault);
  });

  test("after the version are answered in that version", () => {
    for (const version of versions) {
      const error = failure(request(part("RequestHeader", versionOf(version)), get));
      expect(error.version).toBe(version);
    }
  });

  test("do not include different IDs in a batch of several, or no ID in a batch of one", () => {
    const message = decodeRequest(twoGets(batchId(1, 2), batchId(), batchId(1)));
    expect(message.items.map((item) => item.uniqueBatchItemId)).toEqual([
      Uint8Array.of(1, 2),
      Uint8Array.of(),
      Uint8Array.of(1),
    ]);
    expect(decodeRequest(request(header("1.1"), get)).items[0]).not.toHaveProperty(
      "uniqueBatchItemId",
    );
  });
});

describe("header fields are accepted by version", () => {
  const fields: readonly [TagName, Item, Version][] = [
    ["ClientCorrelationValue", textString(t("ClientCorrelationValue"), "c"), "1.4"],
    ["ServerCorrelationValue", textString(t("ServerCorrelationValue"), "s"), "1.4"],
    ["AttestationCapableIndicator", boolean(t("AttestationCapableIndicator"), true), "1.2"],
    ["AttestationType", enumeration(t("AttestationType"), 1), "1.2"],
    ["MaximumResponseSize", integer(t("MaximumResponseSize"), 4096), "1.0"],
    ["BatchOrderOption", boolean(t("BatchOrderOption"), true), "1.0"],
    ["BatchErrorContinuationOption", enumeration(t("BatchErrorContinuationOption"), 3), "1.0"],
  ];
  const cases = fields.flatMap(([name, item, since]) =>
    versions.map((version) => [name, version, item, since] as const),
  );
  test.each(cases)("%s in %s", (_, version, item, since) => {
    const message = request(header(version, item), get);
    const expected = isVersion1(version) ? "InvalidField" : "UnknownTag";
    expect(reason(message, version)).toBe(within(version, since) ? undefined : expected);
  });

  test.each(versions)("Asynchronous Indicator of %s", (version) => {
    const asked = (item: Item) => decodeRequest(request(header(version, item), get)).header;
    const tag = t("AsynchronousIndicator");
    const truth = boolean(tag, true);
    const mandatory = enumeration(tag, 1);
    if (isVersion1(version)) {
      expect(asked(truth).asynchronousIndicator).toBe("Optional");
      expect(asked(boolean(tag, false)).asynchronousIndicator).toBe("Prohibited");
      expect(failure(request(header(version, mandatory), get)).fault).toBe("invalidMessage");
    } else {
      expect(asked(mandatory).asynchronousIndicator).toBe("Mandatory");
      expect(failure(request(header(version, truth), get)).fault).toBe("invalidMessage");
    }
  });

  test.each(versions)("Ephemeral of a batch item in %s", (version) => {
    const item = part("BatchItem", operation(0x0a), boolean(t("Ephemeral"), true), payload());
    const message = request(header(version), item);
    if (isVersion1(version)) expect(itemReason(message)).toBe("InvalidField");
    else expect(decodeRequest(message).items[0]?.ephemeral).toBe(true);
  });
});

describe("unknown tags are refused", () => {
  const unknown = integer(0x42ffff, 1);
  const vendor = textString(0x540001, "v");
  const places: readonly [string, (version: Version, item: Item) => Item][] = [
    ["message", (version, item) => request(header(version), item)],
    ["header", (version, item) => request(header(version, item), get)],
    [
      "batch item",
      (version, item) =>
        request(header(version), part("BatchItem", operation(0x0a), item, payload())),
    ],
    [
      "payload",
      (version, item) =>
        request(header(version), part("BatchItem", operation(0x0a), payload(item))),
    ],
    [
      "structure of a payload",
      (version, item) =>
        request(
          header(version),
          part(
            "BatchItem",
            operation(0x13),
            payload(part("RevocationReason", enumeration(t("RevocationReasonCode"), 1), item)),
          ),
        ),
    ],
  ];
  const cases = places.flatMap(([place, make]) =>
    versions.map((version) => [place, version, make] as const),
  );
  test.each(cases)("in a %s of %s", (_, version, make) => {
    const answer = isVersion1(version) ? "InvalidField" : "UnknownTag";
    expect(reason(make(version, unknown), version)).toBe(answer);
    expect(reason(make(version, vendor), version)).toBe(answer);
  });

  test("such as a field in an older version", () => {
    const offset = integer(t("OffsetItems"), 1);
    for (const version of versions) {
      const message = request(
        header(version),
        part(
          "BatchItem",
          operation(0x08),
          payload(offset, ...(isVersion1(version) ? [] : [part("Attributes")])),
        ),
      );
      expect(itemReason(message)).toBe(within(version, "1.3") ? undefined : "InvalidField");
    }
  });

  test("such as a field in a newer version", () => {
    const template = part("TemplateAttribute");
    const message = request(
      header("2.0"),
      part("BatchItem", operation(0x01), payload(enumeration(t("ObjectType"), 2), template)),
    );
    expect(itemReason(message)).toBe("UnknownTag");
  });
});

describe("Message Extension", () => {
  const extension = (critical: boolean) =>
    part(
      "MessageExtension",
      textString(t("VendorIdentification"), "Acme"),
      boolean(t("CriticalityIndicator"), critical),
      part("VendorExtension", textString(0x540001, "na")),
    );
  const item = (critical: boolean, ...id: readonly Item[]) =>
    part("BatchItem", operation(0x0a), ...id, payload(uniqueIdentifier), extension(critical));

  test.each(versions)("in %s is ignored, or rejects its item if it is critical", (version) => {
    const read = decodeRequest(request(header(version), item(false)));
    expect(read.items[0]).toMatchObject({
      payload: { uniqueIdentifier: "id" },
      extensions: [{ vendorIdentification: "Acme", criticalityIndicator: false }],
    });
    const message = request(header(version), item(true));
    expect(itemReason(message)).toBe("FeatureNotSupported");
    expect(decodeRequest(message).items[0]).not.toHaveProperty("payload");
    expect(decodeRequest(message).items[0]?.operation).toBe("Get");
  });

  test("that is critical rejects the other items of the batch too", () => {
    const head = part("RequestHeader", versionOf("1.1"), count(2));
    const { items } = decodeRequest(request(head, item(false, batchId(1)), item(true, batchId(2))));
    expect(items.map(({ fault }) => fault?.fault)).toEqual([
      "featureNotSupported",
      "featureNotSupported",
    ]);
  });

  test("without its fields is a fault of its item", () => {
    const broken = part("BatchItem", operation(0x0a), payload(), part("MessageExtension"));
    expect(itemReason(request(header("1.1"), broken))).toBe("InvalidMessage");
  });
});

describe("operations", () => {
  const asked = (version: Version, code: number, ...more: readonly Item[]) =>
    decodeRequest(request(header(version), part("BatchItem", operation(code), ...more))).items[0];
  const garbage = payload(integer(0x42ffff, 1));

  test.each<[string, Version, number, string | undefined]>([
    ["a code of no version", "2.1", 0x7777, undefined],
    ["a code of the extension range", "2.1", 0x80000001, undefined],
    ["known, not implemented", "1.4", 0x04, "ReKey"],
    ["before its version", "1.0", 0x1e, "DiscoverVersions"],
    ["before 2.0", "1.4", 0x31, "SetAttribute"],
    ["before 2.1, not implemented", "2.0", 0x3b, "Ping"],
  ])("are not supported, and the payload is not read: %s", (_, version, code, name) => {
    const item = asked(version, code, batchId(7), garbage);
    expect(item?.fault?.fault).toBe("operationNotSupported");
    expect(item?.operation).toBe(name);
    expect(item?.operationCode).toBe(code);
    expect(item?.uniqueBatchItemId).toEqual(Uint8Array.of(7));
    expect(item).not.toHaveProperty("payload");
  });

  test("that do not decode keep what can be echoed", () => {
    const noPayload = asked("1.2", 0x0a, batchId(7));
    expect(noPayload?.fault?.fault).toBe("missingField");
    expect(noPayload).toMatchObject({ operation: "Get", uniqueBatchItemId: Uint8Array.of(7) });
    const nameless = decodeRequest(request(header("1.2"), part("BatchItem", payload())));
    expect(nameless.items[0]?.fault?.fault).toBe("missingField");
    expect(nameless.items[0]?.operation).toBeUndefined();
  });

  test("are not affected by a fault of another item", () => {
    const head = part("RequestHeader", versionOf("1.1"), count(2));
    const wrong = part("BatchItem", operation(0x0a), batchId(1), garbage);
    const right = part("BatchItem", operation(0x0a), batchId(2), payload(uniqueIdentifier));
    const { items } = decodeRequest(request(head, wrong, right));
    expect(items[0]?.fault?.fault).toBe("unknownTag");
    expect(items[1]?.payload).toEqual({ uniqueIdentifier: "id" });
  });

  test.each<[string, Version, number, readonly Item[], string | undefined]>([
    ["Query without a function", "1.1", 0x18, [], "InvalidMessage"],
    [
      "Query of an unknown function, which is not answered",
      "1.1",
      0x18,
      [enumeration(t("QueryFunction"), 0x99)],
      undefined,
    ],
    ["the same in 2.x", "2.1", 0x18, [enumeration(t("QueryFunction"), 0x99)], undefined],
    [
      "a function before its version, which is not answered",
      "1.0",
      0x18,
      [enumeration(t("QueryFunction"), 5)],
      undefined,
    ],
    ["unknown bits in a mask", "1.1", 0x08, [integer(t("StorageStatusMask"), 8)], "InvalidField"],
    [
      "Destroyed Storage before 2.0",
      "1.4",
      0x08,
      [integer(t("StorageStatusMask"), 4)],
      "InvalidField",
    ],
    [
      "an identifier as an enumeration in 1.x",
      "1.4",
      0x0a,
      [enumeration(t("UniqueIdentifier"), 1)],
      "InvalidMessage",
    ],
    ["Delete Attribute without a name in 1.x", "1.4", 0x0f, [], "InvalidMessage"],
    [
      "an object type that the version lacks",
      "2.0",
      0x01,
      [enumeration(t("ObjectType"), 6)],
      "UnknownEnumeration",
    ],
  ])("get the right reason: %s", (_, version, code, items, answer) => {
    const message = request(header(version), part("BatchItem", operation(code), payload(...items)));
    expect(itemReason(message)).toBe(answer);
  });
});

describe.runIf(existsSync(goldenFile))("messages printed by OASIS (needs KMIP_CORPUS)", () => {
  interface Golden {
    readonly file: string;
    readonly index: number;
    readonly kind: string;
    readonly ttlv_in_file: string;
  }
  const golden = existsSync(goldenFile)
    ? (JSON.parse(readFileSync(goldenFile, "utf8")) as { messages: readonly Golden[] }).messages
    : [];
  const cases = golden.map((one) => [`${one.file} ${one.index}`, one] as const);

  test.each(cases)("are decoded and encoded unchanged: %s", (_, { kind, ttlv_in_file: hex }) => {
    const item = decode(Buffer.from(hex, "hex"));
    const again =
      kind === "RequestMessage"
        ? repeat(decodeRequest(item))
        : encodeResponse(decodeResponse(item));
    expect(Buffer.from(encode(again)).toString("hex")).toBe(hex.toLowerCase());
  });

  function repeat({ version, header: head, items }: RequestMessage): Item {
    return encodeRequest({
      version,
      header: head,
      items: items.map(({ operation: name, payload: body }) => {
        if (name === undefined) throw new Error("an operation has no row");
        return { operation: name, payload: body };
      }),
    });
  }
});

if (!existsSync(goldenFile)) {
  test.skip("messages printed by OASIS (needs golden-encodings.json in KMIP_CORPUS)", () => {});
}
