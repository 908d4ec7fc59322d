import { type Contract, ManagementError, type Reply } from "@holdfast/admin";
import { hashUuid, type State, stateValues } from "@holdfast/engine";
import { enumerations } from "@holdfast/kmip";
import { tooMany } from "../access/authorizer.ts";
import { collectionTypes } from "./bodies.ts";
import { adapterOf, type Context, isUuid, missing } from "./context.ts";
import type { IbmAnswer } from "./envelope.ts";
import { readQuery, states, truth, windowOf, windowRows } from "./queries.ts";
import { Refusal } from "./refusals.ts";

type Key = Reply<Contract["listKeys"]>["items"][number];

const type = collectionTypes.object;
/** The most objects of one list. */
const limitMax = 5_000;
const statesUsual = [1, 2, 3, 4];
const pageMax = 1_000;
/** Pages that anybody may read for one list: it needs five full ones at most, unless few objects have a state that is asked for. */
const pagesFree = 10;
const stateNames = Object.keys(stateValues) as State[];

/** `GET …/kmip_objects`: the newest first. */
export async function listObjects(context: Context): Promise<IbmAnswer> {
  const { calls } = context;
  const rows = { ...windowRows(limitMax), state: states };
  const { state: asked = statesUsual, ...rest } = readQuery(rows, context.query);
  const { limit, offset, totalCount } = windowOf(rest);
  await adapterOf(context);
  const wanted = stateNames.filter((name) => asked.includes(stateValues[name]));
  const found = await keysFrom(context, wanted, offset, limit);
  return {
    status: 200,
    type,
    resources: found.map((key) => shown(context, key)),
    totalCount: totalCount ? sumOf((await calls.call("countKeys")).states, wanted) : undefined,
  };
}

/** `GET …/kmip_objects/{object}`: a destroyed one too. */
export async function readObject(context: Context): Promise<IbmAnswer> {
  readQuery({}, context.query);
  await adapterOf(context);
  const key = await readKey(context, objectOf(context));
  return { status: 200, type, resources: [shown(context, key)] };
}

/** `DELETE …/kmip_objects/{object}`: an Active one only with `force`. */
export async function deleteObject(context: Context): Promise<IbmAnswer> {
  const { force = false } = readQuery({ force: truth }, context.query);
  await adapterOf(context);
  const key = objectOf(context);
  const query = force ? { force: "true", confirm: key } : {};
  try {
    await context.calls.call("destroyKey", { params: { key }, query });
  } catch (error) {
    if (!(error instanceof ManagementError) || error.code !== "wrongState") throw error;
    const { state } = await readKey(context, key);
    if (stateValues[state] < stateValues.Destroyed) throw error;
    throw new Refusal(410, "KMIP object could not be deleted", {
      code: "KMIP_OBJECT_DELETED_ERR",
      message: "the object is destroyed already",
    });
  }
  return { status: 204 };
}

/** Without the history, which is not shown here. */
async function readKey({ calls }: Context, key: string): Promise<Key> {
  return await calls.call("readKey", { params: { key }, query: { history: "false" } });
}

function objectOf({ params }: Context): string {
  const key = (params["object"] ?? "").toLowerCase();
  if (isUuid(key)) return key;
  throw missing("object", "KMIP_OBJECT_NOT_FOUND_ERR");
}

/** A list that begins far from the newest object, or shows few of many, reads all before: few do that at the same time. */
function holdWalk({ walks, calls }: Context): () => void {
  const release = walks.take(calls.owner);
  if (release === undefined) throw tooMany(1, "other long lists are being read");
  return release;
}

/** Walks over the list up to the end of what was asked for; others get a turn between its pages. */
async function keysFrom(
  context: Context,
  wanted: readonly State[],
  offset: number,
  limit: number,
): Promise<readonly Key[]> {
  const { calls } = context;
  const found: Key[] = [];
  const end = offset + limit;
  let release = end > limitMax ? holdWalk(context) : undefined;
  let passed = 0;
  let pages = 0;
  let cursor: string | undefined;
  try {
    do {
      if (pages === pagesFree) release ??= holdWalk(context);
      const size = Math.min(pageMax, end - passed);
      const page = { states: wanted.join(","), limit: String(size) };
      const query = cursor === undefined ? page : { ...page, cursor };
      const { items, next } = await calls.call("listKeys", { query });
      found.push(...items.slice(Math.max(0, offset - passed)));
      passed += items.length;
      pages += 1;
      cursor = next;
    } while (cursor !== undefined && passed < end && !calls.signal.aborted);
    return found;
  } finally {
    release?.();
  }
}

function sumOf(counts: Readonly<Record<string, number>>, wanted: readonly State[]): number {
  return wanted.reduce((sum, state) => sum + (counts[state] ?? 0), 0);
}

function shown({ api, calls }: Context, key: Key) {
  const { id, state, createdBy = "", createdAt, lastChangeAt } = key;
  const creator = api.creatorOf(calls.instance, createdBy);
  const isDestroyed = stateValues[state] >= stateValues.Destroyed;
  return {
    id,
    kmip_object_type: typeNumber(key.type),
    state: stateValues[state],
    ...(createdAt !== undefined && { created_at: createdAt }),
    ...(creator !== undefined && { created_by: creator.addedBy }),
    // A client that an authority admits has no entry of its own, and clients need an identifier.
    created_by_kmip_client_cert_id:
      creator?.id ?? hashUuid(`KMIP client ${calls.instance} ${createdBy}`),
    ...(lastChangeAt !== undefined && { updated_at: lastChangeAt }),
    ...(isDestroyed && lastChangeAt !== undefined && { destroyed_at: lastChangeAt }),
  };
}

/** The number of an Object Type. */
function typeNumber(name: string): number {
  const values: Readonly<Record<string, number | { readonly value: number }>> =
    enumerations.ObjectType;
  const value = values[name];
  return typeof value === "object" ? value.value : (value ?? Number(name));
}
