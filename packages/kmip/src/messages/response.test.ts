import { type Item, ItemType } from "@holdfast/ttlv";
import { describe, expect, test } from "vitest";
import { attributeItem } from "../attributes/attribute.ts";
import { KmipError } from "../schema/faults.ts";
import { tagNameOf } from "../schema/tag-lookup.ts";
import { tags } from "../schema/tags.ts";
import { isVersion1, type Version, versions, within } from "../schema/version.ts";
import type { ResponseItem, ResponseMessage } from "./message.ts";
import { decodeResponse, encodeResponse } from "./response.ts";

const timeStamp = 1_700_000_000;

function message(version: Version, ...items: readonly ResponseItem[]): ResponseMessage {
  return { version, timeStamp, items };
}

const children = (item: Item | undefined): readonly Item[] =>
  item?.type === ItemType.Structure ? item.value : [];
const names = (item: Item | undefined) => children(item).map(({ tag }) => tagNameOf(tag));
const child = (item: Item | undefined, tag: number) =>
  children(item).find((one) => one.tag === tag);

function answered(version: Version, item: ResponseItem): Item | undefined {
  return child(encodeResponse(message(version, item)), tags.BatchItem.tag);
}

describe("the response header", () => {
  test.each(versions)("has only fields of %s", (version) => {
    const header = child(
      encodeResponse({
        ...message(version, { status: "OperationFailed", reason: "InvalidMessage" }),
        clientCorrelationValue: "c",
        serverCorrelationValue: "s",
        attestationTypes: ["TPMQuote"],
        nonce: { id: Uint8Array.of(1), value: Uint8Array.of(2) },
      }),
      tags.ResponseHeader.tag,
    );
    expect(names(header)).toEqual([
      "ProtocolVersion",
      "TimeStamp",
      ...(within(version, "1.2") ? ["Nonce", "AttestationType"] : []),
      ...(within(version, "1.4") ? ["ClientCorrelationValue", "ServerCorrelationValue"] : []),
      "BatchCount",
    ]);
  });
});

describe("a response batch item", () => {
  const id = Uint8Array.of(0x51, 0x4c, 0x4b, 0x43, 1, 0, 0, 0);

  test.each([[undefined], [{ leaseTime: 9000 }]])("of a failure, payload %j", (payload) => {
    const item = answered("1.1", {
      operation: "Check",
      uniqueBatchItemId: id,
      status: "OperationFailed",
      reason: "PermissionDenied",
      message: "a lease is at most 3600 s",
      payload,
    });
    expect(names(item)).toEqual([
      "Operation",
      "UniqueBatchItemID",
      "ResultStatus",
      "ResultReason",
      "ResultMessage",
      ...(payload === undefined ? [] : ["ResponsePayload"]),
    ]);
    expect(child(item, tags.UniqueBatchItemID.tag)?.value).toEqual(id);
  });

  test("of a failure before any operation was read has no operation", () => {
    const item = answered("1.0", { status: "OperationFailed", reason: "InvalidMessage" });
    expect(names(item)).toEqual(["ResultStatus", "ResultReason"]);
  });

  test("echoes the code of an unknown operation", () => {
    const item = answered("1.0", {
      operationCode: 0x7777,
      status: "OperationFailed",
      reason: "OperationNotSupported",
    });
    expect(child(item, tags.Operation.tag)?.value).toBe(0x7777);
  });

  test("of a success has neither reason nor message", () => {
    const item = answered("2.1", {
      operation: "Activate",
      status: "Success",
      reason: "GeneralFailure",
      message: "fine",
      payload: { uniqueIdentifier: "id" },
    });
    expect(names(item)).toEqual(["Operation", "ResultStatus", "ResponsePayload"]);
  });

  test.each(["Log", "Interop"] as const)("of a success of %s has an empty payload", (operation) => {
    const item = answered("2.1", { operation, status: "Success" });
    expect(children(child(item, tags.ResponsePayload.tag))).toEqual([]);
    expect(names(item)).toContain("ResponsePayload");
  });

  test("that was undone keeps its payload", () => {
    const item = answered("1.4", {
      operation: "Activate",
      status: "OperationUndone",
      payload: { uniqueIdentifier: "id" },
    });
    expect(names(item)).toEqual(["Operation", "ResultStatus", "ResponsePayload"]);
    const none = answered("1.4", { operation: "Activate", status: "OperationUndone" });
    expect(names(none)).toEqual(["Operation", "ResultStatus"]);
  });

  test("that is pending has its correlation value", () => {
    const item = answered("1.4", {
      operation: "Activate",
      status: "OperationPending",
      asynchronousCorrelationValue: Uint8Array.of(1),
    });
    expect(names(item)).toEqual(["Operation", "ResultStatus", "AsynchronousCorrelationValue"]);
  });
});

describe("response payloads by version", () => {
  const payloadOf = (version: Version, item: ResponseItem) =>
    child(answered(version, item), tags.ResponsePayload.tag);

  test.each(versions)("Register in %s returns only the identifier", (version) => {
    const payload = { uniqueIdentifier: "id", objectType: "SymmetricKey" };
    const item = payloadOf(version, { operation: "Register", status: "Success", payload });
    expect(names(item)).toEqual(["UniqueIdentifier"]);
  });

  test.each(versions)("Locate in %s returns the count from 1.3 on", (version) => {
    const payload = { locatedItems: 1, uniqueIdentifiers: ["id"] };
    const item = payloadOf(version, { operation: "Locate", status: "Success", payload });
    expect(names(item)).toEqual([
      ...(within(version, "1.3") ? ["LocatedItems"] : []),
      "UniqueIdentifier",
    ]);
  });

  test.each(versions)("Add Attribute in %s returns the attribute in 1.x only", (version) => {
    const attribute = { item: attributeItem("CryptographicLength", 256) };
    const payload = { uniqueIdentifier: "id", attribute };
    const item = payloadOf(version, { operation: "AddAttribute", status: "Success", payload });
    expect(names(item)).toEqual([
      "UniqueIdentifier",
      ...(isVersion1(version) ? ["Attribute"] : []),
    ]);
  });

  test.each(versions)("Get Attributes in %s leaves out newer attributes", (version) => {
    const attributes = [
      { item: attributeItem("Fresh", true) },
      { item: attributeItem("Sensitive", true) },
      { item: attributeItem("Description", "d") },
    ];
    const payload = { uniqueIdentifier: "id", attributes };
    const item = payloadOf(version, { operation: "GetAttributes", status: "Success", payload });
    const length = [within(version, "1.1"), within(version, "1.4"), within(version, "1.4")].filter(
      Boolean,
    ).length;
    if (isVersion1(version)) expect(names(item).slice(1)).toHaveLength(length);
    else expect(children(child(item, tags.Attributes.tag))).toHaveLength(3);
  });

  test("Get Attributes without attributes has an empty Attributes in 2.x, nothing in 1.x", () => {
    const payload = { uniqueIdentifier: "id", attributes: [] };
    const item: ResponseItem = { operation: "GetAttributes", status: "Success", payload };
    expect(names(payloadOf("1.1", item))).toEqual(["UniqueIdentifier"]);
    expect(names(payloadOf("2.1", item))).toEqual(["UniqueIdentifier", "Attributes"]);
  });

  test("Query returns only fields of its version", () => {
    const payload = {
      operations: ["Get"],
      objectTypes: ["SymmetricKey"],
      vendorIdentification: "v",
      serverInformation: { serverName: "s" },
      applicationNamespaces: [],
      extensions: [],
      attestationTypes: [],
      rngParameters: [{ rngAlgorithm: "DRBG" }],
      profiles: [],
      validations: [],
      capabilities: [{ streaming: false, batchUndo: true, quantumSafe: false }],
      clientRegistrationMethods: [],
      protectionStorageMasks: { masks: [1] },
    };
    const item: ResponseItem = { operation: "Query", status: "Success", payload };
    const old = payloadOf("1.1", item);
    expect(names(old)).toEqual([
      "Operation",
      "ObjectType",
      "VendorIdentification",
      "ServerInformation",
    ]);
    expect(children(child(old, tags.ServerInformation.tag))).toEqual([]);
    const capabilities = (version: Version) =>
      names(child(payloadOf(version, item), tags.CapabilityInformation.tag));
    expect(capabilities("1.3")).toEqual(["StreamingCapability"]);
    expect(capabilities("1.4")).toEqual(["StreamingCapability", "BatchUndoCapability"]);
    expect(capabilities("2.0")).toHaveLength(3);
    expect(names(payloadOf("2.1", item)).at(-1)).toBe("ProtectionStorageMasks");
  });
});

describe("decodeResponse", () => {
  test("refuses a Batch Count that is not the number of items, and unexpected items", () => {
    const good = encodeResponse(message("1.1", { operation: "Get", status: "OperationFailed" }));
    if (good.type !== ItemType.Structure) throw new Error("a message is a structure");
    const [header, item] = good.value;
    if (header === undefined || item === undefined) throw new Error("a message has two parts");
    for (const value of [[header], [header, item, item], [header, header], [item]]) {
      expect(() => decodeResponse({ ...good, value })).toThrow(KmipError);
    }
  });

  test("keeps a server's own fields out of Server Information", () => {
    const item: ResponseItem = {
      operation: "Query",
      status: "Success",
      payload: {
        operations: [],
        objectTypes: [],
        applicationNamespaces: [],
        extensions: [],
        attestationTypes: [],
        rngParameters: [],
        profiles: [],
        validations: [],
        capabilities: [],
        clientRegistrationMethods: [],
        serverInformation: { serverName: "s", alternateFailoverEndpoints: ["e"] },
      },
    };
    const made = encodeResponse(message("2.1", item));
    const vendor: Item = { tag: 0x540001, type: ItemType.TextString, value: "own" };
    const extended = (part: Item): Item => {
      if (part.type !== ItemType.Structure) return part;
      const value = part.value.map(extended);
      return {
        ...part,
        value: part.tag === tags.ServerInformation.tag ? [vendor, ...value] : value,
      };
    };
    expect(decodeResponse(extended(made))).toEqual(decodeResponse(made));
  });
});
