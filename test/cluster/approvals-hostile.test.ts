import { randomUUID, X509Certificate } from "node:crypto";
import { type AdminClient, policyText } from "@holdfast/admin";
import {
  type ManagedObject,
  makeRecord,
  markedIdentifier,
  StoreUnavailable,
  systemInstance,
} from "@holdfast/engine";
import { answerOf, until } from "@holdfast/testing";
import { selfSigned } from "@holdfast/testing/pki";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { StorageKeys } from "../../packages/redis/src/storage-keys/storage-keys.ts";
import { systemClock as clock, systemIds as ids } from "../../packages/server/src/base/system.ts";
import { certificateFixed } from "../../packages/server/src/management/certificates/certificate-values.ts";
import { atRegions } from "../../packages/server/src/store/region-commands.ts";
import {
  approversNamed,
  policyWith,
  signedBy,
} from "../../packages/server/src/testing/approvals.ts";
import { tokenValues } from "../../packages/server/src/testing/system-records.ts";
import { firstToken, patientClient } from "../support/admin-api.ts";
import { isLetIn } from "../support/greeting.ts";
import { storageKeysIn } from "../support/node-root.ts";
import { commitAs } from "../support/stored-value.ts";
import { startTwoRegions, type TwoRegions } from "../support/two-regions.ts";
import { allWell, caughtUp, vitalsOf } from "../support/vitals.ts";

const hourMs = 3_600_000;
const approvers = approversNamed("alice", "bob", "carol");
const policy = policyWith(approvers);

let both: TwoRegions;
let keys: StorageKeys;
let admins: Readonly<Record<string, AdminClient>>;
let instance: string;
let denial: string;

const at = (node: string): AdminClient => admins[node] as AdminClient;
const machine = { environment: process.env, clock, ids };
const now = () => ({ us: Date.now() * 1_000, region: "a" });

/** Writes to region a's store as a node of it does that asks nobody. */
async function write(after: ManagedObject): Promise<void> {
  const change = { kind: "create", after } as const;
  expect(await commitAs(keys.newest, both.a.redis.primary, [change])).toBe("committed");
}

/** Pushes to region b with the certificate and the region key of region a. */
async function push(objects: readonly ManagedObject[]): Promise<readonly string[]> {
  return await atRegions(both.node("a1").configFile, machine, async ({ peer }) => {
    if (peer === undefined) throw new Error("no other region");
    // On a busy machine the regions may lose each other for a moment.
    const isBusy = (error: unknown) => error instanceof StoreUnavailable;
    return await answerOf("region b answers", () => peer.push(objects), isBusy);
  });
}

/** A system record as region a has it. */
async function recordOf(id: string): Promise<ManagedObject> {
  return await atRegions(both.node("a1").configFile, machine, async ({ peer }) => {
    if (peer === undefined) throw new Error("no other region");
    const isBusy = (error: unknown) => error instanceof StoreUnavailable;
    const fetch = () => peer.fetch(systemInstance, [id]);
    const [found] = await answerOf("region b answers", fetch, isBusy);
    if (found === undefined) throw new Error(`no record ${id}`);
    return found.object;
  });
}

const tokensAt = async (node: string) =>
  (await at(node).call("listTokens", { query: { limit: 1000 } })).items.map(({ name }) => name);

const token = (name: string, role: "manager" | "viewer") =>
  makeRecord(
    "Token",
    randomUUID(),
    {
      ...tokenValues,
      ...{ name, role: [role], hash: Buffer.from(ids.randomBytes(32)).toString("hex") },
      expiresMs: Date.now() + 24 * hourMs,
    },
    now(),
  );

beforeAll(async () => {
  both = await startTwoRegions({ instances: ["declared"], replicas: 0, admin: true });
  await allWell(both);
  keys = await storageKeysIn(both.a);
  const { ca } = both.a;
  const first = await firstToken({ node: both.node("a1"), ca });
  admins = Object.fromEntries(
    both.nodes.map((node) => [node.name, patientClient({ node, ca }, first)]),
  );
  const local = { type: "local" } as const;
  const body = { name: "vcenter", rootOfTrust: { regions: { a: local, b: local } } };
  ({ id: instance } = await at("a1").call<"createInstance">("createInstance", { body }));
  await until("it is Installed", async () => {
    const shown = await at("a1").call("readInstance", { params: { instance } });
    return shown.status === "Installed";
  });
  const denied = { subject: "CN=nobody", reason: "of a test" };
  ({ id: denial } = await at("a1").call<"addDenial">("addDenial", { body: denied }));
  await caughtUp(both);
  // It began two hours ago: what was done before has arrived.
  const text = policyText(policy);
  const values = { text, signatures: signedBy(text, approvers), createdBy: "operator" };
  const id = markedIdentifier("ApprovalPolicy", randomUUID());
  await write(
    makeRecord("ApprovalPolicy", id, { ...values, createdMs: Date.now() - 2 * hourMs }, now()),
  );
  for (const { name } of both.nodes) {
    await until(`${name} knows the policy`, async () => {
      const { items } = await at(name).call("readApprovalPolicy", {});
      return items[0]?.state === "in-force";
    });
  }
});

afterAll(async () => {
  await Promise.all(Object.values(admins ?? {}).map((one) => one[Symbol.asyncDispose]()));
  await both?.[Symbol.asyncDispose]();
});

test("what a region made past the approvers, the other one takes neither by push nor by catch-up", async () => {
  const client = await selfSigned({
    commonName: "thief",
    notBeforeMs: Date.now() - hourMs,
    days: 2,
  });
  const about = { instance, kind: "client", origin: "added", createdMs: 1 } as const;
  const fixed = certificateFixed(new X509Certificate(client.certificate), {
    ...about,
    createdBy: "thief",
  });
  const certificate = makeRecord("Certificate", randomUUID(), { ...fixed, name: "thief" }, now());
  const manager = token("thief", "manager");
  const lifted = await recordOf(denial);
  const destroyed = { time: Math.floor(Date.now() / 1000), region: "a" };
  const forged = [manager, certificate, { ...lifted, facts: { ...lifted.facts, destroyed } }];
  expect(await push(forged)).toEqual(["refused", "refused", "refused"]);
  await write(manager);
  await write(certificate);
  // What was written after it is taken: neither the cursor nor the level waits for what is refused.
  await write(token("later", "viewer"));
  for (const name of ["b1", "b2"]) {
    const hasLater = async () => (await tokensAt(name)).includes("later");
    await until(`${name} has what came later`, hasLater);
    expect(await tokensAt(name)).not.toContain("thief");
    expect(await isLetIn(both.node(name), both.b.ca, client)).toBe(false);
    const denials = async () => (await at(name).call("listDenials", { query: {} })).items;
    await until(`${name} lists the denial`, async () => (await denials()).length === 1);
  }
  await caughtUp(both);
  const isCounted = async () => {
    const shown = await Promise.all(both.b.nodes.map((node) => node.metrics().catch(() => "")));
    return shown.some((text) => /^holdfast_unproven_records\{.*\} 2$/m.test(text));
  };
  await until("the leader counts what it does not take", isCounted);
  // The log is limited, so it names one of them at least.
  await until("a log says so", () => {
    const lines = both.b.nodes.flatMap((node) => node.logText().split("\n"));
    const said = lines.filter((line) => line.includes("nothing proves that it was approved"));
    return forged.some(({ uniqueIdentifier: id }) => said.some((line) => line.includes(id)));
  });
});

test("what a region did with approvals in a cut, the other one takes afterwards", async () => {
  const body = { name: "second", roles: ["manager" as const] };
  await both.cut();
  const isAlone = async () => (await vitalsOf(both.node("a1")).catch(() => undefined))?.peerUp;
  await until("a1 is alone", async () => (await isAlone()) === false);
  await expect(at("a1").call("createToken", { body })).rejects.toMatchObject({
    code: "approvalNeeded",
  });
  const { items } = await at("a1").call("listApprovals", { query: { limit: 1000 } });
  const approval = items[0]?.id ?? "";
  const { document } = await at("a1").call("readApproval", { params: { approval } });
  const text = document.slice(0, document.indexOf("\n\n") + 1);
  expect(text).toContain("\nin a\n");
  const signatures = signedBy(text, approvers.slice(0, 2));
  await at("a1").call("signApproval", { params: { approval }, body: { signatures } });
  await at("a1").call("createToken", { body }, { approval });
  await both.heal();
  for (const name of ["b1", "b2"]) {
    await until(`${name} has the token`, async () => (await tokensAt(name)).includes("second"));
  }
});
