import { type Call, type Contract, type Handlers, ManagementError } from "@holdfast/admin";
import {
  isDestroyed,
  type ManagedObject,
  type ObjectStore,
  type StateCountStore,
  StoreUnavailable,
} from "@holdfast/engine";
import { refusalOf } from "../../records/refusals.ts";
import type { InstanceLookup } from "../instance-lookup.ts";
import { changeKey, type KeyEngine } from "./changes.ts";
import { type Evidence, historyOf, type KeyEvent, type KeyEventsAsked } from "./history.ts";
import { type Identifiers, identifiersIn } from "./identifiers.ts";
import { type ImportDeps, importKeys } from "./import.ts";
import {
  attributesOf,
  type KeyAnswer,
  keyAnswer,
  stateNow,
  vendorKeys,
  vendorText,
} from "./key-answer.ts";
import { listKeys } from "./list.ts";
import { type RestoreDeps, restoreKey } from "./restore.ts";

export interface KeysDeps {
  readonly region: string;
  readonly instances: Pick<InstanceLookup, "find">;
  readonly store: Pick<ObjectStore, "read" | "find" | "commit" | "appendAudit">;
  readonly own: Pick<StateCountStore, "counts">;
  readonly engine: KeyEngine;
  readonly keyRing: RestoreDeps["keyRing"] & ImportDeps["keyRing"];
  readonly evidence?: Evidence;
  /** Looks for a key's events in the other regions. */
  readonly elsewhere?: (asked: KeyEventsAsked) => Promise<readonly KeyEvent[]>;
  readonly wallMs: () => number;
  readonly doubt: ImportDeps["doubt"];
  readonly approvedOnly: boolean;
}

type Names =
  | "listKeys"
  | "countKeys"
  | "readKey"
  | "activateKey"
  | "revokeKey"
  | "destroyKey"
  | "restoreKey"
  | "importKeys"
  | "reportOrphans";
type CallOf<Name extends Names> = Call<Contract[Name]>;

/** Keys and other managed objects, as administrators see and change them. */
export function keysHandlers(deps: KeysDeps): Pick<Handlers, Names> {
  return {
    listKeys: async ({ params, query }) => {
      const { id } = await deps.instances.find(params.instance);
      return await telling(listKeys(deps, id, query, query));
    },
    countKeys: (call) => count(deps, call),
    readKey: async ({ params, query }) => {
      const object = await read(deps, params);
      const isTold = query.history !== false;
      return {
        ...keyAnswer(object, deps.wallMs()),
        attributes: attributesOf(object),
        history: isTold ? await historyOf(object, deps.evidence, deps.elsewhere) : [],
      };
    },
    activateKey: async (call) => {
      const { of, key } = await named(deps, call.params);
      await changeKey(deps.engine, of, "Activate", { uniqueIdentifier: key }, call);
      return await answer(deps, call.params);
    },
    revokeKey: (call) => revoke(deps, call),
    destroyKey: (call) => destroy(deps, call),
    restoreKey: async (call) => {
      const { id } = await deps.instances.find(call.params.instance);
      const { object, lost } = await telling(restoreKey(deps, id, call));
      const warning = `another object is called ${lost.join(", ")} now: the restored one lost that name`;
      return { ...keyAnswer(object, deps.wallMs()), ...(lost.length > 0 && { warning }) };
    },
    importKeys: async (call) => {
      const { id } = await deps.instances.find(call.params.instance);
      return { results: await telling(importKeys(deps, id, call)) };
    },
    reportOrphans: (call) => orphans(deps, call),
  };
}

async function count({ instances, own, region }: KeysDeps, { params }: CallOf<"countKeys">) {
  const { id } = await instances.find(params.instance);
  const states = await telling(own.counts(id));
  if (states === undefined) {
    const detail =
      "the store's objects are being counted for the first time: try again in a minute";
    throw new ManagementError("storeUnavailable", detail);
  }
  const total = Object.values(states).reduce((sum, one) => sum + one, 0);
  return { total, states: { ...states }, region };
}

async function revoke(deps: KeysDeps, call: CallOf<"revokeKey">): Promise<KeyAnswer> {
  const { of, key } = await named(deps, call.params);
  const { reason, message, compromisedAt } = call.body;
  await changeKey(
    deps.engine,
    of,
    "Revoke",
    {
      uniqueIdentifier: key,
      revocationReason: {
        code: reason,
        ...(message !== undefined && { message }),
      },
      ...(compromisedAt !== undefined && {
        compromiseOccurrenceDate: Math.floor(Date.parse(compromisedAt) / 1000),
      }),
    },
    call,
  );
  return await answer(deps, call.params);
}

/** Never destroys an Active object: with `force` and the identifier typed again it is revoked first. */
async function destroy(deps: KeysDeps, call: CallOf<"destroyKey">): Promise<KeyAnswer> {
  const { of, key } = await named(deps, call.params);
  const force = call.query.force === "true";
  if (force && call.query.confirm !== key) {
    throw new ManagementError(
      "confirmationNeeded",
      `what this key encrypts can never be read again: type its identifier again as confirm=${key}`,
    );
  }
  const state = stateNow(await read(deps, call.params), deps.wallMs());
  if (state === "Active") {
    if (!force) {
      throw new ManagementError(
        "keyActive",
        "an Active key is in use and is not destroyed: revoke it first, or give force=true and confirm=IDENTIFIER",
      );
    }
    const revocationReason = { code: "CessationOfOperation", message: "to be destroyed" } as const;
    await changeKey(deps.engine, of, "Revoke", { uniqueIdentifier: key, revocationReason }, call);
  }
  await changeKey(deps.engine, of, "Destroy", { uniqueIdentifier: key }, call);
  return await answer(deps, call.params);
}

async function orphans(deps: KeysDeps, { params, query, body }: CallOf<"reportOrphans">) {
  const { id } = await deps.instances.find(params.instance);
  const inUse = identifiersIn(body);
  let matched = 0;
  const page = await telling(
    listKeys(deps, id, {}, query, (object) => {
      if (isDestroyed(object.facts)) return false;
      const used = isNamed(object, inUse);
      if (used) matched += 1;
      return !used;
    }),
  );
  const whole = query.cursor === undefined && page.next === undefined;
  if (whole && matched === 0 && page.items.length > 0) {
    throw new ManagementError(
      "invalid",
      `body.inUse: none of the ${inUse.given} identifiers names a key of this instance, so every key would be an orphan: is it the right list?`,
    );
  }
  return { ...page, given: inUse.given, matched };
}

/** Whether the list has a key's own identifier, or what vCenter calls its object. */
function isNamed(object: ManagedObject, inUse: Identifiers): boolean {
  const called = [
    object.uniqueIdentifier,
    vendorText(object, vendorKeys.xIdentifier),
    vendorText(object, vendorKeys.xName),
  ];
  return called.some((one) => one !== undefined && inUse.has(one));
}

async function named(deps: KeysDeps, params: { readonly instance: string; readonly key: string }) {
  const { id, declared, record } = await deps.instances.find(params.instance);
  const destroyDelaySeconds =
    declared === undefined ? record?.destroyDelay : declared.destroyDelaySeconds;
  return { of: { id, destroyDelaySeconds }, key: params.key };
}

async function answer(
  deps: KeysDeps,
  params: { readonly instance: string; readonly key: string },
): Promise<KeyAnswer> {
  return keyAnswer(await read(deps, params), deps.wallMs());
}

async function read(
  deps: KeysDeps,
  params: { readonly instance: string; readonly key: string },
): Promise<ManagedObject> {
  const { of, key } = await named(deps, params);
  const [stored] = await telling(deps.store.read(of.id, [key]));
  if (stored !== undefined) return stored.object;
  throw new ManagementError("notFound", "the instance has no object with this identifier");
}

/** Rejects with a refusal where the store cannot answer. */
async function telling<Value>(work: Promise<Value>): Promise<Value> {
  try {
    return await work;
  } catch (error) {
    throw error instanceof StoreUnavailable ? refusalOf(error) : error;
  }
}
