import { randomUUID } from "node:crypto";
import type { AdminClient } from "@holdfast/admin";
import {
  type CallOptions,
  ConnectionError,
  type KmipClient,
  KmipClientError,
} from "@holdfast/client";
import {
  type Attribute,
  type AttributeReference,
  attributeItem,
  attributeValue,
  type EnumerationText,
  keyBlockOf,
  objectItem,
  plainKeyOf,
  type Response,
  type ResponseItem,
  tags,
} from "@holdfast/kmip";
import { answerOf } from "@holdfast/testing";
import { byteString, encode, type Item, structure } from "@holdfast/ttlv";

/** The name of a State in KMIP (KMIP 2.1, 4.57). */
export type State = EnumerationText<"State">;

const usage: Attribute = { item: attributeItem("CryptographicUsageMask", 0x0c) };
const aes: Attribute = { item: attributeItem("CryptographicAlgorithm", "AES") };

/** Creates a key of 256 bits at the server; returns its identifier. */
export async function createKey(client: KmipClient, options?: CallOptions): Promise<string> {
  const length: Attribute = { item: attributeItem("CryptographicLength", 256) };
  const attributes = { attributes: [aes, length, usage], templateNames: [] };
  const answer = await client.create({ objectType: "SymmetricKey", attributes }, options);
  return answer.uniqueIdentifier;
}

/** Whether a node answers "cannot tell", or lets nobody in, as it may for a moment on a busy machine. */
export function isBusy(error: unknown): boolean {
  if (error instanceof ConnectionError) return true;
  return error instanceof KmipClientError && error.reason === "GeneralFailure";
}

/** Asks again while that is so. */
export function answered<Answer>(ask: () => Promise<Answer>): Promise<Answer> {
  return answerOf("an answer", ask, isBusy);
}

/** Registers a key of the test at the server; returns its identifier. */
export async function registerKey(
  client: KmipClient,
  key: Uint8Array,
  more: readonly Attribute[] = [],
): Promise<string> {
  const object = objectItem("SymmetricKey", {
    keyBlock: {
      keyFormatType: "Raw",
      keyValue: { keyMaterial: byteString(tags.KeyMaterial.tag, key) },
      cryptographicAlgorithm: "AES",
      cryptographicLength: key.length * 8,
    },
  });
  const attributes = { attributes: [usage, ...more], templateNames: [] };
  const answer = await client.register({ objectType: "SymmetricKey", attributes, object });
  return answer.uniqueIdentifier;
}

/** A key's bytes in hex. */
export async function keyBytes(client: KmipClient, id: string): Promise<string> {
  return hexOf(await client.get({ uniqueIdentifier: id }));
}

/** The key bytes in an answer of Get, in hex. */
export function hexOf({ object }: Response<"Get">): string {
  const block = object === undefined ? undefined : keyBlockOf(object);
  const key = block === undefined ? undefined : plainKeyOf(block);
  if (key === undefined) throw new Error("Get answered no plain key");
  return Buffer.from(key).toString("hex");
}

/** An object's State. */
export async function stateOf(client: KmipClient, id: string): Promise<State> {
  return stateIn(
    await client.getAttributes({ uniqueIdentifier: id, references: [stateReference] }),
  );
}

/** The reference of Get Attributes for the State. */
const stateReference = { tag: tags.State.tag, key: "" };

/** The State in an answer of Get Attributes. */
export function stateIn({ attributes }: Response<"GetAttributes">): State {
  const state = attributes.find(({ item }) => item.tag === tags.State.tag);
  if (state === undefined) throw new Error("Get Attributes answered no State");
  return attributeValue("State", state.item) as State;
}

/** State and bytes of an object; a failed part has the reason. */
export interface Look {
  readonly state: ResponseItem;
  readonly key: ResponseItem;
}

/** Reads one object, in one message; `more` are attributes besides its State. */
export async function look(
  client: KmipClient,
  id: string,
  more: readonly AttributeReference[] = [],
): Promise<Look> {
  const [one] = await lookAtAll(client, [id], more);
  if (one === undefined) throw new Error("two operations, fewer answers");
  return one;
}

/** Reads several objects in one message; the answers are in the order of the identifiers. */
export async function lookAtAll(
  client: KmipClient,
  ids: readonly string[],
  more: readonly AttributeReference[] = [],
): Promise<Look[]> {
  const references = [stateReference, ...more];
  const { items } = await client.request(
    client.version,
    ids.flatMap((uniqueIdentifier) => [
      { operation: "GetAttributes" as const, payload: { uniqueIdentifier, references } },
      { operation: "Get" as const, payload: { uniqueIdentifier } },
    ]),
    { header: { batchErrorContinuationOption: "Continue" } },
  );
  return ids.flatMap((_, at) => {
    const [state, key] = [items[2 * at], items[2 * at + 1]];
    return state === undefined || key === undefined ? [] : [{ state, key }];
  });
}

/** A symmetric key as `importKeys` takes it. */
export function importable(identifier: string, object: Item, items: readonly Item[] = []) {
  const base64 = (item: Item): string => Buffer.from(encode(item)).toString("base64");
  return {
    identifier,
    objectType: "SymmetricKey",
    state: "Active",
    attributes: base64(structure(tags.Attributes.tag, items)),
    value: base64(object),
  } as const;
}

/** Imports a new key's material, once under an identifier that can be kept and once under one that cannot. */
export async function importBothWays(
  admin: Pick<AdminClient, "call">,
  instance: string,
  client: KmipClient,
): Promise<void> {
  const { object } = await client.get({ uniqueIdentifier: await createKey(client) });
  if (object === undefined) throw new Error("Get answered no object");
  const keys = [randomUUID(), "4711"].map((identifier) => importable(identifier, object));
  await admin.call<"importKeys">("importKeys", { params: { instance }, body: { keys } });
}
