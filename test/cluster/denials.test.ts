import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type TLSSocket } from "node:tls";
import { answerOf, until } from "@holdfast/testing";
import { type Authority, createAuthority, type Issued } from "@holdfast/testing/pki";
import { afterAll, beforeAll, expect, test } from "vitest";
import { patiently } from "../support/admin-api.ts";
import { commandLine, type Said, settled } from "../support/command-line.ts";
import { greet, greeting, isLetIn } from "../support/greeting.ts";
import type { KmipSocket } from "../support/kmip-socket.ts";
import { say } from "../support/load.ts";
import { type ManagedRegions, startManagedRegions } from "../support/managed-regions.ts";
import type { NodeProcess } from "../support/node-process.ts";
import { recordOf } from "../support/record.ts";
import type { TwoRegions } from "../support/two-regions.ts";

const day = { notBeforeMs: Date.now() - 3_600_000, days: 2 };

let both: TwoRegions;
let folder: string;
let managed: ManagedRegions;
let at: ManagedRegions["at"];
let lost: Issued;
let kept: Issued;

function run(node: string, args: readonly string[]): Promise<Said> {
  return commandLine([...args, ...managed.site(node)], { env: { XDG_CONFIG_HOME: folder } });
}

/** Runs a command, again while it says that a busy machine keeps the node from an answer; returns what it printed. */
async function command(node: string, ...args: readonly string[]): Promise<string> {
  const said = await settled(() => run(node, args));
  expect({ ...said, out: "" }).toEqual({ code: 0, out: "", err: "" });
  return said.out;
}

/** A client of a node's management API that asks again while the regions lose each other for a moment. */
function admin(node: string) {
  return patiently(at(node));
}

/** An instance that a certificate authority is bound to, with two of its clients. */
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "holdfast-denials-"));
  managed = await startManagedRegions(folder);
  ({ both, at } = managed);
  const params = { instance: managed.instance };
  const vmca: Authority = await createAuthority({ commonName: "VMCA", ...day });
  const body = { name: "vmca", kind: "authority" as const, pem: vmca.certificate };
  await admin("a1").call("addCertificate", { params, body });
  lost = await vmca.issue({ commonName: "host-1.example", ...day });
  kept = await vmca.issue({ commonName: "host-2.example", ...day });
  for (const shown of [lost, kept]) await everywhere(true, shown);
});

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

/** An open connection of a client at each node; on a busy machine a node may admit nobody for a moment. */
function openedBy(shown: Issued): Promise<readonly KmipSocket[]> {
  const open = (node: NodeProcess) =>
    answerOf(
      `${node.name} admits it`,
      () => greet(node, both.a.ca, shown),
      () => true,
    );
  return Promise.all(both.nodes.map(open));
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

/** A session that was resumed. */
async function resumedAt(node: NodeProcess, shown: Issued) {
  let made: Awaited<ReturnType<typeof sessionOf>> | undefined;
  await until(`${node.name} resumes a session`, async () => {
    const { session } = await sessionOf(node, shown);
    made = await sessionOf(node, shown, session);
    return made.answered && made.resumed;
  });
  return made;
}

test("a denial ends the open connections and resumed sessions of one client of an authority, at every node of both regions, until it is lifted", async () => {
  const open = await openedBy(lost);
  const others = await openedBy(kept);
  const sessions = await Promise.all(both.nodes.map((node) => resumedAt(node, lost)));
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
    await until(`${node.name} lets the other one in`, () => isLetIn(node, both.a.ca, kept));
    const metrics = await node.metrics();
    expect(metrics).toMatch(/^holdfast_handshakes_total\{outcome="denied",.*\} [1-9]/m);
  }
  for (const one of others) await one[Symbol.asyncDispose]();
  const refused = await command("b1", "refused", "list");
  expect(refused).toMatch(/denied .*CN=host-1\.example/);
  expect(refused).toContain("holdfast deny list");
  expect(await command("b2", "deny", "list")).toMatch(/cn=host-1\.example +host was stolen/);
  await until("doctor tells", async () => {
    // On a busy machine another check may fail.
    const { out } = await run("b2", ["doctor"]);
    return /deny list +1 denial is in force/.test(out) || out;
  });

  let id = "";
  await until("both regions have it", async () => {
    const { items } = await admin("b2").call("listDenials", { query: {} });
    expect(items).toHaveLength(1);
    id = items[0]?.id ?? "";
    const { a, b } = items[0]?.regions ?? {};
    return (a === "applied" && b === "applied") || JSON.stringify(items);
  });
  await command("b1", "deny", "remove", id);
  await everywhere(true, lost);
});

test("a node that starts with a damaged denial admits nobody, until the other region shows the denial", async () => {
  const body = { subject: "CN=host-1.example", reason: "host was stolen" };
  const { id } = await admin("b1").call<"addDenial">("addDenial", { body });
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
  await admin("a2").call("removeDenial", { params: { denial: id } });
  await everywhere(true, lost);
});
