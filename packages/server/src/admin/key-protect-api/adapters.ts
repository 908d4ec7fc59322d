import { setTimeout as sleep } from "node:timers/promises";
import { ManagementError } from "@holdfast/admin";
import { collectionTypes, readAdapter } from "./bodies.ts";
import type { Calls } from "./calls.ts";
import {
  adapterLabels,
  adapterOf,
  allPages,
  type Context,
  type Instance,
  nameFor,
  quota,
  rootKeyOf,
  tooManyOf,
} from "./context.ts";
import type { IbmAnswer } from "./envelope.ts";
import { readQuery, rootKey, truth, windowOf, windowRows } from "./queries.ts";
import { badField, Refusal } from "./refusals.ts";

const type = collectionTypes.adapter;
const limitMax = 200;
/** With the wait of the order itself this is well below the 30 s after which IBM's clients give up. */
const looks = 40;
const lookAgainMs = 250;

/** `GET /kmip_adapters`. */
export async function listAdapters(context: Context): Promise<IbmAnswer> {
  const { api, calls } = context;
  const rows = { ...windowRows(limitMax), crk_id: rootKey };
  const { crk_id: wanted, ...asked } = readQuery(rows, context.query);
  const { limit, offset, totalCount } = windowOf(asked);
  const crkId = wanted === undefined ? undefined : (rootKeyOf(api, wanted)?.id ?? wanted);
  const all = await adapters(calls, api.instanceId);
  const found = all.filter(
    ({ labels }) => crkId === undefined || labels[adapterLabels.rootKey] === crkId,
  );
  return {
    status: 200,
    type,
    resources: found.slice(offset, offset + limit).map(shown),
    totalCount: totalCount ? found.length : undefined,
  };
}

/** `POST /kmip_adapters`: orders an instance, and answers once it is Installed. */
export async function createAdapter(context: Context): Promise<IbmAnswer> {
  const { api, calls, repeated: key } = context;
  // Nobody here knows when a root key expires: its key manager refuses it then.
  readQuery({ allowExpiringKey: truth }, context.query);
  const { name = nameFor("kmip_adapter", context), description, crkId } = readAdapter(context.body);
  const root = rootKeyOf(api, crkId);
  if (root === undefined) {
    throw new Refusal(400, "KMIP adapter could not be created", {
      code: "NATIVE_CRK_ID_NOT_FOUND_ERR",
      message: "no root key has this crk_id: name it in admin.keyProtectApi.rootKeys of the nodes",
    });
  }
  if (crkId !== root.id && crkId.toLowerCase() === root.id) {
    // The answer would have another text than the order, and Terraform replaces an adapter for that.
    throw badField("KMIP adapter could not be created", "crk_id", `${root.id}, in lower case`);
  }
  const others = (await adapters(calls, api.instanceId)).filter((one) => one.name !== name);
  if (others.length >= quota) throw tooManyOf("adapter", "KMIP_ADAPTER_QUOTA_ERR");
  const { id } = await calls.call("createInstance", {
    key,
    body: {
      name,
      description,
      labels: { [adapterLabels.instance]: api.instanceId, [adapterLabels.rootKey]: root.id },
      destroyDelay: api.destroyDelay,
      rootOfTrust: { regions: root.regions },
    },
  });
  return { status: 201, type, resources: [shown(await installed(calls, id))] };
}

/** `GET /kmip_adapters/{adapter}`. */
export async function readAdapterRoute(context: Context): Promise<IbmAnswer> {
  readQuery({}, context.query);
  return { status: 200, type, resources: [shown(await adapterOf(context))] };
}

/** `DELETE /kmip_adapters/{adapter}`: refused while it has objects that are not destroyed for good. */
export async function deleteAdapter(context: Context): Promise<IbmAnswer> {
  readQuery({}, context.query);
  const { status } = await adapterOf(context);
  try {
    await context.calls.call("deleteInstance");
  } catch (error) {
    // A client that had no answer to its first request sends another one.
    const isUnderWay = status === "Removing" && error instanceof ManagementError;
    if (!isUnderWay || error.code !== "wrongState") throw error;
    throw new Refusal(503, "KMIP adapter could not be deleted", {
      code: "KMIP_ADAPTER_NOT_READY_ERR",
      message: "it is being deleted by an earlier request: look again in a moment",
    });
  }
  return { status: 204 };
}

/** All adapters, by name. */
async function adapters(calls: Calls, instanceId: string): Promise<readonly Instance[]> {
  const label = `${adapterLabels.instance}=${instanceId}`;
  return await allPages((page) => calls.call("listInstances", { query: { label, ...page } }));
}

/** Waits until an ordered instance can be used: a caller of IBM's API uses it at once. One that hangs up is not waited for. */
async function installed(calls: Calls, instance: string): Promise<Instance> {
  for (let look = 0; ; look += 1) {
    const now = await calls.call("readInstance", { instance });
    if (now.status === "Installed") return now;
    if (look === looks || calls.signal.aborted) {
      throw new Refusal(503, "KMIP adapter is not ready yet", {
        code: "KMIP_ADAPTER_NOT_READY_ERR",
        message: `${now.name} was created, and cannot be used yet: ${now.reason}. Send the same request with the same Correlation-Id again, or look at the adapter`,
      });
    }
    await sleep(lookAgainMs, undefined, { signal: calls.signal }).catch(() => undefined);
  }
}

function shown({ id, name, description, labels, createdBy, createdAt = "" }: Instance) {
  // Nothing of an adapter can be changed, and clients need both times from the start.
  return {
    id,
    name,
    description,
    profile: "native_1.0",
    profile_data: { crk_id: labels[adapterLabels.rootKey] ?? "" },
    created_by: createdBy,
    created_at: createdAt,
    updated_by: createdBy,
    updated_at: createdAt,
  };
}
