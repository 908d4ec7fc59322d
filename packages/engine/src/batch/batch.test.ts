import { decodeResponse, encodeRequest, type ResponseItem, type Version } from "@holdfast/kmip";
import { decode, encode } from "@holdfast/ttlv";
import { beforeEach, describe, expect, test } from "vitest";
import { StoreUnavailable } from "../base/errors.ts";
import type { ManagedObject } from "../record/record.ts";
import { aesKey, attributeSet, named } from "../testing/test-attributes.ts";
import {
  type TestEngine,
  type TestHeader,
  type TestItem,
  testEngine,
} from "../testing/test-engine.ts";

let engine: TestEngine;

beforeEach(async () => {
  engine = await testEngine();
});

const missing = { uniqueIdentifier: "00000000-0000-4000-8000-000000000000" };

async function send(
  items: readonly TestItem[],
  header: TestHeader = {},
  version: Version = "1.4",
): Promise<readonly ResponseItem[]> {
  return (await engine.send(version, items, header)).items;
}

const shown = (items: readonly ResponseItem[]) =>
  items.map(({ operation, status, reason }) =>
    [operation, status, reason].filter(Boolean).join(" "),
  );

async function stored(): Promise<readonly ManagedObject[]> {
  const page = await engine.store.find("i", { live: true, destroyed: true, limit: 100 });
  return page.objects.map(({ object }) => object);
}

function identifierOf(item: ResponseItem | undefined): unknown {
  const payload = item?.payload;
  return payload instanceof Object && "uniqueIdentifier" in payload
    ? payload.uniqueIdentifier
    : undefined;
}

describe("the batch item identifier", () => {
  test.each([
    ["none", undefined],
    ["empty", new Uint8Array()],
    ["text", Buffer.from("QLKC\x01\0\0\0", "latin1")],
    ["binary of 40 bytes", Uint8Array.from({ length: 40 }, (_, at) => 255 - at)],
  ])("(%s) is returned unchanged", async (_name, uniqueBatchItemId) => {
    const item = { operation: "Query", payload: { queryFunctions: ["QueryObjects"] } } as const;
    const request = encodeRequest({
      version: "1.1",
      items: [uniqueBatchItemId === undefined ? item : { ...item, uniqueBatchItemId }],
    });
    const bytes = await engine.engine.execute(encode(request), engine.client, "r");
    const [answer] = decodeResponse(decode(bytes)).items;
    expect(answer?.uniqueBatchItemId && Buffer.from(answer.uniqueBatchItemId)).toEqual(
      uniqueBatchItemId && Buffer.from(uniqueBatchItemId),
    );
  });
});

describe("Batch Error Continuation", () => {
  const items = (): readonly TestItem[] => [
    ["Create", aesKey()],
    ["Get", missing],
    ["Create", aesKey()],
  ];

  test.each([
    ["without an option", {}, ["Create Success", "Get OperationFailed ItemNotFound"], 1],
    [
      "Stop",
      { batchErrorContinuationOption: "Stop" },
      ["Create Success", "Get OperationFailed ItemNotFound"],
      1,
    ],
    [
      "Continue",
      { batchErrorContinuationOption: "Continue" },
      ["Create Success", "Get OperationFailed ItemNotFound", "Create Success"],
      2,
    ],
    [
      "Undo",
      { batchErrorContinuationOption: "Undo" },
      ["Create OperationUndone", "Get OperationFailed ItemNotFound"],
      0,
    ],
  ] as const)("%s gives the expected results", async (_name, header, expected, objects) => {
    expect(shown(await send(items(), header))).toEqual(expected);
    expect(await stored()).toHaveLength(objects);
  });

  test("an item that does not decode fails like one that is refused", async () => {
    const broken: TestItem = [
      "Create",
      { objectType: "Template", attributes: aesKey().attributes },
    ];
    const header = { batchErrorContinuationOption: "Undo" } as const;
    expect(shown(await send([["Create", aesKey()], broken], header))).toEqual([
      "Create OperationUndone",
      "Create OperationFailed InvalidField",
    ]);
    expect(await stored()).toEqual([]);
  });
});

describe("Undo", () => {
  const header = { batchErrorContinuationOption: "Undo" } as const;

  test("commits a batch without failures as a whole, with its evidence", async () => {
    const items = await send(
      [
        ["Create", aesKey({ Name: named("n") })],
        ["Activate", {}],
        ["Get", {}],
      ],
      header,
    );
    expect(shown(items)).toEqual(["Create Success", "Activate Success", "Get Success"]);
    const [object] = await stored();
    expect(object?.facts.activated?.time).toBe(engine.now);
    const evidence = engine.store.auditOf("i").map(({ action, outcome }) => `${action} ${outcome}`);
    expect(evidence).toEqual([
      "kmip-key.create pending",
      "kmip-key.create success",
      "kmip-key.activate pending",
      "kmip-key.activate success",
      "kmip-key.read pending",
      "kmip-key.read success",
    ]);
  });

  test("shows its changes to reads in the batch, and to nobody else before the end", async () => {
    const { uniqueIdentifier } = await engine.ask("1.4", "Create", aesKey());
    const seen: number[] = [];
    const read = engine.store.read.bind(engine.store);
    engine.store.read = async (instance, ids) => {
      const objects = await read(instance, ids);
      seen.push(...objects.flatMap((one) => one?.object.facts.activated?.time ?? []));
      return objects;
    };
    const revocationReason = { code: "KeyCompromise" };
    const items = await send(
      [
        ["Activate", { uniqueIdentifier }],
        ["Activate", { uniqueIdentifier }],
        ["Revoke", { uniqueIdentifier, revocationReason }],
        ["Destroy", { uniqueIdentifier }],
      ],
      header,
    );
    expect(shown(items)).toEqual([
      "Activate Success",
      "Activate Success",
      "Revoke Success",
      "Destroy Success",
    ]);
    expect(seen).toEqual([]);
    const [object] = await stored();
    expect(object?.facts).toMatchObject({ activated: {}, compromised: {}, destroyed: {} });
    expect(object?.material).toBeUndefined();
  });

  test("lets Locate in the batch find what the batch made, renamed and destroyed", async () => {
    const { uniqueIdentifier: old } = await engine.ask("2.1", "Create", aesKey());
    const { uniqueIdentifier: gone } = await engine.ask(
      "2.1",
      "Create",
      aesKey({ Name: named("g") }),
    );
    const byGroup = { attributes: attributeSet({ ObjectGroup: "g" }).attributes };
    const [newAttribute] = byGroup.attributes;
    const items = await send(
      [
        ["Create", aesKey({ ObjectGroup: "g" })],
        ["AddAttribute", { uniqueIdentifier: old, newAttribute }],
        ["AddAttribute", { uniqueIdentifier: gone, newAttribute }],
        ["Locate", byGroup],
        ["Destroy", { uniqueIdentifier: gone }],
        ["Locate", byGroup],
      ],
      header,
      "2.1",
    );
    const made = identifierOf(items[0]);
    expect(items[3]?.payload).toMatchObject({ uniqueIdentifiers: [made, gone, old] });
    expect(items[5]?.payload).toMatchObject({ uniqueIdentifiers: [made, old] });
  });

  test("discards the changes of an undone batch, and records this in its evidence", async () => {
    const { uniqueIdentifier } = await engine.ask("1.4", "Create", aesKey());
    const before = await stored();
    const items = await send(
      [
        ["Activate", { uniqueIdentifier }],
        ["Destroy", { uniqueIdentifier }],
      ],
      header,
    );
    expect(shown(items)).toEqual([
      "Activate OperationUndone",
      "Destroy OperationFailed PermissionDenied",
    ]);
    expect(await stored()).toEqual(before);
    expect(engine.store.auditOf("i").slice(2)).toMatchObject([
      { action: "kmip-key.activate", outcome: "pending" },
      { action: "kmip-key.activate", outcome: "failure", reason: "OperationUndone" },
      { action: "kmip-key.destroy", outcome: "pending" },
      { action: "kmip-key.destroy", outcome: "failure", reason: "PermissionDenied" },
    ]);
  });

  test("keeps the payload of an undone item", async () => {
    const { uniqueIdentifier } = await engine.ask("2.1", "Create", aesKey());
    const [activated] = await send(
      [
        ["Activate", { uniqueIdentifier }],
        ["Check", { uniqueIdentifier, cryptographicUsageMask: 0x01 }],
      ],
      header,
      "2.1",
    );
    expect(activated).toMatchObject({ status: "OperationUndone", payload: { uniqueIdentifier } });
  });

  test("undoes a batch if a Name is taken, and the item that wants the Name reports why", async () => {
    await engine.ask("2.1", "Create", aesKey({ Name: named("n") }));
    const items = await send(
      [
        ["Create", aesKey({ Name: named("free") })],
        ["Create", aesKey({ Name: named("n") })],
        ["Create", aesKey()],
      ],
      header,
      "2.1",
    );
    expect(shown(items)).toEqual([
      "Create OperationUndone",
      "Create OperationFailed NonUniqueNameAttribute",
    ]);
    expect(await stored()).toHaveLength(1);
  });

  test("refuses the same Name for two items of one batch", async () => {
    const twice: readonly TestItem[] = [
      ["Create", aesKey({ Name: named("n") })],
      ["Create", aesKey({ Name: named("n") })],
    ];
    expect(shown(await send(twice, header, "2.1")).at(-1)).toBe(
      "Create OperationFailed NonUniqueNameAttribute",
    );
    expect(await stored()).toEqual([]);
  });

  test("decides the batch again when another writer was faster", async () => {
    const { uniqueIdentifier } = await engine.ask("1.4", "Create", aesKey());
    const commit = engine.store.commit.bind(engine.store);
    let raced = false;
    engine.store.commit = async (...change) => {
      engine.store.commit = commit;
      await engine.ask("1.4", "Revoke", {
        uniqueIdentifier,
        revocationReason: { code: "KeyCompromise" },
      });
      raced = true;
      return commit(...change);
    };
    const items = await send(
      [
        ["Create", aesKey()],
        ["Activate", { uniqueIdentifier }],
      ],
      header,
    );
    expect(raced).toBe(true);
    expect(shown(items)).toEqual([
      "Create OperationUndone",
      "Activate OperationFailed PermissionDenied",
    ]);
    expect(await stored()).toHaveLength(1);
  });

  test("calls no item undone if the store cannot tell whether it made the changes", async () => {
    engine.store.commit = async () => {
      throw new StoreUnavailable("barrierShort", "one of two");
    };
    const items = await send(
      [
        ["Create", aesKey()],
        ["Create", aesKey()],
      ],
      header,
    );
    expect(items).toMatchObject([
      {
        status: "OperationFailed",
        reason: "GeneralFailure",
        message: expect.stringMatching(/^cannot tell/),
      },
      { status: "OperationFailed", reason: "GeneralFailure" },
    ]);
    expect(engine.store.auditOf("i").map(({ outcome }) => outcome)).toEqual([
      ...["pending", "unknown"],
      ...["pending", "unknown"],
    ]);
  });

  test("ends in an error, not in a loop, if the store always reports a conflict", async () => {
    engine.store.commit = async () => ({ kind: "conflict", uniqueIdentifier: "x" });
    const items = await send(
      [
        ["Create", aesKey()],
        ["Get", {}],
      ],
      header,
    );
    expect(shown(items)).toEqual(["Create OperationFailed GeneralFailure"]);
  });
});

describe("the ID Placeholder", () => {
  test("is set by Create, by Register and by a Locate with one match", async () => {
    const items = await send([
      ["Create", aesKey()],
      ["Get", {}],
      ["Activate", {}],
    ]);
    const [created, got, activated] = items.map(identifierOf);
    expect(got).toBe(created);
    expect(activated).toBe(created);
  });

  test("ends with its batch", async () => {
    await engine.ask("1.4", "Create", aesKey());
    expect(await engine.reason("1.4", "Get", {})).toBe("ItemNotFound");
    expect(await engine.reason("2.1", "Get", {})).toBe("ObjectNotFound");
  });

  test("is cleared by a Check that denies", async () => {
    const items = await send(
      [
        ["Create", aesKey()],
        ["Check", { cryptographicUsageMask: 0x01 }],
        ["Get", {}],
      ],
      { batchErrorContinuationOption: "Continue" },
      "2.1",
    );
    expect(shown(items)).toEqual([
      "Create Success",
      "Check OperationFailed IncompatibleCryptographicUsageMask",
      "Get OperationFailed ObjectNotFound",
    ]);
  });

  test.each<TestItem>([
    ["Create", aesKey({ CryptographicLength: 100 })],
    ["Register", { objectType: "SymmetricKey", attributes: attributeSet({}) }],
    ["Locate", { maximumItems: -1 }],
  ])("is cleared by a failed %s, so that later items change no older object", async (...item) => {
    const items = await send([["Create", aesKey()], item, ["Destroy", {}]], {
      batchErrorContinuationOption: "Continue",
    });
    expect(shown(items).at(-1)).toBe("Destroy OperationFailed ItemNotFound");
    const [made] = await stored();
    expect(made?.facts.destroyed).toBeUndefined();
  });

  test("can be referenced in 2.x, as can an operation of the batch or a position", async () => {
    const references = [
      { special: "IDPlaceholder" },
      { special: "Create" },
      { position: 0 },
      { position: -1 },
    ] as const;
    for (const uniqueIdentifier of references) {
      const [created, got] = await send(
        [
          ["Create", aesKey()],
          ["Get", { uniqueIdentifier }],
        ],
        {},
        "2.1",
      );
      expect(identifierOf(got)).toBe(identifierOf(created));
    }
    const nothing = [{ special: "Register" }, { position: 1 }, { position: -2 }] as const;
    for (const uniqueIdentifier of nothing) {
      const items = await send(
        [
          ["Create", aesKey()],
          ["Get", { uniqueIdentifier }],
        ],
        {},
        "2.1",
      );
      expect(shown(items)[1]).toBe("Get OperationFailed ObjectNotFound");
    }
  });
});

describe("Batch Order", () => {
  test.each([undefined, true, false])("%s: items are carried out in their order", async (order) => {
    const header = order === undefined ? {} : { batchOrderOption: order };
    const items = await send(
      [
        ["Create", aesKey()],
        ["Activate", {}],
        ["Destroy", {}],
      ],
      header,
      "2.1",
    );
    expect(shown(items)).toEqual([
      "Create Success",
      "Activate Success",
      "Destroy OperationFailed WrongKeyLifecycleState",
    ]);
  });
});

describe("Maximum Response Size", () => {
  const query: TestItem = ["Query", { queryFunctions: ["QueryOperations", "QueryObjects"] }];

  test.each([
    [256, "Query OperationFailed ResponseTooLarge"],
    [2048, "Query Success"],
  ])("of %i bytes is enforced", async (maximumResponseSize, expected) => {
    expect(shown(await send([query], { maximumResponseSize }))).toEqual([expected]);
  });

  test("is not exceeded by any successful response", async () => {
    for (let size = 200; size < 1200; size += 8) {
      const request = encodeRequest({
        version: "1.4",
        header: { maximumResponseSize: size },
        items: [{ operation: "Query", payload: query[1] }],
      });
      const bytes = await engine.engine.execute(encode(request), engine.client, "request-1");
      const [item] = decodeResponse(decode(bytes)).items;
      if (item?.status === "Success") expect(bytes.length).toBeLessThanOrEqual(size);
      else expect(item?.reason).toBe("ResponseTooLarge");
    }
  });

  test("refuses an operation that changes something before it is carried out, not afterwards", async () => {
    const items = await send([["Create", aesKey()]], { maximumResponseSize: 192 });
    expect(shown(items)).toEqual(["Create OperationFailed ResponseTooLarge"]);
    expect(await stored()).toEqual([]);
  });

  test("stops a batch before its answers get too large", async () => {
    const create: TestItem = ["Create", aesKey()];
    const items = await send([create, query, query, create], { maximumResponseSize: 1000 });
    expect(shown(items)).toEqual([
      "Create Success",
      "Query Success",
      "Query OperationFailed ResponseTooLarge",
    ]);
    expect(await stored()).toHaveLength(1);
  });

  test("undoes an Undo batch whose answers get too large", async () => {
    const items = await send([["Create", aesKey()], query, query], {
      maximumResponseSize: 1000,
      batchErrorContinuationOption: "Undo",
    });
    expect(shown(items)).toEqual([
      "Create OperationUndone",
      "Query OperationUndone",
      "Query OperationFailed ResponseTooLarge",
    ]);
    expect(await stored()).toEqual([]);
  });

  test("has a limit of the server's own, also for a single answer", async () => {
    engine = await testEngine({ responseBytesMax: 400 });
    expect(shown(await send([query]))).toEqual(["Query OperationFailed ResponseTooLarge"]);
  });
});
