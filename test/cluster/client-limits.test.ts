import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AdminClient } from "@holdfast/admin";
import { KmipClient } from "@holdfast/client";
import { until } from "@holdfast/testing";
import { createAuthority, type Issued } from "@holdfast/testing/pki";
import { afterAll, beforeAll, expect, test } from "vitest";
import { firstToken, patientClient } from "../support/admin-api.ts";
import { commandLine, settled } from "../support/command-line.ts";
import { answered, createKey, keyBytes } from "../support/keys.ts";
import { startTwoRegions, type TwoRegions } from "../support/two-regions.ts";
import { told } from "../support/two-regions-clients.ts";
import { allWell } from "../support/vitals.ts";

const day = { notBeforeMs: Date.now() - 3_600_000, days: 2 };
const revocationReason = { code: "CessationOfOperation" } as const;
const denied = /^PermissionDenied/;

let both: TwoRegions;
let folder: string;
let admin: AdminClient;
let site: readonly string[];
let shown: Issued;
let instance: string;

async function command(...args: readonly string[]): Promise<string> {
  const env = { XDG_CONFIG_HOME: folder };
  const said = await settled(() => commandLine([...args, ...site], { env }));
  expect({ ...said, out: "" }).toEqual({ code: 0, out: "", err: "" });
  return said.out;
}

/** A client of the instance at one node; a new connection each time. */
function at(name: string, password?: string): Promise<KmipClient> {
  const { host, kmip } = both.node(name);
  const connect = () =>
    KmipClient.connect({
      endpoints: [`${host}:${kmip}`],
      tls: { ca: both.a.ca, certificate: shown.certificate, key: shown.key },
      ...(password && {
        credentials: [{ type: "UsernameAndPassword" as const, username: "reader", password }],
      }),
    });
  return answered(connect);
}

/** Waits until a node answers so: on a busy machine it may not be able to for a moment. */
async function says(what: string, ask: () => Promise<unknown>, wanted: RegExp): Promise<void> {
  await until(what, async () => {
    const answer = await told(ask());
    return wanted.test(answer) || answer;
  });
}

/** Asks at every node, by a new connection, until all answer so. */
async function everywhere(
  what: string,
  ask: (client: KmipClient) => Promise<unknown>,
  wanted: RegExp,
  password?: string,
): Promise<void> {
  for (const { name } of both.nodes) {
    const asking = async () => {
      await using client = await at(name, password);
      return await ask(client);
    };
    await says(`${name}: ${what}`, asking, wanted);
  }
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "holdfast-limits-"));
  both = await startTwoRegions({ instances: ["declared"], replicas: 0, admin: true });
  await allWell(both);
  const { ca } = both.a;
  const node = both.node("a1");
  const token = await firstToken({ node, ca });
  admin = patientClient({ node, ca }, token);
  await writeFile(join(folder, "ca.pem"), ca);
  await writeFile(join(folder, "token"), `${token}\n`, { mode: 0o600 });
  site = [
    ...["--url", `https://${node.host}:${node.admin}`],
    ...["--ca", join(folder, "ca.pem"), "--token-file", join(folder, "token")],
  ];
  const local = { type: "local" as const };
  const { id } = await admin.call("createInstance", {
    body: { name: "kmip-aa", rootOfTrust: { regions: { a: local, b: local } } },
  });
  instance = id;
  await until("it is Installed", async () => {
    return (await admin.call("readInstance", { params: { instance } })).status === "Installed";
  });
  const vmca = await createAuthority({ commonName: "VMCA", ...day });
  shown = await vmca.issue({ commonName: "vcenter.example", ...day });
  await writeFile(join(folder, "vmca.pem"), vmca.certificate);
  const added = ["kmip-aa", "--name", "vmca", "--kind", "authority"];
  await command("certificate", "add", ...added, "--file", join(folder, "vmca.pem"));
  await everywhere("it answers", (client) => createKey(client), /^answered/);
});

afterAll(async () => {
  await admin?.[Symbol.asyncDispose]();
  await both?.[Symbol.asyncDispose]();
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
});

test("an ordered instance keeps its keys: clients neither destroy nor revoke them, operators do, and it can be allowed", async () => {
  await using open = await at("b1");
  const make = () => answered(() => createKey(open));
  const [first, second] = [await make(), await make()];
  for (const id of [first, second]) await answered(() => open.activate({ uniqueIdentifier: id }));
  const bytes = await answered(() => keyBytes(open, first));
  for (const { name } of both.nodes) {
    await using client = await at(name);
    const uniqueIdentifier = first;
    await says(`${name}: no destruction`, () => client.destroy({ uniqueIdentifier }), denied);
    const refused = /^PermissionDenied.*an operator can: `holdfast key revoke`/;
    const revoke = () => client.revoke({ uniqueIdentifier, revocationReason });
    await says(`${name}: no revocation`, revoke, refused);
    expect(await answered(() => keyBytes(client, first)), name).toBe(bytes);
  }
  await until("both are events", async () => {
    const events = await admin.call("listEvents", { query: { instance, outcome: "failure" } });
    const failed = events.items.map(({ action }) => action.replace(/^.*\./, ""));
    return (failed.includes("destroy") && failed.includes("revoke")) || failed.join();
  });

  await command("key", "destroy", "kmip-aa", second, "--force", "--confirm", second);
  await command("instance", "update", "kmip-aa", "--destroy-over-kmip", "allowed");
  // The connection that was open before sees it too.
  const revoke = () => open.revoke({ uniqueIdentifier: first, revocationReason });
  await says("clients may revoke", revoke, /^answered|WrongKeyLifecycleState/);
  const destroy = () => open.destroy({ uniqueIdentifier: first });
  await says("clients may destroy", destroy, /^answered|ItemNotFound|ObjectDestroyed/);
});

test("clients of a limited authority may do no more, on open connections neither, until the limit is lifted", async () => {
  await using open = await at("b2");
  const kept = await answered(() => createKey(open));
  const shownNow = () => command("certificate", "list", "kmip-aa", "--wide");
  await command("certificate", "update", "kmip-aa", "vmca", "--operations", "read-only");
  expect(await shownNow()).toContain("read-only");
  // It ends, and the client connects again.
  await says("the open connection is limited", () => createKey(open), denied);
  await everywhere("it may not create", (client) => createKey(client), denied);
  await everywhere("it may read", (client) => keyBytes(client, kept), /^answered/);
  const [vsphere, more] = ["vsphere", "Locate"];
  await command(
    ...["certificate", "update", "kmip-aa", "vmca"],
    ...["--operations", vsphere, "--operations", more],
  );
  await everywhere("it may create", (client) => createKey(client), /^answered/);
  await everywhere(
    "it may not delete attributes",
    (client) => client.getAttributeList({ uniqueIdentifier: kept }),
    denied,
  );
  await command("certificate", "update", "kmip-aa", "vmca", "--operations", "all");
  expect(await shownNow()).not.toContain("vsphere");
  await everywhere(
    "it may do everything",
    (client) => client.getAttributeList({ uniqueIdentifier: kept }),
    /^answered/,
  );
});

test("a user may do no more than its limit, whatever the certificate may", async () => {
  await using before = await at("a1");
  const kept = await answered(() => createKey(before));
  const password = "a good long password";
  await writeFile(join(folder, "password"), `${password}\n`, { mode: 0o600 });
  const user = ["kmip-aa", "reader", "--password-file", join(folder, "password")];
  await command("user", "set", ...user, "--operations", "read-only");
  await everywhere("the user reads", (client) => keyBytes(client, kept), /^answered/, password);
  await everywhere("the user does not create", (client) => createKey(client), denied, password);
  await command("user", "set", ...user, "--operations", "all");
  await everywhere("the user creates", (client) => createKey(client), /^answered/, password);
});
