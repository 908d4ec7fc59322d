import { X509Certificate } from "node:crypto";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createAuthority, selfSigned } from "@holdfast/testing/pki";
import type { DocumentsSite } from "../support/documents-site.ts";
import { patient } from "../support/root-regions.ts";

/** The folder in which a page's blocks run, and the name of the page's own instance. */
export interface Place {
  readonly folder: string;
  readonly instance: string;
}

/** Text of a page → what is run in its place. */
export type Words = Readonly<Record<string, string>>;

/** What a page needs in addition to the files that every page has. */
interface Setup {
  /** The instance exists before the first block. */
  readonly ordered?: true;
  /** After each block the instance has no certificates: the blocks are alternatives. */
  readonly alternatives?: true;
  readonly prepare?: (site: DocumentsSite, place: Place) => Promise<Words>;
}

const when = { notBeforeMs: Date.now() - 3_600_000, days: 30 };

/** By page, in the order in which they run: pages that break the cluster come last. */
export const setups: Readonly<Record<string, Setup>> = {
  "docs/api.md": {},
  "docs/quick-start.md": {},
  "docs/from-ibm.md": {},
  "docs/ibm-rest-api.md": {},
  "docs/certificates.md": { ordered: true, alternatives: true, prepare: stranger },
  "docs/keys.md": { ordered: true, prepare: keyOfTheInstance },
  "docs/migrate.md": { ordered: true },
  "docs/re-keying.md": { ordered: true, prepare: keyOfTheInstance },
  "docs/vcenter-alarms.md": { ordered: true, prepare: keyOfTheInstance },
  "docs/root-of-trust-key-protect.md": { prepare: inTheRing },
  "docs/root-of-trust-dedicated-key-protect.md": { prepare: dedicated },
  "docs/root-of-trust-hpcs.md": { prepare: hpcs },
  "docs/root-of-trust-local.md": { prepare: newFiles },
  "docs/root-of-trust-pkcs11.md": { prepare: token },
  "docs/backup.md": { prepare: backupKey },
  "docs/operations.md": { ordered: true, prepare: nodeConfiguration },
  "docs/disaster-recovery.md": { prepare: nodeConfiguration },
  "docs/support.md": {},
  "docs/try-it.md": { prepare: demoKey },
  "README.md": {},
};

/** Writes the files that pages name, and returns the words that every page needs. */
export async function fillPlace(site: DocumentsSite, { folder, instance }: Place): Promise<Words> {
  const { keyProtect: manager, cluster, urls } = site;
  const token = (await readFile(cluster.managerToken, "utf8")).trim();
  const ca = await readFile(cluster.ca, "utf8");
  const client = async (commonName: string) =>
    (await selfSigned({ commonName, ...when })).certificate;
  const files = {
    ...{ "token.txt": token, token, auth: `Authorization: Bearer ${token}` },
    ...{ "admin-ca.pem": ca, "ca.pem": ca },
    ...{ "apikey.txt": manager.apiKey, "apikey2.txt": manager.apiKey },
    ...{ "api-key.txt": manager.apiKey, "api-key-b.txt": manager.apiKey },
    "instance-id.txt": manager.instanceId,
    "password.txt": "Correct-Horse-Battery-1",
    "vcenter.pem": await client("vCenter"),
    "KMSClientCertificate.pem": await client("another vCenter"),
    "vmca.pem": (await createAuthority({ commonName: "VMCA", ...when })).certificate,
  };
  for (const [name, content] of Object.entries(files)) {
    await writeFile(join(folder, name), content, { mode: 0o600 });
  }
  const subject = `-subj /CN=${instance} -keyout vcenter-csr.key -out vcenter.csr`;
  await done(site, `openssl req -new -newkey rsa:2048 -nodes ${subject}`, folder);
  return {
    ...{ "kmip-prod": instance, "kmip-first": instance, INSTANCE: instance },
    ...{ ID: manager.instanceId, ID2: manager.instanceId },
    ...{ CRK: await manager.createRootKey("one"), CRK2: await manager.createRootKey("two") },
    "https://kms-a1.example:8443": urls[0] ?? "",
    "https://kms-a2.example:8443": urls[1] ?? "",
    "https://127.0.1.1:8443": urls[0] ?? "",
    "/home/me/admin-ca.pem": join(folder, "admin-ca.pem"),
    "/home/me/token.txt": join(folder, "token.txt"),
  };
}

/** Orders the place's instance under the nodes' own root keys. */
export async function order(site: DocumentsSite, { folder, instance }: Place): Promise<void> {
  const roots = "--root a:local --root b:local";
  await done(site, `holdfast instance order --name ${instance} ${roots} --wait`, folder);
}

/** Deletes the instance's certificates. */
export async function withoutCertificates(
  { admin }: DocumentsSite,
  { instance }: Place,
): Promise<void> {
  const { items } = await patient(() =>
    admin.call("listCertificates", { params: { instance }, query: {} }),
  );
  for (const { id: certificate } of items) {
    await patient(() => admin.call("deleteCertificate", { params: { instance, certificate } }));
  }
}

async function done(site: DocumentsSite, script: string, folder: string): Promise<string> {
  const { code, out, err } = await site.shell(script, folder);
  if (code !== 0) throw new Error(`${script}: exit ${code}: ${err}${out}`);
  return out.trim();
}

/** Makes a client that is refused, for `certificate adopt`. */
async function stranger(site: DocumentsSite, { folder }: Place): Promise<Words> {
  const { certificate, key } = await selfSigned({ commonName: "stranger", ...when });
  await writeFile(join(folder, "stranger.pem"), certificate);
  await writeFile(join(folder, "stranger.key"), key, { mode: 0o600 });
  await site.shell("holdfast kmip query --cert stranger.pem --key stranger.key", folder);
  const { fingerprint256 } = new X509Certificate(certificate);
  return { SHA256: fingerprint256.replaceAll(":", "").toLowerCase() };
}

/** Makes a key of the instance, and the list of keys in use. */
async function keyOfTheInstance(site: DocumentsSite, { folder, instance }: Place): Promise<Words> {
  const issue = `holdfast authority issue ${instance} --name client --pem-out client.pem --key-out client.key`;
  await done(site, issue, folder);
  const create = "holdfast kmip create --activate --cert client.pem --key client.key";
  const used = await done(site, `${create} --name used`, folder);
  const key = await done(site, `${create} --name spare`, folder);
  await writeFile(join(folder, "in-use.txt"), `${used}\n`);
  return { KEY: key, FINGERPRINT: "0".repeat(64) };
}

async function inTheRing({ keyProtect: manager }: DocumentsSite): Promise<Words> {
  return { CRK: await manager.createRootKey("in the ring", { ring: "vmware" }) };
}

async function dedicated({ dedicated: manager }: DocumentsSite, { folder }: Place): Promise<Words> {
  await writeFile(join(folder, "dedicated-api-key.txt"), manager.apiKey, { mode: 0o600 });
  return { DEDICATED_ID: manager.instanceId, DEDICATED_CRK: await manager.createRootKey("crk") };
}

async function hpcs(site: DocumentsSite, place: Place): Promise<Words> {
  const { hpcs: manager } = site;
  await writeFile(join(place.folder, "hpcs-api-key.txt"), manager.apiKey, { mode: 0o600 });
  const own = { HPCS_ID: manager.instanceId, HPCS_CRK: await manager.createRootKey("crk") };
  return { ...own, ...(await dedicated(site, place)) };
}

async function newFiles(site: DocumentsSite, { folder }: Place): Promise<Words> {
  await site.writeConfig(join(folder, "node.yaml"), (config) => {
    config["rootOfTrust"] = { type: "local", file: join(folder, "root.key") };
    config["sealingKeyFile"] = join(folder, "sealing.key");
  });
  return {};
}

async function token(site: DocumentsSite, { folder }: Place): Promise<Words> {
  const { hsm } = site;
  if (hsm === undefined) throw new Error("there is no token");
  await writeFile(join(folder, "pin.txt"), hsm.pin, { mode: 0o600 });
  await site.writeConfig(join(folder, "node.yaml"), (config) => {
    const pkcs11 = {
      module: hsm.module,
      token: hsm.token,
      rootKey: "crk",
      pinFile: join(folder, "pin.txt"),
    };
    config["rootOfTrust"] = { type: "pkcs11", pkcs11 };
  });
  return {};
}

/** Copies a node's configuration to the name that pages use, and returns where the node listens. */
export async function nodeConfiguration(site: DocumentsSite, { folder }: Place): Promise<Words> {
  await site.writeConfig(join(folder, "holdfast.yaml"), () => undefined);
  const [node] = site.cluster.nodes;
  return { "http://NODE:9464": `http://${node?.http}` };
}

async function backupKey(site: DocumentsSite, { folder }: Place): Promise<Words> {
  await site.writeConfig(join(folder, "node.yaml"), (config) => {
    config["backup"] = { keyFile: join(folder, "backup-key.json") };
  });
  return {};
}

/** Makes a key of the demonstration's instance; the page makes its own certificate. */
async function demoKey(site: DocumentsSite, { folder }: Place): Promise<Words> {
  await rm(join(folder, "vcenter.pem"));
  return { ID: await done(site, "holdfast kmip create --name known --activate", folder) };
}
