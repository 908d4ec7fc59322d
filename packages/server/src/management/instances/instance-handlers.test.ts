import { type Call, type Contract, contract, ManagementError, type Route } from "@holdfast/admin";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { systemClock as clock, systemIds as ids } from "../../base/system.ts";
import { Presence } from "../../records/presence.ts";
import { instanceRecordId } from "../../records/records.ts";
import { MemoryRegions } from "../../testing/memory-regions.ts";
import { InstanceLookup } from "../instance-lookup.ts";
import { ConfigureInstance } from "./configure.ts";
import { Endpoints } from "./endpoints.ts";
import { instanceHandlers } from "./instance-handlers.ts";
import { ShowInstances } from "./show-instance.ts";

const refused = (code: string) => expect.objectContaining({ name: "ManagementError", code });
let regions: MemoryRegions;

beforeEach(() => {
  regions = new MemoryRegions();
});

afterEach(() => regions[Symbol.asyncDispose]());

type Name =
  | "listInstances"
  | "createInstance"
  | "readInstance"
  | "updateInstance"
  | "rekeyInstance"
  | "deleteInstance";

function call<Of extends Name>(
  name: Of,
  parts: Partial<Call<Contract[Of]>>,
  instances?: readonly string[],
): Call<Contract[Of]> {
  const principal = { id: "t", name: "ci", roles: ["manager" as const], instances, remote: "::1" };
  const rest = { ifMatch: undefined, newId: ids.uuid(), requestId: "r", lastEventId: undefined };
  const signal = new AbortController().signal;
  const nothing = { params: undefined, query: undefined, body: undefined };
  const { audit }: Route = contract[name];
  return { ...nothing, principal, ...rest, signal, audit, ...parts } as unknown as Call<
    Contract[Of]
  >;
}

function handlers(checked: (given: object) => void = () => undefined) {
  const { own, view, records, commands, statuses, deletion } = regions.a;
  const everywhere = () => ["a", "b"];
  const declared = () => [];
  const endpoints = new Endpoints({
    ...{ region: "a", own: ["kmip.a:5696"], commands, monotonicMs: clock.monotonicMs },
  });
  return instanceHandlers({
    ...{ view, records, deletion, clock, ids },
    keyRing: { rekey: async () => ids.uuid() },
    lookup: new InstanceLookup({ view, declared }),
    configure: new ConfigureInstance({
      ...{ regions: everywhere, view, records, commands, statuses, clock, waitMs: 0 },
      settle: async () => undefined,
      sleep: clock.sleep,
    }),
    show: new ShowInstances({
      ...{ region: "a", regions: everywhere, view, own, declared, endpoints },
      required: everywhere,
      presence: new Presence({ region: "a", commands, view, monotonicMs: clock.monotonicMs }),
      rootKind: "local",
      keyStatus: () => undefined,
    }),
    orders: {
      regions: everywhere(),
      check: async (given) => {
        checked(given);
        return Object.fromEntries(
          Object.keys(given).map((region) => [region, { type: "local" as const }]),
        );
      },
      newFields: (roots) => ({ root: roots }),
    },
    declaredNames: () => ["declared"],
  });
}

async function order(name: string, more: Partial<Call<Contract["createInstance"]>["body"]> = {}) {
  const body = {
    name,
    description: "",
    labels: {},
    destroyOverKmip: "refused" as const,
    destroyDelay: 604_800,
    ...more,
  };
  return await handlers().createInstance(call("createInstance", { body }));
}

const list = async (query: object, instances?: readonly string[]) => {
  const asked = { limit: 100, ...query };
  return await handlers().listInstances(call("listInstances", { query: asked }, instances));
};
const names = async (query: object, instances?: readonly string[]) =>
  (await list(query, instances)).items.map(({ name }) => name);

describe("instances are listed", () => {
  test("by part of the name, by status and by label, with deleted ones on request", async () => {
    const one = await order("alpha", { labels: { site: "x", "a=b": "c" } });
    await order("beta", { labels: { site: "y" } });
    await order("Alphabet", {
      rootOfTrust: { regions: { a: { type: "local" }, b: { type: "local" } } },
    });
    expect(await names({})).toEqual(["Alphabet", "alpha", "beta"]);
    expect(await names({ name: "ALPHA" })).toEqual(["Alphabet", "alpha"]);
    expect(await names({ status: "Configuring" })).toEqual(["Alphabet"]);
    expect(await names({ label: "site" })).toEqual(["alpha", "beta"]);
    expect(await names({ label: "site=y" })).toEqual(["beta"]);
    expect(await names({ label: "site=" })).toEqual([]);
    const gone = await handlers().deleteInstance(
      call("deleteInstance", { params: { instance: one.id }, query: {} }),
    );
    // The leaders may have erased them: a node counts only the objects that it erased itself.
    expect(gone).not.toHaveProperty("erased");
    expect(await names({})).toEqual(["Alphabet", "beta"]);
    expect(await names({ deleted: true })).toEqual(["Alphabet", "alpha", "beta"]);
    expect(await names({ status: "Deleted" })).toEqual(["alpha"]);
  });

  test("page by page, and only those that the token is bound to", async () => {
    const made = [];
    for (let at = 0; at < 7; at += 1) made.push(await order(`i${at}`));
    const seen: string[] = [];
    let cursor: string | undefined;
    do {
      const page = await list({ limit: 3, ...(cursor && { cursor }) });
      seen.push(...page.items.map(({ name }) => name));
      cursor = page.next;
    } while (cursor !== undefined);
    expect(seen).toEqual(made.map(({ name }) => name));
    expect(await names({}, [made[2]?.id ?? ""])).toEqual(["i2"]);
  });
});

describe("a token that is bound", () => {
  test("changes no labels: they decide which tokens reach an instance", async () => {
    const { id } = await order("kmip-aa", { labels: { group: "sales" } });
    const update = (body: object, bound?: readonly string[]) =>
      handlers().updateInstance(
        call("updateInstance", { params: { instance: id }, body: body as never }, bound),
      );
    for (const labels of [{ group: "finance" }, {}]) {
      await expect(update({ labels }, [id])).rejects.toEqual(refused("forbidden"));
    }
    expect(await update({ description: "d" }, [id])).toMatchObject({ labels: { group: "sales" } });
    expect(await update({ labels: {} })).toMatchObject({ labels: {} });
  });

  test("changes no name: whether one is taken would tell which instances others have", async () => {
    const [{ id }] = [await order("kmip-aa"), await order("kmip-bb")];
    const update = (name: string, bound?: readonly string[]) =>
      handlers().updateInstance(
        call("updateInstance", { params: { instance: id }, body: { name } as never }, bound),
      );
    for (const name of ["kmip-bb", "free"]) {
      await expect(update(name, [id])).rejects.toEqual(refused("forbidden"));
    }
    expect(await update("kmip-aa", [id])).toMatchObject({ name: "kmip-aa" });
    expect(await update("free")).toMatchObject({ name: "free" });
  });
});

describe("an order", () => {
  test("keeps its keys, unless it says otherwise, or is changed", async () => {
    const { id, destroyOverKmip, destroyDelay } = await order("kmip-aa");
    expect(destroyOverKmip).toBe("refused");
    expect(destroyDelay).toBe(604_800);
    expect(await order("kmip-bb", { destroyOverKmip: "allowed" })).toMatchObject({
      destroyOverKmip: "allowed",
    });
    const body = { destroyOverKmip: "allowed" as const, destroyDelay: 0 };
    const changed = await handlers().updateInstance(
      call("updateInstance", { params: { instance: id }, body }),
    );
    expect(changed).toMatchObject({ destroyOverKmip: "allowed", destroyDelay: 0, description: "" });
  });

  test("without a name gets a free one", async () => {
    const body = {
      description: "",
      labels: {},
      destroyOverKmip: "refused" as const,
      destroyDelay: 604_800,
    };
    const made = await Promise.all(
      [1, 2, 3].map(() => handlers().createInstance(call("createInstance", { body }))),
    );
    for (const { name } of made) expect(name).toMatch(/^kmip-[a-z]{2}$/);
    expect(new Set(made.map(({ name }) => name)).size).toBe(3);
  });

  test("that names no root of trust for a region is refused before any is asked", async () => {
    const asked: object[] = [];
    const rootOfTrust = { regions: { a: { type: "local" as const } } };
    const body = {
      name: "n",
      description: "",
      labels: {},
      destroyOverKmip: "refused" as const,
      destroyDelay: 604_800,
      rootOfTrust,
    };
    const refusal = handlers((given) => asked.push(given)).createInstance(
      call("createInstance", { body }),
    );
    await expect(refusal).rejects.toEqual(refused("rootKeyMissing"));
    await expect(refusal).rejects.toThrow("region b");
    expect(asked).toEqual([]);
    expect(await names({})).toEqual([]);
  });

  test("for a region that does not exist is refused with that region, not with the one that is missing", async () => {
    const asked: object[] = [];
    const rootOfTrust = {
      regions: { a: { type: "local" as const }, c: { type: "local" as const } },
    };
    const body = {
      name: "n",
      description: "",
      labels: {},
      destroyOverKmip: "refused" as const,
      destroyDelay: 604_800,
      rootOfTrust,
    };
    const checked = (given: object) => {
      asked.push(given);
      throw new ManagementError("invalid", "regions.c: there is no such region (a, b)");
    };
    const refusal = handlers(checked).createInstance(call("createInstance", { body }));
    await expect(refusal).rejects.toThrow("regions.c");
    expect(asked).toEqual([rootOfTrust.regions]);
  });

  test("whose root of trust is refused creates nothing", async () => {
    const rootOfTrust = {
      regions: { a: { type: "local" as const }, b: { type: "local" as const } },
    };
    const body = {
      name: "n",
      description: "",
      labels: {},
      destroyOverKmip: "refused" as const,
      destroyDelay: 604_800,
      rootOfTrust,
    };
    const checked = () => {
      throw new ManagementError("rootDenied", "region b: no permission");
    };
    const refusal = handlers(checked).createInstance(call("createInstance", { body }));
    await expect(refusal).rejects.toEqual(refused("rootDenied"));
    expect(await names({})).toEqual([]);
  });

  test("shows what each region has of it, and why it is not Installed", async () => {
    regions.linked = false;
    await expect(order("cut")).rejects.toEqual(refused("peerUnreachable"));
    regions.linked = true;
    const { id } = await order("n");
    const state = {
      status: "Inactive",
      reason: "no key",
      atMs: 1,
      root: "r",
      crkState: "gone",
      version: "",
    } as const;
    const record = regions.a.view.all("Instance")[0]?.id ?? "";
    const changes = { state: { a: state }, status: "Configuring" } as const;
    await regions.a.records.change("Instance", record, () => changes, []);
    const read = await handlers().readInstance(call("readInstance", { params: { instance: id } }));
    expect(read).toMatchObject({
      status: "Configuring",
      reason: expect.stringContaining("region a: no key"),
      regions: { a: { status: "Inactive", endpoints: ["kmip.a:5696"] } },
    });
  });
});

describe("a deletion", () => {
  test("is refused with another name, and has no warning for an instance without keys", async () => {
    const { id } = await order("doomed");
    const remove = async (query: object) =>
      await handlers().deleteInstance(call("deleteInstance", { params: { instance: id }, query }));
    await expect(remove({ force: true, name: "other" })).rejects.toMatchObject({
      code: "confirmationNeeded",
      message: "not the name of the instance: nothing was deleted",
    });
    await expect(remove({ force: true })).rejects.toMatchObject({
      code: "confirmationNeeded",
      message: expect.stringContaining("nothing was deleted"),
    });
    const answer = await remove({ force: true, name: "doomed" });
    expect(answer).toMatchObject({ id, name: "doomed" });
    expect(answer).not.toHaveProperty("warning");
  });
});

describe("a deletion of a version", () => {
  test("is refused where the instance has changed since, with and without force", async () => {
    const { id, version } = await order("changing");
    const params = { instance: id };
    const update = call("updateInstance", { params, body: { description: "e" } });
    const changed = await handlers().updateInstance(update);
    for (const query of [{}, { force: true, name: "changing" }]) {
      const late = call("deleteInstance", { params, query, ifMatch: version });
      await expect(handlers().deleteInstance(late)).rejects.toEqual(refused("preconditionFailed"));
      expect(await names({})).toEqual(["changing"]);
    }
    const now = call("deleteInstance", { params, query: {}, ifMatch: changed.version });
    expect(await handlers().deleteInstance(now)).toMatchObject({ id, name: "changing" });
    expect(await names({})).toEqual([]);
  });
});

describe("a change", () => {
  test("of an instance that the configuration file declares is refused", async () => {
    const instance = ids.uuid();
    const values = { instance, name: "declared" };
    await regions.a.records.create("Instance", values, [], { id: instanceRecordId(instance) });
    const params = { instance };
    const update = handlers().updateInstance(call("updateInstance", { params, body: {} }));
    await expect(update).rejects.toEqual(refused("declared"));
    const gone = handlers().deleteInstance(call("deleteInstance", { params, query: {} }));
    await expect(gone).rejects.toEqual(refused("declared"));
    await expect(order("declared")).rejects.toEqual(refused("nameTaken"));
  });

  test("keeps what it does not name, and is refused on an older version", async () => {
    const made = await order("n", { description: "d", labels: { a: "b" } });
    const params = { instance: made.id };
    const changed = await handlers().updateInstance(
      call("updateInstance", { params, body: { description: "e" }, ifMatch: made.version }),
    );
    expect(changed).toMatchObject({ name: "n", description: "e", labels: { a: "b" } });
    expect(changed.version).not.toBe(made.version);
    const late = handlers().updateInstance(
      call("updateInstance", {
        params,
        body: { labels: {}, destroyOverKmip: "refused" as const, destroyDelay: 604_800 },
        ifMatch: made.version,
      }),
    );
    await expect(late).rejects.toEqual(refused("preconditionFailed"));
    await order("other");
    const taken = handlers().updateInstance(
      call("updateInstance", { params, body: { name: "other" } }),
    );
    await expect(taken).rejects.toEqual(refused("nameTaken"));
  });
});

describe("an instance is rekeyed", () => {
  const rekey = (instance: string) =>
    handlers().rekeyInstance(call("rekeyInstance", { params: { instance } }));

  test("only once it has a key, and not while it is deleted", async () => {
    const { id } = await order("one");
    await expect(rekey(id)).rejects.toMatchObject({ code: "wrongState" });
    await expect(rekey("none")).rejects.toMatchObject({ code: "notFound" });
    const instance = ids.uuid();
    await regions.instance(instance, "two");
    expect(await rekey(instance)).toMatchObject({
      id: instance,
      keks: [{ use: "seals", seals: 0 }],
    });
    await regions.a.records.change(
      "Instance",
      instanceRecordId(instance),
      () => ({ status: "Removing" as const }),
      [],
    );
    await expect(rekey(instance)).rejects.toMatchObject({ code: "wrongState" });
  });

  test("but not while a KEK waits for a region, or many older ones are kept", async () => {
    const instance = ids.uuid();
    await regions.instance(instance, "four");
    const make = async (createdMs: number, of: readonly string[]) => {
      const wrap = { rootOfTrust: "r", rootKeyVersion: "", blob: new Uint8Array(1) };
      const wraps = Object.fromEntries(of.map((region) => [region, wrap]));
      const values = { instance, createdMs, check: new Uint8Array(16), first: false, wraps };
      await regions.a.records.create("Kek", values, []);
    };
    for (let at = 1; at <= 8; at += 1) {
      await rekey(instance);
      await make(at * 1e13, ["a", "b"]);
    }
    await expect(rekey(instance)).rejects.toMatchObject({
      code: "wrongState",
      message: expect.stringContaining("keeps 8 older"),
    });
    await make(9e13, ["a"]);
    await expect(rekey(instance)).rejects.toMatchObject({
      code: "wrongState",
      message: expect.stringContaining("waits for a region"),
    });
  });

  test("and shows how far each region is", async () => {
    const instance = ids.uuid();
    await regions.instance(instance, "three");
    const state = { store: "s", resealed: 5, left: 2, quarantined: 0, reason: "", atMs: 1 };
    const held = { ...state, left: 0, quarantined: 3, sinceMs: 1_700_000_000_000 };
    const kek = (await rekey(instance)).keks?.[0]?.id ?? "";
    await regions.a.records.change("Kek", kek, () => ({ rekey: { a: state, b: held } }), []);
    const shown = await rekey(instance);
    expect(shown.regions["a"]?.rekey).toEqual({ kek, resealed: 5, left: 2, reason: "" });
    expect(shown.regions["b"]?.rekey).toMatchObject({
      left: 0,
      doneAt: "2023-11-14T22:13:20.000Z",
      reason: expect.stringContaining("3 copies in quarantine"),
    });
  });
});
