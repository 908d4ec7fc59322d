import {
  type ClientRequest,
  decodeResponse,
  encodeRequest,
  isVersion1,
  type ResponseMessage,
  type Version,
  versions,
} from "@holdfast/kmip";
import {
  byteString,
  decode,
  encode,
  enumeration,
  FrameTooLong,
  type Item,
  integer,
  structure,
  TtlvError,
} from "@holdfast/ttlv";
import fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import {
  KeyRingUnavailable,
  KeysShredded,
  RootOfTrustError,
  StoreUnavailable,
} from "../base/errors.ts";
import { aesKey } from "../testing/test-attributes.ts";
import { type TestEngine, testEngine } from "../testing/test-engine.ts";
import type { Client } from "./access.ts";

const seed = 20261125;

let engine: TestEngine;

beforeEach(async () => {
  engine = await testEngine();
});

async function execute(
  bytes: Uint8Array,
  client: Client = engine.client,
  subject = engine,
): Promise<ResponseMessage> {
  return decodeResponse(decode(await subject.engine.execute(bytes, client, "request-1")));
}

function hello(version: Version, header: ClientRequest["header"] = {}): Uint8Array {
  return encode(
    encodeRequest({
      version,
      header,
      items: [{ operation: "Query", payload: { queryFunctions: ["QueryOperations"] } }],
    }),
  );
}

/** A request with this version in its header and one Query. */
function withVersion(major: number, minor: number): Uint8Array {
  const version = structure(0x420069, [integer(0x42006a, major), integer(0x42006b, minor)]);
  const header = structure(0x420077, [version, integer(0x42000d, 1)]);
  const payload = structure(0x420079, [enumeration(0x420074, 1)]);
  const item = structure(0x42000f, [enumeration(0x42005c, 0x18), payload]);
  return encode(structure(0x420078, [header, item]));
}

describe("versions", () => {
  test.each(versions)("KMIP %s is answered in %s", async (version) => {
    const { items, ...header } = await execute(hello(version));
    expect(header.version).toBe(version);
    expect(header.timeStamp).toBe(engine.now);
    expect(items).toMatchObject([{ operation: "Query", status: "Success" }]);
  });

  // PyKMIP, which speaks up to 2.0, refuses a response that has one.
  test.each(versions)(
    "KMIP %s has the Server Correlation Value from 2.1, or from 1.4 if the client sends its own",
    async (version) => {
      const { serverCorrelationValue } = await execute(hello(version));
      expect(serverCorrelationValue).toBe(version === "2.1" ? "request-1" : undefined);
      const since14 = !["1.0", "1.1", "1.2", "1.3"].includes(version);
      if (!since14) return;
      const asked = await execute(hello(version, { clientCorrelationValue: "c" }));
      expect(asked.serverCorrelationValue).toBe("request-1");
    },
  );

  test.each([
    [0, 9, "1.0", "InvalidMessage"],
    [1, 5, "1.4", "InvalidMessage"],
    [2, 2, "2.1", "UnsupportedProtocolVersion"],
    [3, 0, "2.1", "UnsupportedProtocolVersion"],
  ] as const)("KMIP %i.%i is refused in KMIP %s", async (major, minor, version, reason) => {
    const response = await execute(withVersion(major, minor));
    expect(response.version).toBe(version);
    expect(response.items).toMatchObject([{ status: "OperationFailed", reason }]);
    expect(response.items[0]?.operation).toBeUndefined();
  });
});

describe("messages that cannot be read", () => {
  test("bytes that are not TTLV are answered, in the oldest version", async () => {
    const response = await execute(Buffer.from("not KMIP"));
    expect(response.version).toBe("1.0");
    expect(response.items).toMatchObject([{ status: "OperationFailed", reason: "InvalidMessage" }]);
  });

  test("a broken message is answered in the version that its header still shows", async () => {
    const bytes = hello("2.1");
    bytes[bytes.length - 9] = 0xff;
    const response = await execute(bytes.subarray(0, bytes.length - 8));
    expect(response.version).toBe("2.1");
    expect(response.items).toMatchObject([{ reason: "CodecError" }]);
  });

  test("a message with a wrong header is refused in its version", async () => {
    const item = decode(hello("1.2"));
    const bytes = encode({ ...item, value: (item.value as Item[]).slice(0, 1) } as Item);
    const response = await execute(bytes);
    expect(response.version).toBe("1.2");
    expect(response.items).toMatchObject([{ status: "OperationFailed", reason: "InvalidMessage" }]);
  });

  test("one that cannot be read to its end is refused in the version that it shows", () => {
    const refused = (failure: TtlvError, beginning: Uint8Array) =>
      decodeResponse(decode(engine.engine.refuse(failure, beginning, engine.client, "request-1")));
    const beginning = (version: Version) => hello(version).slice(0, 56);
    const broken = new TtlvError("message length is not a multiple of 8", 0);
    const long = new FrameTooLong("message of 4294967296 bytes", 0);
    const none = new Uint8Array();
    for (const [failure, bytes, version, reason] of [
      [broken, none, "1.0", "InvalidMessage"],
      [broken, beginning("1.4"), "1.4", "InvalidMessage"],
      [broken, beginning("2.1"), "2.1", "CodecError"],
      [long, beginning("1.2"), "1.2", "GeneralFailure"],
      [long, beginning("2.0"), "2.0", "ServerLimitExceeded"],
    ] as const) {
      const { items, version: answered } = refused(failure, bytes);
      expect([answered, items]).toMatchObject([version, [{ status: "OperationFailed", reason }]]);
      expect(items[0]?.operation).toBeUndefined();
    }
  });

  test(`no bytes make the engine reject, and every response can be read (seed ${seed})`, async () => {
    const requests = await Promise.all(versions.map(async (version) => hello(version)));
    const broken = fc
      .tuple(
        fc.constantFrom(...requests),
        fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 6 }),
        fc.nat(400),
      )
      .map(([request, edits, cut]) => {
        const bytes = Uint8Array.from(request);
        for (const [at, value] of edits) bytes[at % bytes.length] = value;
        return cut % 3 === 0 ? bytes.subarray(0, cut % bytes.length) : bytes;
      });
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.uint8Array({ maxLength: 300 }), broken), async (bytes) => {
        const { items, version } = await execute(bytes);
        expect(items.length).toBeGreaterThan(0);
        expect(versions).toContain(version);
      }),
      { seed, numRuns: 2000 },
    );
  });
});

describe("credentials", () => {
  const withUsers: Client = {
    instance: "i",
    fingerprint: "fp",
    verifyPassword: async (username, password) => username === "u" && password === "p",
  };
  const login = (username: string, password?: string) => ({
    credentials: [
      {
        type: "UsernameAndPassword",
        username,
        ...(password === undefined ? {} : { password }),
      } as const,
    ],
  });
  const create = (header: object = {}): Uint8Array =>
    encode(
      encodeRequest({
        version: "1.1",
        header,
        items: [{ operation: "Create", payload: aesKey() }],
      }),
    );
  const refused = [
    { operation: "Create", status: "OperationFailed", reason: "AuthenticationNotSuccessful" },
  ];

  test("an instance without users accepts and ignores a Credential", async () => {
    const { items } = await execute(create(login("anyone", "anything")));
    expect(items).toMatchObject([{ status: "Success" }]);
  });

  test.each([
    ["the right one", login("u", "p"), [{ status: "Success" }]],
    ["a wrong password", login("u", "q"), refused],
    ["a wrong user", login("x", "p"), refused],
    ["no password", login("u"), refused],
    ["none", {}, refused],
    [
      "one right and one wrong",
      { credentials: [...login("u", "p").credentials, ...login("u", "q").credentials] },
      refused,
    ],
    ["one of another type", { credentials: [{ type: "Device", password: "p" }] }, refused],
  ])("an instance with users: %s", async (_name, header, items) => {
    expect((await execute(create(header), withUsers)).items).toMatchObject(items);
  });

  test("features can be queried without a Credential, but not with a wrong one", async () => {
    expect((await execute(hello("1.1"), withUsers)).items).toMatchObject([{ status: "Success" }]);
    const wrong = encodeRequest({
      version: "1.1",
      header: login("u", "q"),
      items: [{ operation: "Query", payload: { queryFunctions: ["QueryOperations"] } }],
    });
    expect((await execute(encode(wrong), withUsers)).items).toMatchObject([
      { reason: "AuthenticationNotSuccessful" },
    ]);
  });

  test("a refused message changes nothing and leaves evidence", async () => {
    await execute(create(login("u", "q")), withUsers);
    const { objects } = await engine.store.find("i", { live: true, destroyed: true, limit: 9 });
    expect(objects).toEqual([]);
    expect(engine.store.auditOf("i")).toMatchObject([
      { action: "kmip-key.create", outcome: "pending" },
      { action: "kmip-key.create", outcome: "failure", reason: "AuthenticationNotSuccessful" },
    ]);
  });
});

describe("internal failures", () => {
  const secret = "hunter2 0123456789abcdef";
  const failing = (error: unknown): Promise<TestEngine> =>
    testEngine({
      keyRing: {
        seal: async () => {
          throw error;
        },
        open: () => {
          throw error;
        },
      },
    });

  const storeDown = new StoreUnavailable("noLease", secret);
  const storeFull = new StoreUnavailable("full", secret);
  const unreachable = new KeyRingUnavailable(false, secret);
  const refusedByRoot = new KeyRingUnavailable(true, secret);
  const rootSays = (failure: RootOfTrustError["failure"]) =>
    new KeyRingUnavailable(true, secret, { cause: new RootOfTrustError(failure, secret) });

  test.each([
    ["an unknown error", new Error(secret), "GeneralFailure", /^internal error$/],
    ["a thrown text", secret, "GeneralFailure", /^internal error$/],
    ["a store that is down", storeDown, "GeneralFailure", /^cannot tell/],
    ["a full store", storeFull, "GeneralFailure", /^refused: the store is full/],
    ["keys that cannot be reached", unreachable, "GeneralFailure", /^cannot tell/],
    ["keys that are refused", refusedByRoot, "PermissionDenied", /root key refuses/],
    [
      "a deleted root key",
      rootSays("gone"),
      "PermissionDenied",
      /keys are shredded in this region: its root key is deleted/,
    ],
    ["a disabled root key", rootSays("disabled"), "PermissionDenied", /root key is disabled/],
    ["a denied root key", rootSays("denied"), "PermissionDenied", /no permission/],
    ["shredded keys", new KeysShredded(), "PermissionDenied", /shredded by an administrator/],
  ])("%s: the client gets a reason, the event its cause", async (_name, error, reason, message) => {
    const subject = await failing(error);
    const request = encode(
      encodeRequest({ version: "1.4", items: [{ operation: "Create", payload: aesKey() }] }),
    );
    const bytes = await subject.engine.execute(request, subject.client, "request-1");
    expect(Buffer.from(bytes).toString("latin1")).not.toContain("hunter2");
    const { items } = decodeResponse(decode(bytes));
    expect(items).toMatchObject([{ status: "OperationFailed", reason }]);
    expect(items[0]?.message).toMatch(message);
    const events = subject.events.filter(({ type }) => type === "operation");
    expect(events).toMatchObject([{ operation: "Create", result: reason, cause: error }]);
  });

  test.each(versions)("an unknown error has its reason in KMIP %s", async (version) => {
    const subject = await failing(new Error(secret));
    const reason = isVersion1(version) ? "GeneralFailure" : "InternalServerError";
    expect(await subject.reason(version, "Create", aesKey())).toBe(reason);
  });

  test.each(versions)("a Get of KMIP %s reports a deleted root key", async (version) => {
    const { uniqueIdentifier } = await engine.ask("1.1", "Create", aesKey());
    engine.keyRing.drop();
    const cause = new RootOfTrustError("gone", secret);
    const subject = await testEngine({
      store: engine.store,
      keyRing: {
        seal: async () => Promise.reject(cause),
        open: () => {
          throw new KeyRingUnavailable(true, secret, { cause });
        },
      },
    });
    expect(await subject.reason(version, "Get", { uniqueIdentifier })).toBe(
      isVersion1(version) ? "PermissionDenied" : "WrappingObjectDestroyed",
    );
  });

  test("an unreachable store is never Item Not Found", async () => {
    const subject = await testEngine();
    subject.store.read = async () => {
      throw new StoreUnavailable("timeout", secret);
    };
    for (const version of versions) {
      expect(await subject.reason(version, "Get", { uniqueIdentifier: "x" })).toBe(
        "GeneralFailure",
      );
    }
  });

  test.each(["Continue", "Undo"] as const)(
    "items of a batch that say the same leave one event with their number (%s)",
    async (batchErrorContinuationOption) => {
      const subject = await testEngine();
      const { uniqueIdentifier } = await subject.ask("1.4", "Create", aesKey());
      const other = (await subject.ask("1.4", "Create", aesKey())).uniqueIdentifier;
      const get = (of: unknown) => ["Get", { uniqueIdentifier: of }] as const;
      const items = [uniqueIdentifier, other, uniqueIdentifier, uniqueIdentifier].map(get);
      await subject.send("1.4", items, { batchErrorContinuationOption });
      const read = subject.store
        .auditOf("i")
        .filter(({ action }) => action === "kmip-key.read")
        .map(({ outcome, target, detail }) => ({ outcome, target, times: detail?.["times"] }));
      expect(read).toEqual([
        { outcome: "pending", target: uniqueIdentifier, times: 3 },
        { outcome: "success", target: uniqueIdentifier, times: 3 },
        { outcome: "pending", target: other },
        { outcome: "success", target: other },
      ]);
    },
  );

  test("evidence that is lost is a warning, not a failure", async () => {
    const subject = await testEngine();
    const { uniqueIdentifier } = await subject.ask("1.1", "Create", aesKey());
    subject.store.appendAudit = async () => {
      throw new StoreUnavailable("full", "no room");
    };
    await subject.ask("1.1", "Get", { uniqueIdentifier });
    await new Promise((resolve) => setImmediate(resolve));
    expect(subject.events).toContainEqual(
      expect.objectContaining({ type: "warning", message: "audit events were lost" }),
    );
  });

  test("with strict evidence, a read whose evidence is lost fails", async () => {
    const subject = await testEngine({ auditReads: "strict" });
    const { uniqueIdentifier } = await subject.ask("1.1", "Create", aesKey());
    await subject.ask("1.1", "Get", { uniqueIdentifier });
    expect(subject.store.auditOf("i").map(({ action, outcome }) => `${action} ${outcome}`)).toEqual(
      ["kmip-key.create", "kmip-key.read"].flatMap((action) => [
        `${action} pending`,
        `${action} success`,
      ]),
    );
    subject.store.appendAudit = async () => {
      throw new StoreUnavailable("full", "no room");
    };
    expect(await subject.reason("1.1", "Get", { uniqueIdentifier })).toBe("GeneralFailure");
  });
});

describe("header options", () => {
  const query = { operation: "Query", payload: { queryFunctions: ["QueryOperations"] } } as const;

  test.each([
    ["2.1", "Mandatory", "FeatureNotSupported"],
    ["2.1", "Optional", undefined],
    ["2.1", "Prohibited", undefined],
    ["1.4", "Optional", undefined],
  ] as const)(
    "KMIP %s: Asynchronous Indicator %s is accepted or refused",
    async (version, asynchronousIndicator, reason) => {
      const request = encodeRequest({ version, header: { asynchronousIndicator }, items: [query] });
      const { items } = await execute(encode(request));
      expect(items).toMatchObject([
        { operation: "Query", status: reason ? "OperationFailed" : "Success" },
      ]);
      expect(items[0]?.reason).toBe(reason);
    },
  );

  test("Time Stamp, attestation and correlation values change nothing", async () => {
    const header = {
      timeStamp: 1,
      attestationCapableIndicator: true,
      clientCorrelationValue: "c",
      serverCorrelationValue: "s",
    };
    const request = encodeRequest({ version: "2.1", header, items: [query] });
    const response = await execute(encode(request));
    expect(response).toMatchObject({ timeStamp: engine.now, serverCorrelationValue: "request-1" });
    expect(response.clientCorrelationValue).toBeUndefined();
  });

  test("a batch of more items than the limit is refused", async () => {
    const subject = await testEngine({ batchItemsMax: 2 });
    const items = [1, 2, 3].map((id) => ({ ...query, uniqueBatchItemId: Uint8Array.of(id) }));
    const request = encode(encodeRequest({ version: "2.1", items }));
    expect((await execute(request, subject.client, subject)).items).toMatchObject([
      { operation: "Query", reason: "ServerLimitExceeded" },
    ]);
  });

  test.each([0, -1])("Maximum Response Size %i is refused", async (maximumResponseSize) => {
    const request = encodeRequest({
      version: "1.2",
      header: { maximumResponseSize },
      items: [query],
    });
    expect((await execute(encode(request))).items).toMatchObject([{ reason: "InvalidField" }]);
  });
});

describe("events", () => {
  test("are one per operation, with what metrics and log need", async () => {
    const { uniqueIdentifier } = await engine.ask("1.1", "Create", aesKey());
    await engine.reason("1.1", "Get", { uniqueIdentifier: "none" });
    expect(engine.events.filter(({ type }) => type === "operation")).toEqual([
      {
        type: "operation",
        operation: "Create",
        version: "1.1",
        instance: "i",
        result: "Success",
        durationMs: 0,
        requestId: "request-1",
        fingerprint: "fp",
        uniqueIdentifier,
      },
      expect.objectContaining({
        operation: "Get",
        result: "ItemNotFound",
        uniqueIdentifier: "none",
      }),
    ]);
  });

  test("report an unknown operation, too", async () => {
    const payload = structure(0x420079, [byteString(0x420043, Uint8Array.of(1))]);
    const version = structure(0x420069, [integer(0x42006a, 1), integer(0x42006b, 1)]);
    const header = structure(0x420077, [version, integer(0x42000d, 1)]);
    const item = structure(0x42000f, [enumeration(0x42005c, 0x7f), payload]);
    const { items } = await execute(encode(structure(0x420078, [header, item])));
    expect(items).toMatchObject([{ operationCode: 0x7f, reason: "OperationNotSupported" }]);
    expect(engine.events).toMatchObject([
      { operation: "unknown", result: "OperationNotSupported" },
    ]);
  });
});
