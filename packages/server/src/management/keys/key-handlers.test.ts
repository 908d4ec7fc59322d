import { type Call, type Contract, ManagementError } from "@holdfast/admin";
import {
  Engine,
  encodeAudit,
  InstanceKeyRing,
  MemoryLocks,
  vendorItem,
  vendorKey,
  vendorTags,
  Writer,
} from "@holdfast/engine";
import { MemoryKekStore, MemoryOwnStore, MemoryRootOfTrust } from "@holdfast/engine/testing";
import {
  type Attribute,
  attributeItem,
  decodeResponse,
  encodeRequest,
  type ImplementedOperation,
  objectItem,
  type Request,
  type Response,
} from "@holdfast/kmip";
import { byteString, decode, encode, textString } from "@holdfast/ttlv";
import { beforeEach, describe, expect, test } from "vitest";
import { systemIds as ids } from "../../base/system.ts";
import { turnsDuring } from "../../testing/turns-during.ts";
import type { FoundInstance } from "../instance-lookup.ts";
import { type Evidence, historyOf, type KeyEventsAsked, keyEvents } from "./history.ts";
import { keysHandlers } from "./key-handlers.ts";

const instance = "4e9f2d9a-63c2-4f42-8f3c-8f6a4b7d3c10";
const [vcenter, backup] = ["ab".repeat(32), "cd".repeat(32)];
const page = { limit: 100, cursor: undefined };

class Site {
  nowMs = Date.UTC(2026, 10, 25, 12);
  readonly store = new MemoryOwnStore();
  readonly clock = { wallMs: () => this.nowMs, monotonicMs: () => this.nowMs };
  readonly engine: Engine;
  readonly keyRing: InstanceKeyRing;
  evidence: Evidence | undefined;
  finds = 0;
  looked = 0;
  /** Seconds. */
  destroyDelay = 0;
  /** The options of each commit that a handler made itself. */
  readonly commits: unknown[] = [];

  object = async (key: string) => (await this.store.read(instance, [key]))[0]?.object as never;
  constructor() {
    const { store, clock } = this;
    const observe = (): void => undefined;
    const root = new MemoryRootOfTrust(ids);
    this.keyRing = new InstanceKeyRing({
      rootOf: () => root,
      keks: new MemoryKekStore(),
      clock,
      ids,
      observe,
      region: "a",
      kekCacheMs: 1e9,
      graceMs: 1e9,
    });
    const { keyRing } = this;
    const parts = { store, locks: new MemoryLocks(), keyRing, clock, ids, observe };
    this.engine = new Engine({ ...parts, region: "a", writer: new Writer(ids), interop: false });
  }

  async ask<Name extends ImplementedOperation>(
    operation: Name,
    payload: Request<Name>,
    fingerprint = vcenter,
  ): Promise<Response<Name>> {
    const request = encode(encodeRequest({ version: "2.1", items: [{ operation, payload }] }));
    const answer = await this.engine.execute(request, { instance, fingerprint }, "r");
    const [item] = decodeResponse(decode(answer)).items;
    if (item?.status !== "Success") throw new Error(item?.message);
    return item.payload as Response<Name>;
  }

  async key(more: readonly Attribute[] = [], fingerprint = vcenter): Promise<string> {
    const attributes = [
      { item: attributeItem("CryptographicAlgorithm", "AES") },
      { item: attributeItem("CryptographicLength", 256) },
      { item: attributeItem("CryptographicUsageMask", 12) },
      ...more,
    ];
    const request = { objectType: "SymmetricKey", attributes: { attributes, templateNames: [] } };
    return (await this.ask("Create", request as Request<"Create">, fingerprint)).uniqueIdentifier;
  }

  get handlers() {
    const find: typeof this.store.find = (...args) => {
      this.finds += 1;
      this.looked += args[1].limit;
      return this.store.find(...args);
    };
    return keysHandlers({
      region: "a",
      instances: {
        find: async (text) => {
          if (text !== "kmip-1") throw new ManagementError("notFound", "no such instance");
          const { destroyDelay } = this;
          return { id: instance, record: { destroyDelay } } as FoundInstance;
        },
      },
      store: {
        read: (...args) => this.store.read(...args),
        commit: (...args) => {
          this.commits.push(args[3]);
          return this.store.commit(...args);
        },
        find,
        appendAudit: (id, events) => this.store.appendAudit(id, events),
      },
      own: this.store,
      engine: this.engine,
      keyRing: this.keyRing,
      wallMs: () => this.nowMs,
      doubt: () => undefined,
      approvedOnly: false,
      ...(this.evidence && { evidence: this.evidence }),
    });
  }

  async list(query: Partial<Call<Contract["listKeys"]>["query"]> = {}) {
    return await this.handlers.listKeys(call({}, { ...page, ...query }));
  }
}

function call(params: object, query: object = {}, body: object = {}): never {
  const principal = {
    name: "ada",
    id: "token-1",
    roles: ["operator"],
    instances: undefined,
    remote: "",
  };
  return {
    principal,
    params: { instance: "kmip-1", ...params },
    query,
    body,
    requestId: "r",
  } as never;
}

function custom(name: string, text: string): Attribute {
  const value = textString(vendorTags.AttributeValue, text);
  return { item: vendorItem({ key: vendorKey("x", name), value }) };
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  return await work.then(
    () => "",
    (error: unknown) => (error instanceof ManagementError ? error.code : String(error)),
  );
}

let site: Site;

beforeEach(async () => {
  site = new Site();
  await site.store.instances.install(instance);
});

describe("lists of keys", () => {
  test("show what describes a key, and never its material", async () => {
    const key = await site.key([
      { item: attributeItem("Name", { value: "disk 7", type: "UninterpretedTextString" }) },
      custom("Identifier", "vm-42"),
    ]);
    await site.ask("Activate", { uniqueIdentifier: key });
    const { items, next } = await site.list();
    expect(next).toBeUndefined();
    expect(items).toEqual([
      {
        id: key,
        type: "SymmetricKey",
        state: "Active",
        algorithm: "AES",
        length: 256,
        names: ["disk 7"],
        xIdentifier: "vm-42",
        createdAt: "2026-11-25T12:00:00.000Z",
        createdBy: vcenter,
        activatedAt: "2026-11-25T12:00:00.000Z",
        lastChangeAt: "2026-11-25T12:00:00.000Z",
        kek: expect.stringMatching(/^[0-9a-f-]{36}$/),
      },
    ]);
  });

  test("are filtered by everything that describes a key", async () => {
    const one = await site.key([custom("Identifier", "vm-1"), custom("Name", "first")]);
    site.nowMs += 3_600_000;
    const name = attributeItem("Name", { value: "named", type: "UninterpretedTextString" });
    const two = await site.key([{ item: name }], backup);
    await site.ask("Activate", { uniqueIdentifier: one });
    const gone = await site.key();
    await site.ask("Destroy", { uniqueIdentifier: gone });
    const found = async (query: Parameters<Site["list"]>[0]) =>
      (await site.list(query)).items.map(({ id }) => id);
    expect(await found({})).toEqual([gone, two, one]);
    expect(await found({ state: "Active" })).toEqual([one]);
    expect(await found({ state: "PreActive" })).toEqual([two]);
    expect(await found({ state: "Destroyed" })).toEqual([gone]);
    expect(await found({ xIdentifier: "vm-1" })).toEqual([one]);
    expect(await found({ xIdentifier: "vm-2" })).toEqual([]);
    expect(await found({ xName: "first" })).toEqual([one]);
    expect(await found({ name: "named" })).toEqual([two]);
    expect(await found({ createdBy: backup })).toEqual([two]);
    expect(await found({ createdBy: "nobody" })).toEqual([]);
    expect(await found({ algorithm: "aes", type: "symmetrickey" })).toEqual([gone, two, one]);
    expect(await found({ algorithm: "RSA" })).toEqual([]);
    expect(await found({ createdAfter: "2026-11-25T12:30:00Z" })).toEqual([gone, two]);
    expect(await found({ createdBefore: "2026-11-25T12:30:00Z" })).toEqual([one]);
    expect(await found({ name: "named", state: "Active" })).toEqual([]);
  });

  test("show the state after a date that has passed, even if nobody wrote its fact", async () => {
    const at = Math.floor(site.nowMs / 1000) + 60;
    await site.key([{ item: attributeItem("ActivationDate", at) }]);
    expect((await site.list()).items[0]?.state).toBe("PreActive");
    site.nowMs += 61_000;
    expect((await site.list({ state: "Active" })).items).toHaveLength(1);
  });

  test("come in pages that miss no key and repeat none while keys are created", async () => {
    const made = new Set<string>();
    for (let count = 0; count < 60; count++) made.add(await site.key());
    const seen: string[] = [];
    let cursor: string | undefined;
    do {
      const { items, next } = await site.list({ limit: 7, cursor });
      seen.push(...items.map(({ id }) => id));
      cursor = next;
      await site.key();
    } while (cursor !== undefined);
    expect(new Set(seen).size).toBe(seen.length);
    expect(seen.filter((id) => made.has(id))).toHaveLength(60);
  });

  test("cost the same for any number of keys: a page that finds nothing ends with a cursor", async () => {
    for (let count = 0; count < 2_300; count++) await site.key();
    site.looked = 0;
    const first = await site.list({ algorithm: "RSA" });
    expect(first.items).toEqual([]);
    expect(first.next).toBeDefined();
    expect(site.looked).toBeLessThan(2_200);
    const second = await site.list({ algorithm: "RSA", cursor: first.next });
    expect(second).toEqual({ items: [] });
    site.finds = 0;
    expect((await site.list({ limit: 100 })).items).toHaveLength(100);
    expect(site.finds).toBe(1);
  });
});

describe("a key", () => {
  test("is shown with attributes and history, and without material", async () => {
    const key = await site.key([custom("Identifier", "vm-42")]);
    site.nowMs += 10_000;
    await site.ask("Activate", { uniqueIdentifier: key });
    site.nowMs += 10_000;
    const body = { reason: "KeyCompromise", message: "a laptop was stolen" };
    await site.handlers.revokeKey(call({ key }, {}, body));
    const details = await site.handlers.readKey(call({ key }));
    expect(details.attributes).toContainEqual({ name: "x-Identifier", index: 0, value: "vm-42" });
    expect(details.attributes).toContainEqual({ name: "State", index: 0, value: "Compromised" });
    expect(details.attributes).toContainEqual({
      name: "Cryptographic Usage Mask",
      index: 0,
      value: ["Encrypt", "Decrypt"],
    });
    expect(details.history.map(({ what, region, detail }) => [what, region, detail])).toEqual([
      ["created", "a", undefined],
      ["activated", "a", undefined],
      ["compromised", "a", "KeyCompromise: a laptop was stolen"],
    ]);
    expect(JSON.stringify(details)).not.toMatch(/material|ciphertext|KeyValue/i);
  });

  test("that is Secret Data is shown without its length, which helps to guess a password", async () => {
    const keyMaterial = byteString(0x42_0043, Buffer.from("Winter2026!"));
    const keyBlock = { keyFormatType: "Opaque", keyValue: { keyMaterial } } as const;
    const secret = objectItem("SecretData", { secretDataType: "Password", keyBlock });
    const { uniqueIdentifier } = await site.ask("Register", {
      objectType: "SecretData",
      object: secret,
      attributes: { attributes: [], templateNames: [] },
    });
    const details = await site.handlers.readKey(call({ key: uniqueIdentifier }));
    expect(details.type).toBe("SecretData");
    const [listed] = (await site.list({ type: "SecretData" })).items;
    expect(JSON.stringify([details, listed])).not.toMatch(/length|\b88\b/i);
    const key = await site.handlers.readKey(call({ key: await site.key() }));
    expect(key.length).toBe(256);
    expect(key.attributes).toContainEqual({ name: "Cryptographic Length", index: 0, value: 256 });
  });

  test("has a history whose lookup lets other work run in between", async () => {
    const bytes = encodeAudit(instance, [])[0] ?? Buffer.from("no entry");
    const evidence = {
      seek: async () => 1,
      entries: async () => Array.from({ length: 400 }, (_, at) => ({ number: at + 1, bytes })),
    };
    const asked = { instance, key: await site.key(), times: [site.nowMs] };
    expect(await turnsDuring(() => keyEvents(evidence, asked))).toBeGreaterThan(20);
  });

  test("has a history that says who did it, where the evidence still shows that", async () => {
    const key = await site.key();
    const events = site.store.auditOf(instance);
    const evidence = {
      seek: async () => 1,
      entries: async () => [
        { number: 1, bytes: Buffer.from("no entry") },
        ...events.map((event, at) => ({
          number: at + 2,
          bytes: encodeAudit(instance, [event])[0] as Uint8Array,
        })),
      ],
    };
    const object = await site.object(key);
    expect(await historyOf(object, evidence as never)).toEqual([
      { time: "2026-11-25T12:00:00.000Z", what: "created", region: "a", by: vcenter },
    ]);
  });

  test("has a history that asks the other regions for events that this region does not have", async () => {
    const key = await site.key();
    const object = await site.object(key);
    const time = Date.parse("2026-11-25T12:00:00Z");
    const asked: KeyEventsAsked[] = [];
    const elsewhere = async (question: KeyEventsAsked) => {
      asked.push(question);
      return [
        { time, action: "kmip-key.read", initiator: "another" },
        { time: time + 60_000, action: "kmip-key.create", initiator: "later" },
        { time, action: "kmip-key.create", initiator: vcenter },
      ];
    };
    const none = { seek: async () => 1, entries: async () => [] };
    const [created] = await historyOf(object, none, elsewhere);
    expect(created?.by).toBe(vcenter);
    expect(asked).toEqual([{ instance, key, times: [time] }]);
  });

  test("can be shown without its history, for which nobody is asked", async () => {
    const key = await site.key();
    site.evidence = { seek: () => Promise.reject(new Error("asked")), entries: async () => [] };
    await expect(site.handlers.readKey(call({ key }))).rejects.toThrow("asked");
    const shown = site.handlers.readKey(call({ key }, { history: false }));
    await expect(shown).resolves.toMatchObject({ history: [], state: "PreActive" });
  });

  test("goes through its life by the engine's rules, with evidence of who changed it", async () => {
    const key = await site.key();
    const { handlers } = site;
    expect((await handlers.activateKey(call({ key }))).state).toBe("Active");
    expect((await handlers.activateKey(call({ key }))).state).toBe("Active");
    expect(await codeOf(handlers.destroyKey(call({ key })))).toBe("keyActive");
    expect((await handlers.revokeKey(call({ key }, {}, { reason: "Superseded" }))).state).toBe(
      "Deactivated",
    );
    expect(await codeOf(handlers.activateKey(call({ key })))).toBe("wrongState");
    expect((await handlers.destroyKey(call({ key }))).state).toBe("Destroyed");
    expect(await codeOf(handlers.destroyKey(call({ key })))).toBe("wrongState");
    expect(site.store.auditOf(instance).at(-1)?.detail).toMatchObject({
      "initiator.id": "token-1",
    });
    const events = site.store
      .auditOf(instance)
      .filter(({ initiator, outcome }) => initiator === "ada" && outcome !== "pending");
    expect(events.map(({ action, outcome }) => `${action} ${outcome}`)).toEqual([
      "kmip-key.activate success",
      "kmip-key.activate success",
      "kmip-key.revoke success",
      "kmip-key.activate failure",
      "kmip-key.destroy success",
      "kmip-key.destroy failure",
    ]);
  });

  test("that is Active is destroyed only by force and with its identifier typed again", async () => {
    const key = await site.key();
    const { handlers } = site;
    await handlers.activateKey(call({ key }));
    const destroy = (query: object) => handlers.destroyKey(call({ key }, query));
    expect(await codeOf(destroy({ force: "true" }))).toBe("confirmationNeeded");
    expect(await codeOf(destroy({ force: "true", confirm: instance }))).toBe("confirmationNeeded");
    expect(await codeOf(destroy({ confirm: key }))).toBe("keyActive");
    expect((await destroy({ force: "true", confirm: key })).state).toBe("Destroyed");
    const [stored] = await site.store.read(instance, [key]);
    expect(stored?.object.material).toBeUndefined();
    expect(stored?.object.facts.deactivated?.message).toBe("to be destroyed");
  });

  test("that does not exist, or whose instance does not exist, is not found", async () => {
    const { handlers } = site;
    const key = ids.uuid();
    for (const work of [
      handlers.readKey(call({ key })),
      handlers.activateKey(call({ key })),
      handlers.destroyKey(call({ key })),
      handlers.listKeys(call({ instance: "kmip-2" }, page)),
    ]) {
      expect(await codeOf(work)).toBe("notFound");
    }
  });
});

describe("a key that is destroyed with a delay", () => {
  const week = 7 * 86_400;
  const restore: object = { ...(call({}) as object), audit: "key.restore" };
  const restoreCall = (key: string): never =>
    ({ ...restore, params: { instance: "kmip-1", key } }) as never;

  beforeEach(() => {
    site.destroyDelay = week;
  });

  test("is Destroyed at once, listed as restorable, and comes back with its material", async () => {
    const { handlers } = site;
    const [key, other] = [await site.key(), await site.key()];
    const [before] = await site.store.read(instance, [key]);
    const destroyed = await handlers.destroyKey(call({ key }));
    const until = new Date((Math.floor(site.nowMs / 1000) + week) * 1000).toISOString();
    expect(destroyed).toMatchObject({ state: "Destroyed", restorableUntil: until });
    await expect(site.ask("Get", { uniqueIdentifier: key })).rejects.toThrow("destroyed");
    expect((await site.list({ restorable: true })).items.map(({ id }) => id)).toEqual([key]);
    expect((await site.list({ state: "PreActive" })).items.map(({ id }) => id)).toEqual([other]);
    expect(await codeOf(handlers.restoreKey(restoreCall(other)))).toBe("wrongState");
    site.nowMs += 5_000;
    const back = await handlers.restoreKey(restoreCall(key));
    expect(back).toMatchObject({ state: "PreActive" });
    expect(back).not.toHaveProperty("restorableUntil");
    expect(back).not.toHaveProperty("warning");
    expect(site.commits).toEqual([{ agreed: true }]);
    const [after] = await site.store.read(instance, [key]);
    expect(after?.object.material).toEqual(before?.object.material);
    await site.ask("Get", { uniqueIdentifier: key });
    expect((await site.list({ restorable: true })).items).toEqual([]);
    expect(await codeOf(handlers.restoreKey(restoreCall(key)))).toBe("wrongState");
    const events = site.store
      .auditOf(instance)
      .map(({ action, outcome }) => `${action} ${outcome}`);
    expect(events).toContain("key.restore success");
    const { history } = await handlers.readKey(call({ key }));
    expect(history.map(({ what }) => what)).toContain("restored");
  });

  test("loses a name that another object has taken meanwhile, and says so", async () => {
    const { handlers } = site;
    const name = [{ item: attributeItem("Name", { value: "n", type: "UninterpretedTextString" }) }];
    const key = await site.key(name as readonly Attribute[]);
    await handlers.destroyKey(call({ key }));
    const other = await site.key(name as readonly Attribute[]);
    const back = await handlers.restoreKey(restoreCall(key));
    expect(back).toMatchObject({ state: "PreActive", names: [] });
    expect(back.warning).toContain("another object is called n now");
    expect((await handlers.readKey(call({ key: other }))).names).toEqual(["n"]);
  });

  test("is not restored once it is destroyed for ever", async () => {
    site.destroyDelay = 0;
    const key = await site.key();
    const destroyed = await site.handlers.destroyKey(call({ key }));
    expect(destroyed).not.toHaveProperty("restorableUntil");
    expect(await codeOf(site.handlers.restoreKey(restoreCall(key)))).toBe("wrongState");
  });
});

test("orphans are the keys that nothing in use names, whatever name it uses", async () => {
  const [byId, orphan] = [await site.key(), await site.key()];
  await site.key([custom("Identifier", "vm-1")]);
  await site.key([custom("Name", "host-2")]);
  const gone = await site.key();
  await site.ask("Destroy", { uniqueIdentifier: gone });
  const inUse = [byId?.toUpperCase() ?? "", "VM-1", "host-2", "vm-of-another-site"];
  const found = await site.handlers.reportOrphans(call({}, page, { inUse }));
  expect(found.items.map(({ id }) => id)).toEqual([orphan]);
  expect(found).toMatchObject({ given: 4, matched: 3 });
  const wrongList = site.handlers.reportOrphans(call({}, page, { inUse: ["vm-of-another-site"] }));
  await expect(wrongList).rejects.toThrow(/none of the 1 identifiers names a key/);
  expect(await codeOf(wrongList)).toBe("invalid");
});

test("keys are counted by state, and the count is refused while it is not known yet", async () => {
  const key = await site.key();
  await site.key();
  await site.ask("Activate", { uniqueIdentifier: key });
  expect(await site.handlers.countKeys(call({}))).toMatchObject({
    total: 2,
    states: { Active: 1, PreActive: 1, Destroyed: 0 },
    region: "a",
  });
  site.store.counts = async () => undefined as never;
  expect(await codeOf(site.handlers.countKeys(call({})))).toBe("storeUnavailable");
});
