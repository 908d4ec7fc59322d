import { until } from "@holdfast/testing";
import { selfSigned } from "@holdfast/testing/pki";
import { afterAll, beforeAll, expect, test } from "vitest";
import { stringify } from "yaml";
import { type OrderedKind, OrderRegions, orderedKinds } from "../support/order-roots.ts";
import { patient } from "../support/root-regions.ts";
import { hasSoftHsm, softHsmMissing } from "../support/softhsm.ts";

const times = { kekCacheMs: 3_000, graceMs: 60_000, revalidateMs: 1_000, deadlineMs: 4_000 };
const kinds = orderedKinds.filter((kind) => kind !== "pkcs11" || hasSoftHsm());
if (!hasSoftHsm()) test.skip(softHsmMissing, () => {});

let site: OrderRegions;

beforeAll(async () => {
  site = await OrderRegions.start(times, 1);
});

afterAll(() => site?.[Symbol.asyncDispose]());

function apply(file: string, ...more: readonly string[]) {
  return site.settled("apply", "-f", file, ...more);
}

/** Declares an instance whose secrets are in files next to the declaration. */
async function declared(kind: OrderedKind, name: string): Promise<string> {
  const { regions } = await site.rootFor(kind);
  const secretFile = kind === "hpcs" ? "b.key" : kind === "pkcs11" ? "pin" : "a.key";
  const rootOfTrust = Object.fromEntries(
    Object.entries(regions).map(([region, { apiKey, pin, ...root }]) => [
      region,
      {
        ...root,
        ...(apiKey !== undefined && { apiKey: { fromFile: secretFile } }),
        ...(pin !== undefined && { pin: { fromFile: secretFile } }),
      },
    ]),
  );
  return await site.write(`${kind}.yaml`, stringify({ instances: [{ name, rootOfTrust }] }));
}

const admin = () => site.roots.admin("a1");

async function installed(instance: string): Promise<void> {
  await until(`${instance} is Installed`, async () => {
    const asked = () => admin().call("readInstance", { params: { instance } });
    const { status } = await patient(asked);
    return status === "Installed" || status;
  });
}

async function instancesNamed(name: string): Promise<readonly unknown[]> {
  const query = { name, limit: 10 };
  return (await patient(() => admin().call<"listInstances">("listInstances", { query }))).items;
}

/** What a move of the root of trust would change: its events, and the nodes' open roots. */
async function moves(): Promise<readonly unknown[]> {
  const query = { action: "vmware-solutions.kmip-root-key.set", limit: 1000 };
  const events = () => admin().call<"listEvents">("listEvents", { query });
  const { items } = await patient(events);
  const metrics = await site.roots.both.node("a1").metrics();
  const open = metrics.match(/^holdfast_root_ok\{.*$/gm) ?? [];
  return [items.length, open.length];
}

test.each(kinds)("apply with %s roots changes nothing the second time", async (kind) => {
  const name = `applied ${kind}`;
  const file = await declared(kind, name);
  const dry = await apply(file, "--dry-run");
  expect(dry).toMatchObject({ code: 0, err: "" });
  expect(dry.out).toContain(`+ instance ${name} with roots of trust in a, b`);
  expect(await instancesNamed(name)).toEqual([]);
  expect(await apply(file)).toMatchObject({ code: 0, err: "" });
  await installed(name);
  const before = await moves();
  const again = await apply(file);
  expect(again).toMatchObject({ code: 0, err: "" });
  expect(again.out).not.toMatch(/^[+~-]/m);
  expect(again.out).not.toContain("with all of its keys");
  expect(await moves()).toEqual(before);
  if (kind === "local") return;
  const sent = await apply(file, "--update-secrets");
  expect(sent.out).toContain(
    `done: ~ instance ${name}: API key or PIN of the root of trust in a, b`,
  );
  expect(sent.code).toBe(0);
  await installed(name);
});

test("a dry run refuses what apply would refuse, with the same exit code", async () => {
  const { regions } = await site.rootFor("key-protect");
  const wrong = { ...regions.a, apiKey: { fromFile: "b.key" } };
  const rootOfTrust = { a: wrong, b: { type: "local" } };
  const file = await site.write(
    "wrong.yaml",
    stringify({ instances: [{ name: "wrong", rootOfTrust }] }),
  );
  const [dry, real] = [await apply(file, "--dry-run"), await apply(file)];
  expect(dry.code).toBe(2);
  expect(dry.err).toMatch(/^holdfast: \+ instance wrong .*nothing was changed\n$/);
  // Each request has its own identifiers.
  const bare = (text: string) =>
    text.replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, "ID");
  expect([real.code, bare(real.err)]).toEqual([dry.code, bare(dry.err)]);
  expect(await instancesNamed("wrong")).toEqual([]);
});

test("a renewed certificate is added beside the old one, and the next apply changes nothing", async () => {
  const name = "renewed";
  const { regions: rootOfTrust } = await site.rootFor("local");
  const declare = async (commonName: string): Promise<string> => {
    const notBeforeMs = Date.now() - 3_600_000;
    const { certificate } = await selfSigned({ commonName, notBeforeMs, days: 2 });
    await site.write("vcenter.pem", certificate);
    const certificates = [{ name: "vcenter", file: "vcenter.pem" }];
    const text = stringify({ instances: [{ name, rootOfTrust, certificates }] });
    return await site.write("renewed.yaml", text);
  };
  expect(await apply(await declare("old"))).toMatchObject({ code: 0, err: "" });
  const file = await declare("new");
  const added = await apply(file);
  expect(added).toMatchObject({ code: 0, err: "" });
  expect(added.out).toContain(`done: + certificate vcenter-new of ${name}, in place of vcenter`);
  const params = { instance: name };
  const listing = { params, query: { limit: 10 } };
  const listed = () => admin().call<"listCertificates">("listCertificates", listing);
  const { items } = await patient(listed);
  expect(items.map((one) => [one.name, one.subject])).toEqual([
    ["vcenter", "CN=old"],
    ["vcenter-new", "CN=new"],
  ]);
  const again = await apply(file);
  expect(again).toMatchObject({ code: 0, err: "" });
  expect(again.out).toContain(`  certificate vcenter of ${name} is not declared so, and stays`);
  expect(again.out).toContain("nothing to do: the service is as declared");
});
