import { createHash } from "node:crypto";
import {
  type Change,
  type CommitOptions,
  type CommitOutcome,
  Engine,
  type EngineOptions,
  type ManagedObject,
  type ObjectStore,
  type Releaser,
  type State,
  stateValues,
} from "@holdfast/engine";
import {
  type AttributeSet,
  attributeItem,
  attributes,
  attributeValue,
  decodeResponse,
  encodeRequest,
  type ImplementedOperation,
  type Response,
  type ResponseItem,
} from "@holdfast/kmip";
import { decode, encode, type Item } from "@holdfast/ttlv";
import { hexOf } from "../support/keys.ts";
import type { Answer } from "./checker.ts";
import type { Dates } from "./end-checks.ts";
import { type Acknowledged, valueTags, valueText } from "./ledger.ts";
import { Random } from "./random.ts";

/** The instance of all histories; it is in partition 0, the only one that they use. */
export const instance = "instance-153";

/** The requests that a client may send. */
export type Wish =
  | { readonly kind: "create"; readonly dates?: Dates | undefined }
  | { readonly kind: "get"; readonly id: string }
  | { readonly kind: "look"; readonly id: string }
  | { readonly kind: "activate"; readonly id: string }
  | { readonly kind: "revoke"; readonly id: string; readonly compromised: boolean }
  | { readonly kind: "destroy"; readonly id: string }
  | { readonly kind: "note"; readonly id: string; readonly text: string }
  | { readonly kind: "add"; readonly id: string; readonly text: string }
  | { readonly kind: "name"; readonly id: string; readonly text: string }
  /** Deletes a value that was added. */
  | { readonly kind: "drop"; readonly id: string; readonly text: string }
  /** Searches for every key, or by one of the values. */
  | { readonly kind: "locate"; readonly by?: ValueKind | undefined; readonly text?: string };

/** The attributes that have several values: Object Group, and Name. */
export type ValueKind = "add" | "name";

/** A wish in a word or two, for a trace. */
export function wishText(wish: Wish): string {
  return "text" in wish ? `${wish.kind} ${wish.text}` : wish.kind;
}

/** The kind of change of each wish that does not change a fact. */
export const kinds: Readonly<Partial<Record<Wish["kind"], Acknowledged["kind"]>>> = {
  create: "create",
  note: "note",
  add: "value",
  name: "value",
  drop: "drop",
};

/** The action of the audit event of each change. */
export const actions: Readonly<Partial<Record<Wish["kind"], string>>> = {
  create: "kmip-key.create",
  activate: "kmip-key.activate",
  revoke: "kmip-key.revoke",
  destroy: "kmip-key.destroy",
  note: "kmip-key-attributes.update",
  add: "kmip-key-attributes.update",
  name: "kmip-key-attributes.update",
  drop: "kmip-key-attributes.delete",
};

/** A change that the engine committed and the store accepted. */
interface Made {
  readonly before: ManagedObject | undefined;
  readonly after: ManagedObject;
}

/** The result of a request. */
export interface Reply {
  readonly answer: Answer;
  readonly id: string;
  readonly made: readonly Made[];
  /** The object that was read last: an answer that changes nothing is based on it. */
  readonly rests: ManagedObject | undefined;
}

/** The parts of a node that a client needs. */
export interface ClientParts extends Omit<EngineOptions, "interop"> {
  /** Called before each commit, whatever its result. */
  readonly tried: (change: Change) => void;
  /** What a restore uses, beside what clients use. */
  readonly releaser?: Releaser;
  /** Alters what the engine commits: a planted fault. */
  readonly alter?: ((changes: readonly Change[]) => readonly Change[]) | undefined;
  /** How long a destroyed key of `instance` can be restored, seconds; 0 for every key unless given. */
  readonly destroyDelay?: ((id: string) => number) | undefined;
  /** Whether clients change keys in batches with the Undo option. */
  readonly undoes?: boolean;
}

/** Some keys are destroyed for good at once, some within the history, and some after it. */
const destroyDelays = [0, 2, 604_800] as const;

/** The delay of a key, which follows from its identifier, so that it changes nothing else in a history. */
export function delayOfKey(id: string): number {
  return destroyDelays[Number.parseInt(id.slice(0, 4), 16) % destroyDelays.length] ?? 0;
}

/** Whether clients change keys in batches in the history of a seed: in few, so that the others stay as they are. */
export function changesInBatches(seed: number): boolean {
  return new Random(seed + 2 ** 47).chance(1 / 14);
}

const version = "2.1";

/** Sends one request to its own engine on a node's store, so that its changes are known; `of` is the client's instance. */
export async function ask(parts: ClientParts, wish: Wish, of = instance): Promise<Reply> {
  const { alter, store, tried, destroyDelay, undoes, ...rest } = parts;
  const made: Made[] = [];
  const read: ManagedObject[] = [];
  const watching = watched(store, { made, read, tried, alter });
  const engine = new Engine({ ...rest, store: watching, interop: false });
  const undone = undoes === true && "id" in wish && actions[wish.kind] !== undefined;
  const requests = requestsOf(wish, undone);
  const items = requests.map(([operation, payload], at) => ({
    ...{ operation, payload },
    ...(requests.length > 1 && { uniqueBatchItemId: Buffer.of(at) }),
  }));
  const header = undone ? undo : {};
  const request = encode(encodeRequest({ version, header, items }));
  const isDelayed = wish.kind === "destroy" && of === instance;
  const destroyDelaySeconds = isDelayed ? destroyDelay?.(wish.id) : undefined;
  const client = { instance: of, fingerprint: "simulated", destroyDelaySeconds };
  const answered = decodeResponse(decode(await engine.execute(request, client, "request"))).items;
  const item = answered.find(({ status }) => status === "OperationFailed") ?? answered[0];
  if (item === undefined) throw new Error("no answer");
  const id = "id" in wish ? wish.id : createdIn(item);
  return { answer: answerOf(wish, item), id, made, rests: read.at(-1) };
}

interface Watching {
  readonly made: Made[];
  readonly read: ManagedObject[];
  readonly tried: ClientParts["tried"];
  readonly alter: ClientParts["alter"];
}

/** The engine's store, which records what the engine committed. */
function watched(store: ObjectStore, { made, read, tried, alter }: Watching): ObjectStore {
  return {
    read: async (...args) => {
      const found = await store.read(...args);
      read.push(...found.flatMap((stored) => stored?.object ?? []));
      return found;
    },
    markServed: (...args) => store.markServed(...args),
    find: (...args) => store.find(...args),
    appendAudit: (...args) => store.appendAudit(...args),
    commit: async (
      of: string,
      changes: readonly Change[],
      audit,
      options?: CommitOptions,
    ): Promise<CommitOutcome> => {
      const altered = alter?.(changes) ?? changes;
      for (const change of altered) tried(change);
      const outcome = await store.commit(of, altered, audit, options);
      if (outcome.kind === "committed") made.push(...altered.map(madeBy));
      return outcome;
    },
  };
}

function madeBy(change: Change): Made {
  const before = change.kind === "update" ? change.before.object : undefined;
  return { before, after: change.after };
}

type RequestItem = readonly [ImplementedOperation, unknown];

/**
 * The items of a wish's request. With the Undo option, a note comes with a Comment of the same text, and an added value
 * deletes the Comment: it writes its own in its place first, since there may be none.
 */
function requestsOf(wish: Wish, undone: boolean): readonly RequestItem[] {
  const first = requestOf(wish);
  if (!undone || !("id" in wish && "text" in wish) || wish.kind === "drop") return [first];
  const item = attributeItem("Comment", wish.text);
  const uniqueIdentifier = wish.id;
  const written: RequestItem = ["SetAttribute", { uniqueIdentifier, newAttribute: { item } }];
  if (wish.kind === "note") return [first, written];
  return [first, written, ["DeleteAttribute", { uniqueIdentifier, currentAttribute: { item } }]];
}

function requestOf(wish: Wish): readonly [ImplementedOperation, unknown] {
  switch (wish.kind) {
    case "create":
      return ["Create", { objectType: "SymmetricKey", attributes: aesKeyWith(wish.dates) }];
    case "get":
      return ["Get", { uniqueIdentifier: wish.id }];
    case "look":
      return ["GetAttributes", { uniqueIdentifier: wish.id, references: looked }];
    case "activate":
      return ["Activate", { uniqueIdentifier: wish.id }];
    case "revoke": {
      const code = wish.compromised ? "KeyCompromise" : "CessationOfOperation";
      return ["Revoke", { uniqueIdentifier: wish.id, revocationReason: { code } }];
    }
    case "destroy":
      return ["Destroy", { uniqueIdentifier: wish.id }];
    case "note": {
      const newAttribute = { item: attributeItem("ContactInformation", wish.text) };
      return ["SetAttribute", { uniqueIdentifier: wish.id, newAttribute }];
    }
    case "add":
    case "name":
      return adding(wish.id, valueItem(wish.kind, wish.text));
    case "drop": {
      const currentAttribute = { item: valueItem("add", wish.text) };
      return ["DeleteAttribute", { uniqueIdentifier: wish.id, currentAttribute }];
    }
    case "locate": {
      const { by, text = "" } = wish;
      return ["Locate", { attributes: by === undefined ? [] : [{ item: valueItem(by, text) }] }];
    }
  }
}

function valueItem(kind: ValueKind, text: string): Item {
  if (kind === "add") return attributeItem("ObjectGroup", text);
  return attributeItem("Name", { value: text, type: "UninterpretedTextString" });
}

/** With this Batch Error Continuation Option all items of a batch are done, or none. */
const undo = { batchErrorContinuationOption: "Undo" } as const;

function adding(uniqueIdentifier: string, item: Item): readonly [ImplementedOperation, unknown] {
  return ["AddAttribute", { uniqueIdentifier, newAttribute: { item } }];
}

const aesKey = [
  { item: attributeItem("CryptographicAlgorithm", "AES") },
  { item: attributeItem("CryptographicLength", 128) },
  { item: attributeItem("CryptographicUsageMask", 0x0c) },
];

function aesKeyWith(dates: Dates | undefined): AttributeSet {
  const { activation, deactivation } = dates ?? {};
  const planned = [
    ...(activation === undefined ? [] : [attributeItem("ActivationDate", activation)]),
    ...(deactivation === undefined ? [] : [attributeItem("DeactivationDate", deactivation)]),
  ];
  return { attributes: [...aesKey, ...planned.map((item) => ({ item }))], templateNames: [] };
}

const looked = [
  { tag: attributes.State.tag, key: "" },
  { tag: attributes.ContactInformation.tag, key: "" },
  ...valueTags.map((tag) => ({ tag, key: "" })),
];

/** Reasons for which a KMIP 2.1 client believes that an object is lost. */
const absent = new Set(["ItemNotFound", "ObjectNotFound"]);

/** A node has answered that something happened which must not happen. */
export class InternalError extends Error {
  override readonly name = "InternalError";

  constructor({ kind }: Wish) {
    super(`a node answers a ${kind} with an internal error`);
  }
}

function answerOf(wish: Wish, item: ResponseItem): Answer {
  if (item.status !== "Success") {
    const reason = item.reason ?? "none";
    if (reason === "InternalServerError") throw new InternalError(wish);
    return absent.has(reason)
      ? { kind: "notFound" }
      : { kind: "refused", reason: `${reason}: ${item.message}` };
  }
  if (wish.kind === "get") return { kind: "material", digest: digestOf(item) };
  if (wish.kind === "locate") {
    const { uniqueIdentifiers } = item.payload as Response<"Locate">;
    return { kind: "located", ids: uniqueIdentifiers ?? [] };
  }
  return wish.kind === "look" ? lookOf(item) : { kind: "done" };
}

/** Of the key material, which is in no trace. */
function digestOf({ payload }: ResponseItem): string {
  return createHash("sha256")
    .update(hexOf(payload as Response<"Get">))
    .digest("hex");
}

function lookOf({ payload }: ResponseItem): Answer {
  const { attributes: given } = payload as { readonly attributes: readonly { item: Item }[] };
  const of = (tag: number) => given.find(({ item }) => item.tag === tag)?.item;
  const state = of(attributes.State.tag);
  const note = of(attributes.ContactInformation.tag);
  if (state === undefined) throw new Error("an object without a State");
  const named = attributeValue("State", state) as State;
  return {
    kind: "read",
    state: named,
    rank: stateValues[named],
    values: given
      .map(({ item }) => item)
      .filter(({ tag }) => valueTags.some((each) => each === tag))
      .map(valueText),
    note: note === undefined ? "" : String(attributeValue("ContactInformation", note)),
  };
}

function createdIn({ payload }: ResponseItem): string {
  const { uniqueIdentifier } = (payload ?? {}) as { readonly uniqueIdentifier?: unknown };
  return typeof uniqueIdentifier === "string" ? uniqueIdentifier : "";
}
