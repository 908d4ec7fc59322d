import { beforeEach, expect, test, vi } from "vitest";

vi.hoisted(() => {
  vi.stubGlobal("document", { baseURI: "https://a1.test/console/" });
  vi.stubGlobal("location", { hash: "" });
  vi.stubGlobal("window", { addEventListener: () => undefined });
});
vi.mock("../base/contract.ts", async () => ({
  operations: (await import("../base/contract-data.ts")).operationsOf(),
}));
const { asked, nodes, who } = await import("../base/api.ts");
const { ActionModel } = await import("../parts/action-model.ts");
const { regions } = await import("../base/known-regions.ts");
const { pages } = await import("./pages.ts");
const { ResourceModel, said } = await import("./resource-model.ts");
const { place } = await import("../base/router.ts");

const [a1, b1] = ["https://a1.test/", "https://b1.test/"] as const;
/** What nodes answer, by the address without its scheme; all else is not found. */
const answers: Record<string, object> = {};
/** Requests as `METHOD address`. */
const sent: string[] = [];

beforeEach(() => {
  for (const address of Object.keys(answers)) delete answers[address];
  sent.length = 0;
  nodes.value = [a1, b1];
  asked.value = a1;
  regions.value = ["a", "b"];
  vi.stubGlobal("fetch", async (url: URL, { method }: RequestInit) => {
    sent.push(`${method} ${url.host}${url.pathname}`);
    const answer = answers[url.host + url.pathname];
    if (answer !== undefined) return Response.json(answer);
    return Response.json({ code: "notFound", detail: "not found" }, { status: 404 });
  });
});

async function loaded(reads: string, params: Readonly<Record<string, string>> = {}) {
  const page = pages.find((one) => one.reads === reads);
  if (page === undefined) throw new Error(`no page reads ${reads}`);
  const model = new ResourceModel(page, params, {});
  await model.load();
  return model;
}

test.each(["listKeys", "listCertificates", "listUsers", "readAuthority", "readInstance"])(
  "a page of an instance that is missing says so, and is not empty: %s",
  async (reads) => {
    const model = await loaded(reads, { instance: "nobody" });
    expect(model.error.value).toMatchObject({ code: "notFound" });
    expect(model.items.value).toBeUndefined();
  },
);

test("an instance without an authority, and a service without an approval policy, are empty", async () => {
  answers["a1.test/v1/instances/demo"] = { name: "demo" };
  for (const reads of ["readAuthority", "readApprovalPolicy"]) {
    const model = await loaded(reads, reads === "readAuthority" ? { instance: "demo" } : {});
    expect(model.error.value).toBeUndefined();
    expect(model.items.value).toEqual([]);
  }
});

test("rotates the storage key of the row's region, also after the console has moved to another node", async () => {
  for (const [node, region] of [
    ["a1", "a"],
    ["b1", "b"],
  ] as const) {
    const key = { region, number: 1, rotation: "none" };
    answers[`${node}.test/v1/storage-key`] = key;
    answers[`${node}.test/v1/storage-key/rotate`] = key;
  }
  const model = await loaded("readStorageKey");
  const [ofA] = model.items.value ?? [];
  asked.value = b1;
  model.begin("rotateStorageKey", { item: ofA ?? {}, params: {} });
  const { value: action } = model.action;
  if (action === undefined) throw new Error("no action");
  expect(action.target).toBe("region a");
  await new ActionModel(action, () => undefined).carryOut(false);
  expect(sent.at(-1)).toBe("POST a1.test/v1/storage-key/rotate");
});

test("names a region whose storage key no node shows", async () => {
  answers["a1.test/v1/storage-key"] = { region: "a", number: 1, rotation: "none" };
  const model = await loaded("readStorageKey");
  expect(model.items.value).toHaveLength(1);
  expect(model.missing.value).toContain("b1.test gave no answer of its own");
  expect(model.missing.value).toContain("No node of region b has answered");
});

test("a backup is ordered of the region that the form names from its begin", () => {
  who.value = { region: "a" } as NonNullable<typeof who.value>;
  const action = { name: "runBackup", params: {}, target: "" } as const;
  const model = new ActionModel(action, () => undefined);
  who.value = { region: "b" } as NonNullable<typeof who.value>;
  expect(model.request.body).toEqual({ region: "a" });
});

test("an answer that comes after the person has left the page does not change the place, and is shown at the page where it was asked", async () => {
  place.value = { path: "/instances/one", query: {} };
  answers["a1.test/v1/instances/one"] = { name: "one" };
  const model = await loaded("readInstance", { instance: "one" });
  model.begin("deleteInstance");
  const { value: action } = model.action;
  if (action === undefined) throw new Error("no action");
  place.value = { path: "/instances/another", query: {} };
  model.done(action, {});
  expect(location.hash).toBe("");
  expect(said.value).toEqual({ text: "Delete instance: done.", path: "/instances" });
  place.value = { path: "/instances/one", query: {} };
  model.done(action, {});
  expect(location.hash).toBe("/instances");
});
