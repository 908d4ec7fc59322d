import { randomUUID } from "node:crypto";
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type AdminClient, type AdminProblem, cancelText, policyText } from "@holdfast/admin";
import { KmipClient } from "@holdfast/client";
import { type Attribute, attributeItem, tags } from "@holdfast/kmip";
import { until } from "@holdfast/testing";
import { makeCrl } from "@holdfast/testing/crl";
import { createAuthority, selfSigned } from "@holdfast/testing/pki";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parse, stringify } from "yaml";
import { exitCodeOf } from "../../packages/cli/src/terminal/exit-codes.ts";
import { exitCodes } from "../../packages/cli/src/terminal/exits.ts";
import { type ActionName, actions } from "../../packages/server/src/audit/actions.ts";
import {
  approversNamed,
  policyWith,
  signedBy,
} from "../../packages/server/src/testing/approvals.ts";
import { acceptRemoved } from "../support/accept.ts";
import { patientClient } from "../support/admin-api.ts";
import { holdfast, settled } from "../support/command-line.ts";
import { answered, createKey, importBothWays } from "../support/keys.ts";
import { OrderRegions } from "../support/order-roots.ts";
import { patient } from "../support/root-regions.ts";
import { type Trail, trailsIn } from "../support/trails.ts";
import { credentialsOf } from "../support/two-regions-clients.ts";
import { allWell, vitalsOf } from "../support/vitals.ts";

const instance = "declared";
const times = {
  ...{ kekCacheMs: 3_000, graceMs: 20_000, revalidateMs: 1_000, deadlineMs: 4_000 },
  keepKeksMs: 3_000,
};
/** The smallest value allowed, so that the limit is reached soon. */
const entriesMax = 1_000;

let site: OrderRegions;
let folder: string;
let client: KmipClient;
let admin: AdminClient;

const both = () => site.roots.both;
const configOf = (node: string) => both().node(node).configFile;
const file = (name: string) => join(folder, name);
/** A client of a1, with any token. */
const asked = (token: string) => patientClient({ node: both().node("a1"), ca: both().a.ca }, token);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "holdfast-actions-"));
  site = await OrderRegions.start(times, 1);
  await mkdir(file("backups"));
  const backup = { keyFile: file("backup.key"), directory: file("backups"), keep: 1 };
  const config = parse(await readFile(configOf("a1"), "utf8"));
  const validity = { notBeforeMs: Date.now() - 3_600_000, days: 2 };
  const authority = await createAuthority({ commonName: "VMCA", ...validity });
  await writeFile(file("vmca.pem"), authority.certificate);
  await writeFile(file("vmca.crl"), makeCrl(authority, { number: 1 }));
  const crls = [{ authority: file("vmca.pem"), files: [file("vmca.crl")] }];
  // So long that a key can be restored, and so short that a leader erases one within the test.
  const instances = config.instances.map((one: object) => ({ ...one, destroyDelay: 10 }));
  const store = { ...config.store, memoryFile: file("a1.memory") };
  const changed = { ...config, store, instances, backup, crls, audit: { entriesMax } };
  await writeFile(configOf("a1"), stringify(changed));
  await both().kill("a1");
  await command(0, "backup", "key", "init", "--config", configOf("a1"));
  // An older backup, which is deleted when the scheduled one is made.
  await command(0, "backup", "create", file("older"), "--config", configOf("a1"));
  await copyFile(file("older"), file("backups/holdfast-a-20200101T000000Z.backup"));
  await both().node("a1").start();
  await allWell(both());
  admin = asked((await readFile(site.file("token"), "utf8")).trim());
  const { host, kmip } = both().node("a1");
  const at = { endpoints: [`${host}:${kmip}`], tls: credentialsOf(both(), instance) };
  client = await answered(() => KmipClient.connect({ ...at, version: "2.1" }));
});

afterAll(async () => {
  await client?.close();
  await admin?.[Symbol.asyncDispose]();
  await site?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

interface Told {
  readonly action: string;
  readonly outcome: string;
  readonly id: string;
}

/** The newest events of an action, in both regions. */
async function eventsOf(action: ActionName): Promise<readonly Told[]> {
  const told = new Map<string, Told>();
  const query = { action: `vmware-solutions.${actions[action]?.cadf ?? ""}`, limit: 100 };
  for (const node of both().nodes.filter(({ running }) => running)) {
    const listed = () => site.roots.admin(node.name).call<"listEvents">("listEvents", { query });
    const { items } = await patient(listed);
    for (const event of items as unknown as readonly Told[]) told.set(event.id, event);
  }
  return [...told.values()];
}

const date = (name: "ActivationDate" | "DeactivationDate", inMs: number): Attribute => ({
  item: attributeItem(name, Math.floor((Date.now() + inMs) / 1000)),
});
const named = (text: string): Attribute => ({ item: attributeItem("Description", text) });
const key = async () => ({ uniqueIdentifier: await createKey(client) });

async function ordered(name: string): Promise<string> {
  const { items } = await admin.call("listInstances", { query: { name, limit: 10 } });
  const [found] = items;
  if (found !== undefined) return found.id;
  const { regions } = await site.rootFor("key-protect");
  const body = { name, rootOfTrust: { regions } } as never;
  const { id } = await admin.call("createInstance", { body });
  await until(`${name} is Installed`, async () => {
    const { status } = await admin.call("readInstance", { params: { instance: id } });
    return status === "Installed" || status;
  });
  return id;
}

async function certificateOf(name: string): Promise<string> {
  const params = { instance: await ordered("tenant") };
  const { items } = await admin.call("listCertificates", { params, query: { limit: 10 } });
  const found = items.find((one) => one.name === name);
  if (found !== undefined) return found.id;
  const validity = { notBeforeMs: Date.now() - 3_600_000, days: 2 };
  const { certificate: pem } = await selfSigned({ commonName: name, ...validity });
  return (await admin.call("addCertificate", { params, body: { name, pem } })).id;
}

async function user(body: { readonly password: string }): Promise<void> {
  const params = { instance: await ordered("tenant"), user: "esx" };
  await admin.call("setUser", { params, body });
}

/** A copy of a node's configuration with one setting changed. */
async function altered(node: string, change: Readonly<Record<string, unknown>>): Promise<string> {
  const config = parse(await readFile(configOf(node), "utf8")) as Record<string, unknown>;
  const path = join(both().region("a").folder, "altered.yaml");
  await writeFile(path, stringify({ ...config, ...change }));
  return path;
}

/**
 * Runs `work` while region a has no leader, so that no event is chained; and again if a1 did not use its own store all the
 * time. On a busy machine its lease may lapse, and without a leader the store does not catch up, so that b's has the events.
 */
async function unled(work: (usesOwn: () => Promise<boolean>) => Promise<void>): Promise<void> {
  const vitals = () => vitalsOf(both().node("a1"));
  await until("a1 uses its own store although nobody leads", async () => {
    await allWell(both());
    // A node that is about to lead may still begin to when the lock masters are frozen.
    await until("a1 leads region a", async () => (await vitals()).leads);
    const { servingChanges } = await vitals();
    const usesOwn = async () => (await vitals()).servingChanges === servingChanges;
    both().freeze("lock-a");
    try {
      await until("nobody leads region a", async () => !(await vitals()).leads);
      await work(usesOwn);
      return await usesOwn();
    } finally {
      both().thaw("lock-a");
    }
  });
}

type Outcome = "success" | "failure";
/** What causes an action, and its outcomes; both, where `act` succeeds and fails. */
interface Trigger {
  readonly outcomes: readonly Outcome[];
  readonly act: () => Promise<unknown>;
}

const well = (act: () => Promise<unknown>): Trigger => ({ outcomes: ["success"], act });
const fails = (act: () => Promise<unknown>): Trigger => ({ outcomes: ["failure"], act });
const bothWays = (act: () => Promise<unknown>): Trigger => ({
  outcomes: ["success", "failure"],
  act,
});
const refused = (work: Promise<unknown>) => expect(work).rejects.toThrow();

const rootParams = async () => ({ params: { instance: await ordered("tenant") } });
// An act that needs no store is done also while a busy machine keeps its event from the store.
const command = async (code: number, ...args: readonly string[]) =>
  expect(await settled(() => holdfast(...args), "trail has no event")).toMatchObject({ code });

const approvers = approversNamed("alice", "bob");
const policy = policyWith(approvers);
const manager = { name: "by approval", roles: ["manager" as const] };

/** The newest request for approvals. */
async function approvalAsked() {
  const { items } = await admin.call("listApprovals", { query: { limit: 1 } });
  const params = { approval: items[0]?.id ?? "" };
  const { document } = await admin.call("readApproval", { params });
  return { id: params.approval, params, text: document.slice(0, document.indexOf("\n\n") + 1) };
}

/** One row for each action. Rows run in this order: those that end something come last. */
const triggers: Readonly<Record<ActionName, Trigger>> = {
  "kmip-key.create": well(key),
  "kmip-key.register": well(async () => {
    const { object } = await client.get(await key());
    if (object === undefined) throw new Error("Get answered no object");
    const attributes = { attributes: [{ item: attributeItem("CryptographicUsageMask", 12) }] };
    const request = { objectType: "SymmetricKey", object } as const;
    await client.register({ ...request, attributes: { ...attributes, templateNames: [] } });
  }),
  "kmip-key.read": bothWays(async () => {
    await client.get(await key());
    await refused(answered(() => client.get({ uniqueIdentifier: "none" })));
  }),
  "kmip-key-attributes.retrieve": well(async () =>
    client.getAttributes({ ...(await key()), references: [] }),
  ),
  "kmip-key-attributes.update": well(async () =>
    client.addAttribute({ ...(await key()), newAttribute: named("one") }),
  ),
  "kmip-key-attributes.delete": well(async () => {
    const one = await key();
    await client.addAttribute({ ...one, newAttribute: named("one") });
    await client.deleteAttribute({ ...one, reference: { tag: tags.Description.tag, key: "" } });
  }),
  "kmip-key.activate": well(async () => client.activate(await key())),
  "kmip-key.deactivate": well(async () => {
    const one = await key();
    await client.activate(one);
    await client.addAttribute({ ...one, newAttribute: date("DeactivationDate", 2_000) });
  }),
  "kmip-key.revoke": well(async () =>
    client.revoke({ ...(await key()), revocationReason: { code: "KeyCompromise" } }),
  ),
  "kmip-key.destroy": well(async () => client.destroy(await key())),
  "key.restore": well(async () => {
    // On a busy machine one may be erased before.
    await until("a key is restored", async () => {
      const { uniqueIdentifier } = await client.destroy(await key());
      const restored = admin.call("restoreKey", { params: { instance, key: uniqueIdentifier } });
      return restored.then(Boolean, (error: AdminProblem) =>
        error.code === "wrongState" ? error : Promise.reject(error),
      );
    });
  }),
  "key.import": bothWays(() => importBothWays(admin, instance, client)),
  "kmip-key.erase": well(() =>
    until("the material is erased", async () => (await eventsOf("kmip-key.erase")).length > 0),
  ),
  "kmip-log.create": well(() => client.log({ logMessage: "hello" })),
  "instance.create": well(() => ordered("tenant")),
  "instance.configure": well(() => ordered("tenant")),
  "instance.update": well(async () =>
    admin.call("updateInstance", { ...(await rootParams()), body: { description: "of a test" } }),
  ),
  "certificate.create": well(() => certificateOf("vcenter")),
  "certificate.read": bothWays(async () => {
    const certificate = await certificateOf("vcenter");
    const { params } = await rootParams();
    await admin.call("readCertificate", { params: { ...params, certificate } });
    await refused(admin.call("readCertificate", { params: { ...params, certificate: "none" } }));
  }),
  "certificate.issue": well(async () =>
    admin.call("issuePair", { ...(await rootParams()), body: { name: "pair", days: 365 } }),
  ),
  // It expires in two days.
  "certificate.expire": well(() => certificateOf("vcenter")),
  "certificate.update": bothWays(async () => {
    const certificate = await certificateOf("vcenter");
    const { params } = await rootParams();
    const body = { operations: ["vsphere" as const] };
    await admin.call("updateCertificate", { params: { ...params, certificate }, body });
    await refused(
      admin.call("updateCertificate", { params: { ...params, certificate: "none" }, body }),
    );
  }),
  "certificate.delete": well(async () => {
    const certificate = await certificateOf("vcenter");
    const { params } = await rootParams();
    await admin.call("deleteCertificate", { params: { ...params, certificate } });
  }),
  "denial.create": bothWays(async () => {
    const body = { subject: "CN=nobody", reason: "of a test" };
    await refused(admin.call("addDenial", { body: { reason: "of a test" } }));
    await admin.call("addDenial", { body });
  }),
  "denial.delete": bothWays(async () => {
    const { items } = await admin.call("listDenials", { query: {} });
    const params = { denial: items[0]?.id ?? "" };
    await admin.call("removeDenial", { params });
    await refused(admin.call("removeDenial", { params }));
  }),
  // The node reads it at its start.
  "crl.read": well(async () => undefined),
  "authority.create": well(async () => undefined),
  "user.create": well(() => user({ password: "a good long password" })),
  "user.update": well(() => user({ password: "another long password" })),
  "user.delete": well(async () => {
    const { params } = await rootParams();
    await admin.call("deleteUser", { params: { ...params, user: "esx" } });
  }),
  "token.create": well(() =>
    admin.call("createToken", { body: { name: "one", roles: ["viewer"] } }),
  ),
  "token.revoke": bothWays(async () => {
    const body = { name: "two", roles: ["viewer" as const] };
    const { token: made } = await admin.call<"createToken">("createToken", { body });
    await admin.call("revokeToken", { params: { token: made.id } });
    const token = "6a1f7d0e-0000-4000-8000-000000000000";
    await refused(admin.call("revokeToken", { params: { token } }));
  }),
  "management.authorize": fails(async () => {
    await using stranger = asked("nobody");
    await refused(stranger.call("listInstances", { query: { limit: 1 } }));
  }),
  "root.list": bothWays(async () => {
    const { instanceId, apiKey } = site.roots.managers.a;
    const root = (value: string) =>
      ({ type: "key-protect", instanceId, apiKey: { value } }) as const;
    await admin.call("retrieveRootKeys", { body: { root: root(apiKey) } });
    await refused(admin.call("retrieveRootKeys", { body: { root: root("wrong") } }));
  }),
  "root.configure": well(async () => {
    const { regions } = await site.rootFor("key-protect");
    await admin.call("configureRoot", { ...(await rootParams()), body: { regions } as never });
  }),
  "root.rewrap": well(async () => admin.call("rewrapRoot", await rootParams())),
  "instance.rekey": well(async () => admin.call("rekeyInstance", await rootParams())),
  "storage-key.rotate": well(() => admin.call("rotateStorageKey", {})),
  // The leaders re-seal what the older key had sealed, and then remove that key.
  "kek.delete": well(() =>
    until("the older key is removed", async () => (await eventsOf("kek.delete")).length > 0),
  ),
  "root.rotate": well(async () => site.roots.managers.a.change(site.roots.rootKeys.a, "rotate")),
  "root.fail": fails(async () => {
    await site.roots.managers.a.change(site.roots.rootKeys.a, "disable");
    await until("the root key is disabled", async () => (await eventsOf("root.fail")).length > 0);
    await site.roots.managers.a.change(site.roots.rootKeys.a, "enable");
  }),
  "root.shred": bothWays(async () => {
    const of = await rootParams();
    await refused(admin.call("shredInstance", { ...of, body: { name: "another" } }));
    await admin.call("shredInstance", { ...of, body: { name: "tenant" } });
  }),
  "root.revalidate": well(async () => admin.call("revalidateRoot", await rootParams())),
  "sealing-key.rotate": bothWays(async () => {
    await command(0, "sealing-key", "rotate", "--config", configOf("a1"));
    const config = await altered("a1", { sealingKeyFile: "absent.json" });
    await command(2, "sealing-key", "rotate", "--config", config);
  }),
  "audit-key.rotate": bothWays(async () => {
    const withLog = (keyFile: string) => altered("a1", { audit: { log: { keyFile } } });
    const config = await withLog("audit-log.pem");
    await command(0, "audit-key", "init", "--config", config);
    await command(0, "audit-key", "rotate", "--config", config);
    await command(2, "audit-key", "rotate", "--config", await withLog("absent.pem"));
  }),
  // The first key of an instance was given to the other region, which wrapped it.
  "kek.give": well(async () => undefined),
  "root.allow-adopt": well(async () => {
    const allow = (lost: string) =>
      settled(() => holdfast("root", "allow-adopt", "--lost", lost, "--config", configOf("a1")));
    const { err } = await allow("another one");
    const [, lost = ""] = /there are keys under ([^,\n]+)/.exec(err) ?? [];
    expect(await allow(lost)).toMatchObject({ code: 0 });
  }),
  "backup.create": bothWays(async () => {
    const config = configOf("a1");
    await command(0, "backup", "create", file("one"), "--config", config);
    await command(2, "backup", "create", file("absent/one"), "--config", config);
  }),
  "backup.order": well(() => admin.call("runBackup", { body: {} })),
  // The scheduled backup deleted it; a failure needs a disk that deletes nothing: duty.test.ts.
  "backup.delete": well(async () => undefined),
  "backup.verify": bothWays(async () => {
    await command(0, "backup", "verify", file("older"), "--config", configOf("a1"));
    await command(2, "backup", "verify", file("absent"), "--config", configOf("a1"));
  }),
  "backup.restore": well(() =>
    command(0, "backup", "restore", file("older"), "--apply", "--config", configOf("a1")),
  ),
  "instance.wipe": well(async () =>
    admin.call("deleteInstance", { ...(await rootParams()), query: {} }),
  ),
  "instance.delete": bothWays(async () => {
    const params = { instance: instance };
    await refused(admin.call("deleteInstance", { params, query: {} }));
  }),
  "authority.delete": well(async () => undefined),
  "audit.drop": fails(() =>
    unled(async (usesOwn) => {
      const one = await key();
      const { primary } = both().a.redis;
      const before = await trailsIn(primary);
      const unchained = ({ keys, gone }: Trail) =>
        gone > (before.find((trail) => trail.keys === keys)?.last ?? 0);
      // Each answered Get has its event; on a busy machine the store may not answer some of them.
      await until("the store gave up entries that nobody had chained", async () => {
        await Promise.allSettled(Array.from({ length: 50 }, () => client.get(one)));
        return (await trailsIn(primary)).some(unchained) || !(await usesOwn());
      });
    }),
  ),
  "audit.damage": fails(() =>
    unled(async (usesOwn) => {
      const { primary } = both().a.redis;
      for (const name of [randomUUID(), randomUUID()]) {
        await admin.call("createToken", { body: { name, roles: ["viewer"] } });
      }
      if (!(await usesOwn())) return;
      const newest = ["{sys}:audit", "+", "-", "COUNT", "2"] as const;
      const [, second] = (await primary.command("xrevrange", ...newest)) as [[string], [string]];
      expect(await primary.command("xdel", "{sys}:audit", second[0])).toBe(1);
    }),
  ),
  "store.accept": well(() => acceptRemoved(client, both().a.redis.primary, configOf("a1"))),
  "region.retire": bothWays(async () => {
    const config = ["--config", configOf("a1")];
    const retire = ["region", "retire", "b", "--endpoints-are-off", "b", ...config];
    // It is refused while the regions see each other, which a busy machine may end for a moment.
    await allWell(both());
    await command(6, ...retire);
    await both().kill("b");
    // A busy machine may end the lease of a's store, which is not level from then on.
    await command(0, ...retire, "--although-not-level", "b");
  }),
  // In one region: nothing needs the other's agreement now.
  "approval.policy": bothWays(async () => {
    const text = policyText(policy);
    await writeFile(file("policy"), text);
    await writeFile(file("signatures"), signedBy(text, approvers));
    const given = ["--file", file("policy"), "--signatures", file("signatures")];
    await command(0, "approval", "init", ...given, "--config", configOf("a1"));
    await refused(admin.call("changeApprovalPolicy", { body: { text, signatures: "none" } }));
  }),
  "approval.request": well(() => refused(admin.call("createToken", { body: manager }))),
  "approval.sign": bothWays(async () => {
    const { params, text } = await approvalAsked();
    const body = { signatures: signedBy(text, approvers) };
    await refused(admin.call("signApproval", { params, body: { signatures: "none" } }));
    await admin.call("signApproval", { params, body });
  }),
  "approval.use": bothWays(async () => {
    const { id } = await approvalAsked();
    await admin.call("createToken", { body: manager }, { approval: id });
    await refused(admin.call("createToken", { body: manager }, { approval: id }));
  }),
  "approval.cancel": bothWays(async () => {
    await refused(admin.call("createToken", { body: { ...manager, name: "never" } }));
    const { params } = await approvalAsked();
    await admin.call("cancelApproval", { params });
    await refused(admin.call("cancelApproval", { params }));
  }),
  "approval.reset": well(() => command(0, "approval", "reset", "--config", configOf("a1"))),
  "approval.stop": bothWays(async () => {
    const find = async () =>
      (await admin.call("readApprovalPolicy", {})).items.find(({ state }) => state === "waiting");
    await until("the node knows the reset", async () => (await find()) !== undefined);
    const waiting = await find();
    const params = { policy: waiting?.id ?? "" };
    const alice = approvers.filter(({ name }) => name === "alice");
    const text = cancelText(waiting?.digest ?? "", waiting?.id ?? "");
    const body = { signatures: signedBy(text, alice) };
    await refused(admin.call("stopApprovalPolicy", { params, body: { signatures: "none" } }));
    await admin.call("stopApprovalPolicy", { params, body });
  }),
};

/** False if a busy node asked to try again: the caller repeats the action. */
async function done(act: () => Promise<unknown>): Promise<boolean> {
  try {
    await act();
    return true;
  } catch (error) {
    if (exitCodeOf(error) !== exitCodes.again.code) throw error;
    return false;
  }
}

test("every action has a row in this test", () => {
  expect(Object.keys(triggers).toSorted()).toEqual(Object.keys(actions).toSorted());
});

test.each(Object.entries(triggers) as [ActionName, Trigger][])(
  "%s leaves its event",
  async (action, { act, outcomes }) => {
    await until(`${action} is done`, () => done(act));
    await until(`events of ${action}: ${outcomes.join(" and ")}`, async () => {
      const told = (await eventsOf(action)).map(({ outcome }) => outcome);
      const missing = outcomes.filter((outcome) => !told.includes(outcome));
      return missing.length === 0 || `none with outcome ${missing.join(", ")}`;
    });
  },
);
