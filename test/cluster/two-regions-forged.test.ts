import { randomBytes, randomUUID, X509Certificate } from "node:crypto";
import { type ManagedObject, makeRecord, systemInstance } from "@holdfast/engine";
import { until } from "@holdfast/testing";
import { type Issued, selfSigned } from "@holdfast/testing/pki";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readRecordHeader } from "../../packages/redis/src/connection/record-header.ts";
import {
  deriveStorageKey,
  type StorageKeys,
} from "../../packages/redis/src/storage-keys/storage-keys.ts";
import { certificateFixed } from "../../packages/server/src/management/certificates/certificate-values.ts";
import { adminClient, firstToken } from "../support/admin-api.ts";
import { isLetIn } from "../support/greeting.ts";
import { storageKeysIn } from "../support/node-root.ts";
import { recordOf } from "../support/redis-store.ts";
import { patient } from "../support/root-regions.ts";
import { commitAs, recordIn } from "../support/stored-value.ts";
import { startTwoRegions, type TwoRegions } from "../support/two-regions.ts";
import { allWell, caughtUp, vitalsOf } from "../support/vitals.ts";

const now = { us: Date.now() * 1_000, region: "a" };

let both: TwoRegions;
let keys: StorageKeys;
let instance: string;

beforeAll(async () => {
  both = await startTwoRegions({ instances: ["declared"], replicas: 0, admin: true });
  await allWell(both);
  keys = await storageKeysIn(both.a);
  const node = both.node("a1");
  const { ca } = both.a;
  await using admin = adminClient({ node, ca }, await firstToken({ node, ca }));
  const local = { type: "local" } as const;
  const body = { name: "vcenter", rootOfTrust: { regions: { a: local, b: local } } };
  ({ id: instance } = await patient(() =>
    admin.call<"createInstance">("createInstance", { body }),
  ));
  await until("it is Installed", async () => {
    const shown = await patient(() => admin.call("readInstance", { params: { instance } }));
    return shown.status === "Installed";
  });
});

afterAll(async () => both?.[Symbol.asyncDispose]());

/** What somebody has who can write to region a's Redis: any key but the store's. */
const ownKey = () =>
  deriveStorageKey(randomBytes(32), { storeId: keys.storeId, region: "a", number: 1 });

const client = () =>
  selfSigned({ commonName: "client", notBeforeMs: Date.now() - 3_600_000, days: 2 });

/** The record that admits a client's certificate to the instance. */
function admitting({ certificate }: Issued): ManagedObject {
  const about = {
    instance,
    kind: "client",
    origin: "added",
    createdMs: 1,
    createdBy: "admin",
  } as const;
  const fixed = certificateFixed(new X509Certificate(certificate), about);
  const name = `client ${randomUUID()}`;
  return makeRecord("Certificate", randomUUID(), { ...fixed, name }, now);
}

const admits = (node: string, shown: Issued) => isLetIn(both.node(node), both.a.ca, shown);

async function quarantined(): Promise<number> {
  const vitals = await Promise.all(both.a.nodes.map(vitalsOf));
  return Math.max(...vitals.map((one) => one.quarantined));
}

test("a certificate record that was written to Redis without the store's key admits nobody, and is reported", async () => {
  const { primary } = both.a.redis;
  const thief = await client();
  const forged = admitting(thief);
  const change = { kind: "create", after: forged } as const;
  expect(await commitAs(ownKey(), primary, [change])).toBe("committed");
  await until("put into quarantine", async () => (await quarantined()) > 0);
  const id = forged.uniqueIdentifier;
  await until("told by a node", async () => {
    const said = both.a.nodes.map((node) => node.logText()).join("");
    return said.includes(`record ${id} is put in quarantine`);
  });
  // What was written after it is in force: the forged record was looked at, too.
  const known = await client();
  const genuine = { kind: "create", after: admitting(known) } as const;
  expect(await commitAs(keys.newest, primary, [genuine])).toBe("committed");
  for (const { name } of both.nodes) {
    await until(`the known client is let in at ${name}`, () => admits(name, known));
    expect(await admits(name, thief), name).toBe(false);
  }
});

test("a record that was exchanged in Redis is healed from the other region, although no client reads it", async () => {
  const { primary } = both.a.redis;
  const known = await client();
  const genuine = admitting(known);
  const id = genuine.uniqueIdentifier;
  const change = { kind: "create", after: genuine } as const;
  expect(await commitAs(keys.newest, primary, [change])).toBe("committed");
  await until("let in", () => admits("b1", known));
  await caughtUp(both);
  const { key, value } = await recordOf(primary, systemInstance, id);
  const before = { object: genuine, tag: readRecordHeader(value)?.tag ?? "" };
  const thief = await client();
  const after = { ...admitting(thief), uniqueIdentifier: id };
  const exchange = { kind: "update", before, after } as const;
  expect(await commitAs(ownKey(), primary, [exchange], 2)).toBe("committed");
  await until("healed", async () => {
    const { value: is } = await recordOf(primary, systemInstance, id);
    try {
      return recordIn(keys, key, is).equals(recordIn(keys, key, value));
    } catch {
      return false;
    }
  });
  for (const { name } of both.nodes) {
    expect(await admits(name, thief), name).toBe(false);
    await until(`the known client is let in at ${name}`, () => admits(name, known));
  }
});
