import { randomBytes, randomUUID } from "node:crypto";
import {
  type ClientRequestItem,
  decodeResponse,
  encodeRequest,
  type ImplementedOperation,
  type RequestHeader,
  type Response,
  type ResponseItem,
  type ResponseMessage,
  type Version,
} from "@holdfast/kmip";
import { decode, encode } from "@holdfast/ttlv";
import type { Event } from "../base/observe.ts";
import type { Client } from "../batch/access.ts";
import { Engine, type EngineOptions } from "../batch/execute.ts";
import { MemoryLocks } from "../concurrency/memory-locks.ts";
import { InstanceKeyRing } from "../key-ring/key-ring.ts";
import { Writer } from "../record/registers.ts";
import { MemoryInstanceStore } from "./memory/memory-instance-store.ts";
import { MemoryKekStore } from "./memory/memory-kek-store.ts";
import { MemoryOwnStore } from "./memory/memory-own-store.ts";
import { MemoryRootOfTrust } from "./memory/memory-root-of-trust.ts";

/** An engine over memory with a stopped clock, for tests. */
export interface TestEngine {
  readonly engine: Engine;
  readonly store: MemoryOwnStore;
  readonly instances: MemoryInstanceStore;
  readonly root: MemoryRootOfTrust;
  readonly keyRing: InstanceKeyRing;
  readonly events: Event[];
  readonly client: Client;
  /** Seconds since the epoch, as the engine sees them. */
  now: number;
  /** Sends one message. */
  send(version: Version, items: readonly TestItem[], header?: TestHeader): Promise<ResponseMessage>;
  /** Sends one message as another client. */
  sendAs(
    client: Client,
    version: Version,
    items: readonly TestItem[],
    header?: TestHeader,
  ): Promise<ResponseMessage>;
  /** Sends one operation and returns its payload; throws a failure as `reason: message`. */
  ask<N extends ImplementedOperation>(
    version: Version,
    operation: N,
    payload: unknown,
  ): Promise<Response<N>>;
  /** Sends one operation and returns its Result Reason; undefined for a success. */
  reason(
    version: Version,
    operation: ImplementedOperation,
    payload: unknown,
  ): Promise<string | undefined>;
}

/** An item of a message: payload by operation, numbered from 1 if there are several. */
export type TestItem = readonly [operation: ImplementedOperation, payload: unknown];
export type TestHeader = Partial<Omit<RequestHeader, "batchCount">>;

/** Makes an engine for the instance `i`. */
export async function testEngine(options: Partial<EngineOptions> = {}): Promise<TestEngine> {
  const instances = new MemoryInstanceStore();
  await instances.ensure("i", "i");
  await instances.ensure("j", "j");
  const store = new MemoryOwnStore({ instances });
  const ids = { uuid: randomUUID, randomBytes };
  const root = new MemoryRootOfTrust(ids);
  const events: Event[] = [];
  const observe = (event: Event): void => void events.push(event);
  const world = { now: 1_780_000_000 };
  const clock = { wallMs: () => world.now * 1000, monotonicMs: () => world.now * 1000 };
  const keyRing = new InstanceKeyRing({
    rootOf: () => root,
    keks: new MemoryKekStore(),
    clock,
    ids,
    observe,
    region: "r",
    kekCacheMs: 600_000_000,
    graceMs: 600_000_000,
  });
  const parts = { store, locks: new MemoryLocks(), keyRing, clock, ids, observe, region: "r" };
  const writer = new Writer(ids);
  const engine = new Engine({ ...parts, writer, interop: false, ...options });
  const client: Client = { instance: "i", fingerprint: "fp" };
  const sendAs: TestEngine["sendAs"] = async (who, version, items, header) => {
    const request = encodeRequest({
      version,
      items: items.map(requestItem),
      ...(header === undefined ? {} : { header }),
    });
    return decodeResponse(decode(await engine.execute(encode(request), who, "request-1")));
  };
  const send: TestEngine["send"] = (...message) => sendAs(client, ...message);
  const one = async (
    version: Version,
    operation: ImplementedOperation,
    payload: unknown,
  ): Promise<ResponseItem> => {
    const { items } = await send(version, [[operation, payload]]);
    const [item] = items;
    if (item === undefined) throw new Error("no answer");
    return item;
  };
  return Object.assign(world, {
    engine,
    store,
    instances,
    root,
    keyRing,
    events,
    client,
    send,
    sendAs,
    ask: async <N extends ImplementedOperation>(
      version: Version,
      operation: N,
      payload: unknown,
    ) => {
      const item = await one(version, operation, payload);
      if (item.status !== "Success") throw new Error(`${item.reason}: ${item.message}`);
      return item.payload as Response<N>;
    },
    reason: async (version: Version, operation: ImplementedOperation, payload: unknown) =>
      (await one(version, operation, payload)).reason,
  });
}

function requestItem(
  [operation, payload]: TestItem,
  at: number,
  all: readonly TestItem[],
): ClientRequestItem {
  const uniqueBatchItemId = Uint8Array.of(at + 1);
  return all.length === 1 ? { operation, payload } : { operation, payload, uniqueBatchItemId };
}
