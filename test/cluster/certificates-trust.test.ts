import { execFileSync } from "node:child_process";
import { createHash, createPrivateKey, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type TLSSocket } from "node:tls";
import type { AdminClient } from "@holdfast/admin";
import { decodeResponse } from "@holdfast/kmip";
import { until } from "@holdfast/testing";
import { createAuthority, type Issued, selfSigned } from "@holdfast/testing/pki";
import { decode } from "@holdfast/ttlv";
import { playVcenter } from "@holdfast/workbench";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import * as bytes from "../interop/vcenter-bytes.ts";
import { adminClient, oneTimeToken, patientClient } from "../support/admin-api.ts";
import { greet, greeting, isLetIn } from "../support/greeting.ts";
import type { KmipSocket } from "../support/kmip-socket.ts";
import { say } from "../support/load.ts";
import type { NodeProcess } from "../support/node-process.ts";
import { findSecrets, type Haystack, haystacksOf } from "../support/search.ts";
import { startTwoRegions, type TwoRegions } from "../support/two-regions.ts";
import { allWell } from "../support/vitals.ts";

const day = { notBeforeMs: Date.now() - 3_600_000, days: 2 };
let both: TwoRegions;
let folder: string;
let token: string;
/** One per node and token: a node limits the connections of an address. */
const clients = new Map<string, AdminClient>();
/** Name → bytes that must be only where they belong. */
const secrets = new Map<string, Uint8Array>();

const client = (commonName: string): Promise<Issued> => selfSigned({ commonName, ...day });
const sha256 = ({ certificate }: Pick<Issued, "certificate">): string =>
  createHash("sha256").update(new X509Certificate(certificate).raw).digest("hex");

/** The management API of a node. */
function at(node: string, secret = token): AdminClient {
  const name = `${node} ${secret}`;
  const made = clients.get(name) ?? patientClient({ node: both.node(node), ca: both.a.ca }, secret);
  clients.set(name, made);
  return made;
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-trust-"));
  both = await startTwoRegions({
    instances: ["declared"],
    replicas: 0,
    admin: true,
    redisConfig: { rdbcompression: "no" },
  });
  await allWell(both);
});

afterAll(async () => {
  await Promise.all([...clients.values()].map((one) => one[Symbol.asyncDispose]()));
  await both?.[Symbol.asyncDispose]();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});

const ordered = new Map<string, Promise<string>>();
const local = { type: "local" as const };

/** The identifier of an Installed instance that every node sees; it is ordered only once. */
function instanceOf(name: string): Promise<string> {
  const known = ordered.get(name) ?? order(name);
  ordered.set(name, known);
  return known;
}

async function order(name: string): Promise<string> {
  const rootOfTrust = { regions: { a: local, b: local } };
  const { id } = await at("a1").call("createInstance", { body: { name, rootOfTrust } });
  for (const node of both.nodes) {
    await until(`${node.name} sees ${name}`, async () => {
      const read = at(node.name).call("readInstance", { params: { instance: id } });
      return (await read.catch(() => undefined))?.status === "Installed";
    });
  }
  return id;
}

/** Waits until every node lets a client in, or none does, and says how long that took. */
async function everywhere(letIn: boolean, shown: Issued): Promise<void> {
  const startedMs = performance.now();
  const took = await Promise.all(
    both.nodes.map(async (node) => {
      const reached = async () => (await isLetIn(node, both.a.ca, shown)) === letIn;
      await until(`${node.name} lets ${letIn ? "it" : "nobody"} in`, reached);
      return performance.now() - startedMs;
    }),
  );
  // About a second on an idle machine.
  say(`let ${letIn ? "in" : "nobody in"} at all nodes after ${Math.round(Math.max(...took))} ms`);
}

/** vCenter's own sequence across all four nodes. */
async function play(shown: Issued): Promise<void> {
  const { certificate, key } = shown;
  await playVcenter({
    nodes: both.nodes.map((node) => ({
      name: node.name,
      region: both.regionOf(node).name,
      endpoint: `${node.host}:${node.kmip}`,
    })),
    tls: { ca: both.a.ca, certificate, key },
    report: ({ ok, next, step, result }) => {
      if (!ok && next === undefined) throw new Error(`${step}: ${result}`);
    },
    answered: () => undefined,
  });
}

type Pem = Pick<Issued, "certificate">;

/** Adds a certificate at a node. */
function add(node: string, instance: string, name: string, { certificate: pem }: Pem) {
  return at(node).call("addCertificate", { params: { instance }, body: { name, pem } });
}

const problem = (code: string) => expect.objectContaining({ code });

describe("the first manager token", () => {
  test("is made with only one of the nodes' one-time tokens, if they are used in both regions at once", async () => {
    const nodes = ["a1", "b1"] as const;
    const oneTimeTokens = await Promise.all(nodes.map((name) => oneTimeToken(both.node(name))));
    const oneTime = nodes.map((name, place) => at(name, oneTimeTokens[place]));
    await expect(oneTime[0]?.call("listTokens", {})).rejects.toEqual(problem("forbidden"));
    const made = await Promise.allSettled(
      oneTime.map((one, place) =>
        one.call("createToken", {
          body: { name: `first-${place}`, roles: ["manager", "security-officer"] },
        }),
      ),
    );
    const won = made.flatMap((one) => (one.status === "fulfilled" ? [one.value.secret] : []));
    expect(won).toHaveLength(1);
    token = won[0] ?? "";
    for (const [place, secret] of [...won, ...oneTimeTokens].entries())
      remember(`token ${place}`, secret);
    for (const node of both.nodes) {
      await until(`${node.name} removes its file`, async () => !existsSync(node.bootstrapFile));
    }
    for (const [place, one] of oneTime.entries()) {
      await expect(one.call("whoAmI", {}), nodes[place]).rejects.toMatchObject({
        code: "unauthenticated",
      });
    }
    expect(await at("b2").call("whoAmI", {})).toMatchObject({
      roles: ["security-officer", "manager"],
      node: "b2",
    });
  });
});

describe("vCenter is trusted by", () => {
  test("its own self-signed certificate, pasted", async () => {
    const id = await instanceOf("kmip-aa");
    const shown = await client("kmipClient1");
    expect(await isLetIn(both.node("b1"), both.a.ca, shown)).toBe(false);
    const added = await add("a1", id, "pasted", shown);
    expect(added).toMatchObject({
      fingerprint: sha256(shown),
      regions: { a: "applied", b: "applied" },
    });
    await everywhere(true, shown);
    await play(shown);
  });

  test("the certificate of an authority that is bound to the instance", async () => {
    const id = await instanceOf("kmip-aa");
    const vmca = await createAuthority({ commonName: "VMCA", ...day });
    const body = { name: "vmca", kind: "authority" as const, pem: vmca.certificate };
    await at("b2").call("addCertificate", { params: { instance: id }, body: { ...body } });
    const shown = await vmca.issue({ commonName: "vcenter.example", ...day });
    await everywhere(true, shown);
    await play(shown);
    await at("a2").call("deleteCertificate", { params: { instance: id, certificate: "vmca" } });
    await everywhere(false, shown);
  });

  test("a certificate that the instance's own authority signs for its request", async () => {
    const id = await instanceOf("kmip-aa");
    const subject = ["-subj", "/O=VMware/CN=kmipClient3"];
    const made = ["-newkey", "rsa:2048", "-nodes", "-keyout", "k", "-out", "r"];
    execFileSync("openssl", ["req", "-new", ...made, ...subject], { cwd: folder, stdio: "ignore" });
    const csr = readFileSync(join(folder, "r"), "utf8");
    const key = readFileSync(join(folder, "k"), "utf8");
    // If two regions make the authority at once, both have the same one.
    const sign = (node: string, name: string) =>
      at(node).call("signRequest", { params: { instance: id }, body: { name, csr, days: 30 } });
    const [one, other] = await Promise.all([sign("a1", "vcenter-a"), sign("b1", "vcenter-b")]);
    expect(one.authority).toBe(other.authority);
    for (const { pem } of [one, other]) {
      expect(new X509Certificate(pem).subject).toBe("O=VMware\nCN=kmipClient3");
      await everywhere(true, { certificate: pem, key });
    }
    await play({ certificate: one.pem, key });
    const { certificate } = await at("b2").call("readAuthority", { params: { instance: id } });
    expect(certificate).toBe(one.authority);
  });

  test("a certificate that is issued with its private key, which is stored nowhere", async () => {
    const id = await instanceOf("kmip-aa");
    const body = { name: "pair" };
    const made = await at("b1").call<"issuePair">("issuePair", { params: { instance: id }, body });
    const shown = { certificate: made.pem, key: made.privateKey };
    await everywhere(true, shown);
    await play(shown);
    const { d = "", p = "" } = createPrivateKey(made.privateKey).export({ format: "jwk" });
    secrets.set("a private exponent", Buffer.from(d, "base64url"));
    secrets.set("a prime", Buffer.from(p, "base64url"));
  });
});

describe("a certificate", () => {
  test("that is added in both regions at once opens one instance", async () => {
    const instances = await Promise.all(["kmip-aa", "kmip-bb"].map(instanceOf));
    for (let round = 0; round < 4; round += 1) {
      const shown = await client(`raced ${round}`);
      const tries = await Promise.allSettled(
        instances.map((id, place) => add(["a1", "b1"][place] ?? "", id, `raced-${round}`, shown)),
      );
      const won = tries.filter(({ status }) => status === "fulfilled");
      expect(won).toHaveLength(1);
      const lost = tries.find((one) => one.status === "rejected");
      expect(lost?.reason).toEqual(problem("certificateTaken"));
    }
  });

  test("that is deleted ends access at every node, on open connections and resumed sessions too", async () => {
    const id = await instanceOf("kmip-aa");
    const shown = await client("kmipClient5");
    const params = { instance: id };
    const first = await add("a1", id, "deleted", shown);
    await everywhere(true, shown);
    const open = await Promise.all(both.nodes.map((node) => greet(node, both.a.ca, shown)));
    const sessions = await Promise.all(both.nodes.map((node) => sessionOf(node, shown)));
    const closed = open.map(async ({ socket }) => {
      if (!socket.closed) await once(socket, "close");
    });
    const startedMs = performance.now();
    await at("b1").call("deleteCertificate", { params: { ...params, certificate: "deleted" } });
    await Promise.all(closed);
    say(`open connections cut at all nodes after ${Math.round(performance.now() - startedMs)} ms`);
    for (const [place, node] of both.nodes.entries()) {
      // A busy machine may have cut the connection for another reason, a moment before.
      await until(
        `${node.name} no longer lets it in`,
        async () => !(await isLetIn(node, both.a.ca, shown)),
      );
      const resumed = await sessionOf(node, shown, sessions[place]?.session);
      expect(resumed.answered, node.name).toBe(false);
    }
    const again = await add("a2", id, "deleted", shown);
    expect(again.id).not.toBe(first.id);
    await everywhere(true, shown);
  });

  test("of a client that one node refused can be adopted at another node", async () => {
    const id = await instanceOf("kmip-aa");
    const shown = await client("kmipClient6");
    expect(await isLetIn(both.node("b2"), both.a.ca, shown)).toBe(false);
    const fingerprint = sha256(shown);
    await until("a1 lists it", async () => {
      const { items } = await at("a1").call("listRefused", { query: {} });
      const found = items.find((one) => one.fingerprint === fingerprint);
      return found?.node === "b2" && found.adoptable;
    });
    const body = { fingerprint, name: "adopted" };
    await at("a1").call("adoptCertificate", { params: { instance: id }, body: { ...body } });
    await everywhere(true, shown);
  });

  test("cannot be added while the other region cannot be reached, but can be deleted", async () => {
    const id = await instanceOf("kmip-aa");
    const params = { instance: id };
    const [shown, later] = await Promise.all([client("kmipClient7"), client("kmipClient8")]);
    await add("a1", id, "cut", shown);
    await everywhere(true, shown);
    await using _ = { [Symbol.asyncDispose]: () => both.heal() };
    await both.cut();
    await using alone = adminClient({ node: both.node("a1"), ca: both.a.ca }, token);
    const body = { name: "late", pem: later.certificate };
    await until("it is refused, and not for its own store", async () => {
      const added = alone.call<"addCertificate">("addCertificate", { params, body });
      const error = await added.catch((thrown: unknown) => thrown);
      if (!(error instanceof Error)) throw new Error("it was added");
      return (error as { readonly code?: unknown }).code === "peerUnreachable" || error;
    });
    const { regions } = await at("a1").call("deleteCertificate", {
      params: { ...params, certificate: "cut" },
    });
    expect(regions).toEqual({ a: "applied", b: "pending" });
    for (const node of both.a.nodes) {
      await until(
        `${node.name} no longer lets it in`,
        async () => !(await isLetIn(node, both.a.ca, shown)),
      );
    }
    await until("b1 still lets it in", () => isLetIn(both.node("b1"), both.a.ca, shown));
    await both.heal();
    await everywhere(false, shown);
    await allWell(both);
  });
});

test("a user makes every node demand a password, on open connections too", async () => {
  const id = await instanceOf("kmip-aa");
  const shown = await client("kmipClient9");
  const params = { instance: id };
  await add("a1", id, "users", shown);
  await everywhere(true, shown);
  // One in each region, since each password check takes a while.
  const open = await Promise.all(
    ["a1", "b2"].map((name) => greet(both.node(name), both.a.ca, shown)),
  );
  const create = async (socket: KmipSocket, password?: string): Promise<boolean> =>
    succeeded(await socket.exchange(creation(password)));
  for (const socket of open) await until("a key is made", () => create(socket));
  const user = { ...params, user: "vcenter" };
  for (const [node, password, before] of [
    ["b1", "open sesame 2026", undefined],
    ["a2", "shut sesame 2027", "open sesame 2026"],
  ] as const) {
    secrets.set(password, Buffer.from(password));
    await at(node).call("setUser", { params: user, body: { password } });
    for (const socket of open) {
      // What was cached about the previous one is discarded.
      await until("the old password is refused", async () => !(await create(socket, before)));
      await until("the new password is taken", () => create(socket, password));
      expect(await create(socket, "open sesame 1999")).toBe(false);
    }
  }
  expect(await at("b2").call("listUsers", { params })).toMatchObject({
    items: [{ name: "vcenter", origin: "added" }],
  });
  await at("b1").call("deleteUser", { params: user });
  for (const socket of open) {
    await until("the certificate is enough again", () => create(socket));
    await socket[Symbol.asyncDispose]();
  }
});

/** vCenter's Create, with a user name and a password of 16 characters. */
function creation(password?: string): Buffer {
  const message = bytes.create(1, password !== undefined);
  const known = `0000000a${Buffer.from("opensesame").toString("hex")}${"00".repeat(6)}`;
  const given = `00000010${Buffer.from(password ?? "").toString("hex")}`;
  return Buffer.from(message.replace(known, given), "hex");
}

function succeeded(answer: Uint8Array): boolean {
  const { items } = decodeResponse(decode(answer));
  return items.every(({ status }) => status === "Success");
}

test("a revoked token is refused in both regions", async () => {
  const { secret, token: made } = await at("a1").call("createToken", {
    body: { name: "ci", roles: ["viewer"] },
  });
  remember("the token that is revoked", secret);
  await until("b1 knows it", async () => {
    return (
      (
        await at("b1", secret)
          .call("whoAmI", {})
          .catch(() => undefined)
      )?.name === "ci"
    );
  });
  await at("b2").call("revokeToken", { params: { token: made.id } });
  for (const { name } of both.nodes) {
    await until(`${name} refuses it`, async () => {
      const refused = await at(name, secret)
        .call("whoAmI", {})
        .catch((error: unknown) => error);
      return (refused as { readonly code?: unknown }).code === "unauthenticated";
    });
  }
});

test("no token, private key or password is in any store, log or metric", async () => {
  const haystacks: Haystack[] = [];
  for (const { redis, nodes } of both.regions) {
    await redis.primary.command("save");
    haystacks.push(...(await haystacksOf(redis.primary)));
    for (const node of nodes) {
      haystacks.push({ name: node.logFile, bytes: readFileSync(node.logFile) });
      haystacks.push({ name: `metrics of ${node.name}`, bytes: Buffer.from(await node.metrics()) });
    }
  }
  expect(secrets.size).toBeGreaterThan(7);
  expect(findSecrets(haystacks, secrets)).toEqual([]);
  // The control: a value that is not secret is found.
  const found = findSecrets(haystacks, new Map([["name", Buffer.from("kmipClient6")]])).join("\n");
  for (const place of ["appendonly.aof", "dump.rdb", "keys of", ".log"]) {
    expect(found).toContain(place);
  }
});

function remember(name: string, secret: string): void {
  secrets.set(name, Buffer.from(secret));
  secrets.set(`${name}, bare`, Buffer.from(secret.slice(3), "base64url"));
}

/** Connects, resuming a session if there is one, and says whether the node answered. */
async function sessionOf(
  { host, kmip: port }: NodeProcess,
  { certificate: cert, key }: Issued,
  session?: Buffer,
): Promise<{ readonly session: Buffer | undefined; readonly answered: boolean }> {
  const socket: TLSSocket = connect({
    ...{ host, port, cert, key, ca: both.a.ca },
    ...(session && { session }),
  });
  let last: Buffer | undefined;
  socket.on("session", (made: Buffer) => {
    last = made;
  });
  socket.on("error", () => undefined);
  socket.write(greeting);
  const answered = await new Promise<boolean>((resolve) => {
    socket.once("data", () => resolve(true));
    socket.once("close", () => resolve(false));
  });
  socket.destroy();
  return { session: last, answered };
}
