import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AdminProblem, contract, type Route } from "@holdfast/admin";
import { until } from "@holdfast/testing";
import { selfSigned } from "@holdfast/testing/pki";
import { afterAll, beforeAll, expect, test } from "vitest";
import { commandLine, type Said, settled } from "../support/command-line.ts";
import { type ManagedRegions, startManagedRegions } from "../support/managed-regions.ts";
import type { TwoRegions } from "../support/two-regions.ts";

const local = { type: "local" as const };
const names = ["alice", "bob", "carol", "safe"] as const;
/** Those of one instance. */
const owners = ["dave", "erin"] as const;

let both: TwoRegions;
let folder: string;
let managed: ManagedRegions;
let instance: string;
let at: ManagedRegions["at"];
const keys: Record<string, string> = {};

const file = (name: string) => join(folder, name);

async function run(...args: readonly string[]): Promise<Said> {
  return await commandLine(args, { env: { XDG_CONFIG_HOME: folder }, cwd: folder });
}

async function done(...args: readonly string[]): Promise<string> {
  const said = await run(...args);
  expect({ ...said, out: "" }).toEqual({ code: 0, out: "", err: "" });
  return said.out;
}

/** Runs a command at a node. */
function command(node: string, ...args: readonly string[]): Promise<Said> {
  return settled(() => run(...args, ...managed.site(node)));
}

/** The same where the node may have to wait for what another region did: on a busy machine that comes a moment later. */
async function arrived(
  has: (said: Said) => boolean,
  node: string,
  ...args: readonly string[]
): Promise<Said> {
  const all: Said[] = [];
  await until(`${args.join(" ")} at ${node}`, async () => {
    const said = await command(node, ...args);
    all.push(said);
    return has(said) || `${said.out}${said.err}`;
  });
  return all.at(-1) as Said;
}

const isDone = ({ code }: Said) => code === 0;

/** Has approvers sign a file with the command line, and answers the file with their signatures. */
async function signed(what: string, ...by: readonly string[]): Promise<string> {
  const lines: string[] = [];
  for (const name of by) {
    const out = file(`${what}.${name}.sig`);
    await done("approval", "sign", file(what), "--key", file(`${name}.key`), "--yes", "--out", out);
    lines.push(await readFile(out, "utf8"));
  }
  await writeFile(file(`${what}.sig`), lines.join(""));
  return file(`${what}.sig`);
}

/** The request that a refusal names. */
function requestIn({ code, err }: Said): string {
  expect(code, err).toBe(6);
  expect(err).toMatch(
    /^holdfast: 2 approvers must sign this first: .*--approval [0-9a-f-]{36}.*\n$/,
  );
  return /--approval ([0-9a-f-]{36})/.exec(err)?.[1] ?? "";
}

/** Has two approvers sign a request, which is handed in at a node. */
async function approve(node: string, id: string, by = ["alice", "bob"]): Promise<void> {
  const shown = await arrived(isDone, node, "approval", "show", id, "--document-out", file(id));
  expect(shown).toMatchObject({ code: 0, err: "" });
  const signatures = await signed(id, ...by);
  const given = await command(node, "approval", "submit", id, "--signatures", signatures);
  expect(given).toMatchObject({ code: 0, err: "" });
}

const tokensNamed = async (node: string, name: string) =>
  (await at(node).call("listTokens", { query: { limit: 1000 } })).items.filter(
    (token) => token.name === name,
  );

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "holdfast-approvals-"));
  managed = await startManagedRegions(folder);
  ({ both, instance, at } = managed);
  for (const name of [...names, ...owners]) {
    const out = await done(
      "approval",
      "key",
      "create",
      "--name",
      name,
      "--key-out",
      file(`${name}.key`),
    );
    keys[name] = out.trim();
  }
  const { alice = "", bob = "", carol = "", safe = "" } = keys;
  const draft = ["approval", "draft", "--approvals", "2", "--out", file("policy")];
  const approvers = [alice, bob, carol].flatMap((one) => ["--approver", one]);
  await done(...draft, ...approvers, "--break-glass", safe);
  const signatures = await signed("policy", ...names);
  const config = ["--config", both.node("a1").configFile];
  const init = ["approval", "init", "--file", file("policy"), "--signatures", signatures];
  // While the other region cannot be reached, there is no first policy.
  const text = await readFile(both.node("a1").configFile, "utf8");
  const addresses = /^( *addresses:).*(?:\n *- .*)*$/m;
  expect(text).toMatch(addresses);
  await writeFile(file("alone.yaml"), text.replace(addresses, "$1 [127.0.0.1:1]"));
  await until("it is refused", async () => {
    const alone = await run(...init, "--config", file("alone.yaml"));
    expect(alone).toMatchObject({ code: expect.any(Number), out: "" });
    const why = "region b does not answer, and must agree to the policy";
    return alone.err.includes(why) || alone.err;
  });
  const begun = await settled(() => run(...init, ...config));
  // Who could not say whether it was done is asked again, and finds it done.
  expect([0, 6], begun.err).toContain(begun.code);
  if (begun.code === 0) expect(begun.out).toContain("is in force in every region");
  for (const { name } of both.nodes) {
    await until(`${name} knows the policy`, async () => {
      const { items } = await at(name).call("readApprovalPolicy", {});
      return items[0]?.state === "in-force";
    });
  }
});

afterAll(async () => {
  await managed?.[Symbol.asyncDispose]();
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
});

test("one token with the roles manager and security-officer does none of the guarded things, at any node of both regions", async () => {
  const { certificate } = await selfSigned({
    commonName: "thief",
    notBeforeMs: Date.now() - 3_600_000,
    days: 2,
  });
  const { id: denial } = await at("a1").call<"addDenial">("addDenial", {
    body: { subject: "CN=nobody", reason: "of a test" },
  });
  const params = { instance };
  const user = { ...params, user: "thief" };
  const password = "a good long password";
  const nobody = "6a1f7d0e-0000-4000-8000-000000000000";
  const issued = { name: "thief", days: 1 };
  const calls: Readonly<Record<string, object>> = {
    addCertificate: { params, body: { name: "thief", kind: "client", pem: certificate } },
    configureRoot: { params, body: { regions: { a: local, b: local } } },
    createToken: { body: { name: "thief", roles: ["manager", "security-officer"] } },
    deleteInstance: { params, query: {} },
    issuePair: { params, body: issued },
    removeDenial: { params: { denial } },
    setUser: { params: user, body: { password } },
    shredInstance: { params, body: { name: "kmip-aa" } },
    updateInstance: { params, body: { destroyOverKmip: "allowed" } },
  };
  /** What has nothing to work on is refused before anybody is asked. */
  const empty: Readonly<Record<string, object>> = {
    adoptCertificate: { params, body: { name: "thief", fingerprint: "ab".repeat(32) } },
    deleteUser: { params: user },
    destroyKey: { params: { ...params, key: nobody }, query: {} },
    restoreKey: { params: { ...params, key: nobody } },
    revalidateRoot: { params },
    revokeKey: { params: { ...params, key: nobody }, body: { reason: "Unspecified" } },
    signRequest: { params, body: { name: "thief", csr: "none", days: 1 } },
    updateCertificate: {
      params: { ...params, certificate: nobody },
      body: { operations: ["all"] },
    },
  };
  const guarded = (Object.entries(contract) as [string, Route][]).flatMap(([name, route]) =>
    route.guarded === undefined ? [] : [name],
  );
  expect(Object.keys({ ...calls, ...empty }).toSorted()).toEqual(guarded.toSorted());
  for (const { name: node } of both.nodes) {
    for (const [operation, given] of Object.entries(calls)) {
      const call = at(node).call(operation as "whoAmI", given as never);
      const error: unknown = await call.catch((thrown: unknown) => thrown);
      const problem = error instanceof AdminProblem ? error.code : error;
      expect(problem, `${operation} at ${node}`).toBe("approvalNeeded");
    }
  }
  // Nothing of it was done.
  const state = await at("b2").call("readInstance", { params });
  expect(state).toMatchObject({
    status: "Installed",
    destroyOverKmip: "refused",
    certificates: 0,
    users: 0,
  });
  expect(await tokensNamed("b1", "thief")).toEqual([]);
  const denialsAt = async (node: string) =>
    (await at(node).call("listDenials", { query: {} })).items.length;
  await until("b1 lists the denial", async () => (await denialsAt("b1")) > 0);
  expect(await denialsAt("b1")).toBe(1);
  await until("no request is open", async () => {
    const { items } = await at("a1").call("listApprovals", { query: { limit: 1000 } });
    for (const { id: approval } of items) {
      await at("a2")
        .call("cancelApproval", { params: { approval } })
        .catch((error: AdminProblem) => expect(error.code).toBe("notFound"));
    }
    return items.length === 0;
  });
});

test("two approvers sign on their own machines, and the request works once, whichever node is asked first", async () => {
  const wanted = ["token", "create", "--name", "second", "--roles", "manager"];
  const id = requestIn(await command("a1", ...wanted));
  const use = [...wanted, "--approval", id];
  const early = await command("a1", ...use);
  expect(early).toMatchObject({ code: 4 });
  expect(early.err).toContain("0 of 2 approvers have signed it");
  await approve("b1", id);
  const shows = new RegExp(`${id} +approved +createToken +second`);
  await arrived(({ out }) => shows.test(out), "b2", "approval", "list");
  const body = { name: "second", roles: ["manager" as const] };
  const nodes = both.nodes.map(({ name }) => name);
  const uses = await Promise.allSettled(
    nodes.map((node) => at(node).call("createToken", { body }, { approval: id })),
  );
  expect(uses.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  for (const node of nodes) {
    await until(
      `${node} lists the token`,
      async () => (await tokensNamed(node, "second")).length > 0,
    );
    expect(await tokensNamed(node, "second")).toHaveLength(1);
  }
  const again = await arrived(({ err }) => /works once|uses it now/.test(err), "b2", ...use);
  expect(again.code).not.toBe(0);
});

test("a break-glass key counts as all approvals, and shows in metrics, doctor and events", async () => {
  const wanted = ["user", "set", "kmip-aa", "esx", "--password-file", file("password")];
  await writeFile(file("password"), "a good long password\n", { mode: 0o600 });
  const id = requestIn(await command("b1", ...wanted));
  const shown = await command("b1", "approval", "show", id, "--document-out", file("request"));
  expect(shown.code).toBe(0);
  expect(await readFile(file("request"), "utf8")).not.toContain("good long");
  const key = ["--key", file("safe.key"), "--reason", "nobody else is here"];
  await done("approval", "sign", file("request"), ...key, "--yes", "--out", file("glass.sig"));
  const given = ["approval", "submit", id, "--signatures", file("glass.sig")];
  expect(await arrived(isDone, "a2", ...given)).toMatchObject({ code: 0, err: "" });
  const used = await arrived(isDone, "b1", ...wanted, "--approval", id);
  expect(used).toMatchObject({ code: 0, err: "" });
  await until("a node of the other region says so", async () =>
    /^holdfast_break_glass\{kind="signed".*\} 1$/m.test(await both.node("a1").metrics()),
  );
  const doctor = await command("a1", "doctor");
  expect(doctor.out).toMatch(/approvals +1 requests were signed by a break-glass key/);
  await until("the events are in the trail", async () => {
    const query = { action: "vmware-solutions.kmip-approval.use", limit: 100 };
    const { items } = await at("b1").call<"listEvents">("listEvents", { query });
    return items.some(({ outcome }) => outcome === "success");
  });
});

test("what was signed is all that is done: another file, key or document is refused", async () => {
  const wanted = ["key", "destroy", "kmip-aa", "6a1f7d0e-0000-4000-8000-000000000000"];
  expect(await command("a1", ...wanted)).toMatchObject({ code: 5 });
  const body = { name: "third", roles: ["manager" as const] };
  const id = requestIn(
    await command("a1", "token", "create", "--name", "third", "--roles", "manager"),
  );
  await command("a1", "approval", "show", id, "--document-out", file("third"));
  const altered = (await readFile(file("third"), "utf8")).replace('"third"', '"fourth"');
  await writeFile(file("altered"), altered);
  const sign = (what: string, out: string) =>
    run("approval", "sign", file(what), "--key", file("alice.key"), "--yes", "--out", file(out));
  expect((await sign("altered", "altered.sig")).err).toContain("do not sign it");
  await approve("a1", id);
  const other = at("b1").call(
    "createToken",
    { body: { ...body, name: "fourth" } },
    { approval: id },
  );
  await expect(other).rejects.toMatchObject({ code: "approvalRefused" });
  expect(await tokensNamed("a1", "fourth")).toEqual([]);
});

test("an instance asks for its own approvers too, at the nodes of both regions, until both have agreed to end that", async () => {
  const part = ["--instance", instance, "--out", file("part"), "--after", file("policy")];
  const approvers = owners.flatMap((name) => ["--approver", keys[name] ?? ""]);
  const draft = ["approval", "draft", "--approvals"];
  await done(...draft, "2", ...part, ...approvers, "--action", "admit-client");
  expect(await readFile(file("part"), "utf8")).toContain(`\ninstance ${instance} approvals 2\n`);
  const change = async (what: string, ...by: readonly string[]) => {
    const signatures = await signed(what, ...by);
    const given = ["approval", "change", "--file", file(what), "--signatures", signatures];
    return await command("a2", ...given, "--json");
  };
  const missing = await change("part", "alice", "bob", "dave");
  expect(missing.err).toContain("the new key of erin must sign the policy too");
  for (const name of ["alice", "bob", "dave"]) await rm(file(`part.${name}.sig`));
  const added = await change("part", "alice", "bob", ...owners);
  expect(added, added.err).toMatchObject({ code: 0 });
  await until("b1 knows what the instance asks for", async () => {
    const { items } = await at("b1").call("readApprovalPolicy", {});
    return items[0]?.instances[0]?.instance === instance;
  });
  await writeFile(file("root.password"), "another good password\n", { mode: 0o600 });
  const wanted = ["user", "set", "kmip-aa", "root", "--password-file", file("root.password")];
  const asked = await command("b1", ...wanted);
  expect(asked.err).toContain(`2 approvers and 2 approvers of instance ${instance} must sign this`);
  const id = /--approval ([0-9a-f-]{36})/.exec(asked.err)?.[1] ?? "";
  await approve("a1", id);
  const lacks = `0 of 2 approvers of instance ${instance} have signed it`;
  await arrived(({ err }) => err.includes(lacks), "b1", ...wanted, "--approval", id);
  await rm(file(id));
  await approve("b2", id, [...owners]);
  const used = await arrived(isDone, "b1", ...wanted, "--approval", id);
  expect(used).toMatchObject({ code: 0, err: "" });
  // The system's approvers alone do not end at once what the instance asks for.
  const ended = ["--instance", instance, "--after", file("part"), "--out", file("ended")];
  await done(...draft, "0", ...ended);
  expect(JSON.parse((await change("ended", "alice", "bob")).out)).toMatchObject({
    state: "waiting",
  });
  for (const name of ["alice", "bob"]) await rm(file(`ended.${name}.sig`));
  expect(JSON.parse((await change("ended", "alice", "bob", ...owners)).out)).toMatchObject({
    state: "in-force",
    instances: [],
  });
});

test("a region that is left alone is retired only with approvals, which the command takes by itself", async () => {
  const config = ["--config", both.node("a1").configFile];
  await both.kill("b");
  // A busy machine may end the lease of a's store, which is not level from then on.
  const confirmed = ["--endpoints-are-off", "b", "--although-not-level", "b"];
  const retire = ["region", "retire", "b", ...confirmed, ...config];
  const asked = await settled(() => run(...retire, "--document-out", file("retire")));
  const id = requestIn(asked);
  expect(await readFile(file("retire"), "utf8")).toContain("\nin a\n");
  const one = await signed("retire", "carol");
  const early = await settled(() => run(...retire, "--approval", id, "--signatures", one));
  expect(early.err).toContain("1 of 2 approvers have signed it");
  await rm(file("retire.carol.sig"));
  const two = await signed("retire", "carol", "alice");
  const said = await settled(() => run(...retire, "--approval", id, "--signatures", two));
  expect(said, said.err).toMatchObject({ code: 0 });
  expect(said.out).toContain("region b is retired");
});
