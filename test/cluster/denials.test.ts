import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type TLSSocket } from "node:tls";
import { until } from "@holdfast/testing";
import { type Authority, createAuthority, type Issued } from "@holdfast/testing/pki";
import { afterAll, beforeAll, expect, test } from "vitest";
import { commandLine } from "../support/command-line.ts";
import { greet, greeting, isLetIn } from "../support/greeting.ts";
import { say } from "../support/load.ts";
import { type ManagedRegions, startManagedRegions } from "../support/managed-regions.ts";
import type { NodeProcess } from "../support/node-process.ts";
import { recordOf } from "../support/record.ts";
import { patient } from "../support/root-regions.ts";
import type { TwoRegions } from "../support/two-regions.ts";

const day = { notBeforeMs: Date.now() - 3_600_000, days: 2 };

let both: TwoRegions;
let folder: string;
let managed: ManagedRegions;
let at: ManagedRegions["at"];
let lost: Issued;
let kept: Issued;

async function command(node: string, ...args: readonly string[]): Promise<string> {
  const said = await commandLine([...args, ...managed.site(node)], {
    env: { XDG_CONFIG_HOME: folder },
  });
  expect({ ...said, out: "" }).toEqual({ code: 0, out: "", err: "" });
  return said.out;
}

/** An instance that a certificate authority is bound to, with two of its clients. */
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "holdfast-denials-"));
  managed = await startManagedRegions(folder);
  ({ both, at } = managed);
  const params = { instance: managed.instance };
  const vmca: Authority = await createAuthority({ commonName: "VMCA", ...day });
  const body = { name: "vmca", kind: "authority" as const, pem: vmca.certificate };
  await patient(() => at("a1").call("addCertificate", { params, body }));
  lost = await vmca.issue({ commonName: "host-1.example", ...day });
  kept = await vmca.issue({ commonName: "host-2.example", ...day });
  for (const shown of [lost, kept]) await everywhere(true, shown);
}, 300_000);

afterAll(async () => {
  await managed?.[Symbol.asyncDispose]();
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
});

async function everywhere(letIn: boolean, shown: Issued): Promise<void> {
  for (const node of both.nodes) {
    const reached = async () => (await isLetIn(node, both.a.ca, shown)) === letIn;
    await until(`${node.name} lets ${letIn ? "it" : "it no longer"} in`, reached);
  }
}

/** Connects, resuming a session if there is one. */
async function sessionOf({ host, kmip: port }: NodeProcess, shown: Issued, session?: Buffer) {
  const { certificate: cert, key } = shown;
  const given = { host, port, cert, key, ca: both.a.ca, ...(session && { session }) };
  const socket: TLSSocket = connect(given);
  let last: Buffer | undefined;
  let resumed = false;
  socket.once("secureConnect", () => {
    resumed = socket.isSessionReused();
  });
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
  return { session: last, answered, resumed };
}

test("a denial ends the open connections and resumed sessions of one client of an authority, at every node of both regions, until it is lifted", async () => {
  const open = await Promise.all(both.nodes.map((node) => greet(node, both.a.ca, lost)));
  const others = await Promise.all(both.nodes.map((node) => greet(node, both.a.ca, kept)));
  const sessions = await Promise.all(
    both.nodes.map(async (node) => {
      const { session } = await sessionOf(node, lost);
      return await sessionOf(node, lost, session);
    }),
  );
  for (const one of sessions) expect(one).toMatchObject({ answered: true, resumed: true });
  const closed = open.map(({ socket }) => new Promise((resolve) => socket.once("close", resolve)));
  const named = ["--subject", "CN = host-1.example", "--reason", "host was stolen"];
  await command("a2", "deny", "add", ...named);
  const startedMs = performance.now();
  await Promise.all(closed);
  const cutMs = Math.round(performance.now() - startedMs);
  say(`open connections cut at all nodes ${cutMs} ms after the command`);
  for (const [place, node] of both.nodes.entries()) {
    expect(await isLetIn(node, both.a.ca, lost), node.name).toBe(false);
    const again = await sessionOf(node, lost, sessions[place]?.session);
    expect(again, node.name).toMatchObject({ answered: false, resumed: false });
    await others[place]?.exchange(greeting);
    expect(await isLetIn(node, both.a.ca, kept), node.name).toBe(true);
    const metrics = await node.metrics();
    expect(metrics).toMatch(/^holdfast_handshakes_total\{outcome="denied",.*\} [1-9]/m);
  }
  for (const one of others) await one[Symbol.asyncDispose]();
  const refused = await command("b1", "refused", "list");
  expect(refused).toMatch(/denied .*CN=host-1\.example/);
  expect(refused).toContain("holdfast deny list");
  expect(await command("b2", "deny", "list")).toMatch(/cn=host-1\.example +host was stolen/);
  expect(await command("b2", "doctor")).toMatch(/deny list +1 denial is in force/);

  const { items } = await at("b2").call("listDenials", { query: {} });
  expect(items).toMatchObject([{ regions: { a: "applied", b: "applied" } }]);
  await command("b1", "deny", "remove", items[0]?.id ?? "");
  await everywhere(true, lost);
}, 300_000);

test("a node that starts with a damaged denial admits nobody, until the other region shows the denial", async () => {
  const body = { subject: "CN=host-1.example", reason: "host was stolen" };
  const { id } = await patient(() => at("b1").call<"addDenial">("addDenial", { body }));
  await everywhere(false, lost);
  await both.kill("a2");
  const { key, value } = await recordOf(both.a.redis.primary, id);
  await both.cut();
  await both.a.redis.primary.command("set", key, randomBytes(value.length));
  const a2 = both.node("a2");
  a2.launch();
  await until("a2 says why it admits nobody", async () => {
    const lines = await a2.details().catch(() => []);
    return lines.some((line) => /system records: no \(a record of the deny list/.test(line));
  });
  expect([await isLetIn(a2, both.a.ca, kept), await isLetIn(a2, both.a.ca, lost)]).toEqual([
    false,
    false,
  ]);
  // A node that has read it once does not need the store for it.
  expect([await isLetIn(both.node("a1"), both.a.ca, lost)]).toEqual([false]);
  await until("a1 serves", () => isLetIn(both.node("a1"), both.a.ca, kept));
  await both.heal();
  await everywhere(true, kept);
  await everywhere(false, lost);
  await patient(() => at("a2").call("removeDenial", { params: { denial: id } }));
  await everywhere(true, lost);
}, 300_000);
