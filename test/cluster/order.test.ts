import { join } from "node:path";
import type { RouteRequest as Asked, Contract } from "@holdfast/admin";
import { rotateLocalRoot } from "@holdfast/root-of-trust";
import { answerOf, until } from "@holdfast/testing";
import { type Issued, selfSigned } from "@holdfast/testing/pki";
import { type MadeKey, playVcenter, UnexpectedAnswer, VcenterSession } from "@holdfast/workbench";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { patiently } from "../support/admin-api.ts";
import type { NodeProcess } from "../support/node-process.ts";
import {
  type OrderedKind,
  type OrderedRoot,
  OrderRegions,
  orderedKinds,
} from "../support/order-roots.ts";
import { systemClock, systemIds } from "../support/redis-store.ts";
import { hasSoftHsm, softHsmMissing } from "../support/softhsm.ts";

const times = { kekCacheMs: 3_000, graceMs: 20_000, revalidateMs: 1_000, deadlineMs: 4_000 };
/** Answers of a busy node without a lease: it accepts no connections until it has one again. */
const passes = /try again|no answer within|connection refused|connection was reset/;
const kinds = orderedKinds.filter((kind) => kind !== "pkcs11" || hasSoftHsm());
if (!hasSoftHsm()) test.skip(softHsmMissing, () => {});

/** An ordered instance in which its vCenter has made a key. */
interface Ordered {
  readonly name: string;
  readonly kind: OrderedKind;
  readonly root: OrderedRoot;
  readonly vcenter: Issued;
  /** The key that vCenter made. */
  readonly key: string;
  readonly sha256: string;
}

let site: OrderRegions;
/** By kind, the instance that was ordered by the command line in one step. */
const ordered = new Map<OrderedKind, Ordered>();

beforeAll(async () => {
  site = await OrderRegions.start(times, 1);
});

afterAll(async () => {
  for (const node of site?.roots.both.nodes ?? []) {
    if (!node.running) process.stdout.write(`${node.name} has ended:\n${node.logTail()}\n`);
  }
  await site?.[Symbol.asyncDispose]();
});

/** How an instance is ordered: by what, and in one step as in 2019 or in several as now. */
type Way = "cli 2019" | "cli now" | "rest 2019" | "rest now";

const orders: Readonly<Record<Way, (name: string, root: OrderedRoot) => Promise<void>>> = {
  "cli 2019": async (name, { options }) => {
    const made = await site.done(
      "instance",
      "order",
      "--name",
      name,
      ...options,
      "--wait",
      ...once(name),
    );
    expect(made).toMatchObject({ name, status: "Installed", reason: "" });
  },
  "cli now": async (name, { options }) => {
    const made = await site.done("instance", "order", "--name", name, ...once(name));
    expect(made).toMatchObject({ name, status: "Inactive" });
    const configured = await site.done("root-of-trust", "configure", name, ...options, "--wait");
    expect(configured).toMatchObject({ name, status: "Installed" });
  },
  "rest 2019": async (name, { regions }) => {
    const body = { name, rootOfTrust: { regions } } as unknown as OrderBody;
    const key = `order-${name.replaceAll(" ", "-")}`;
    await rest().call("createInstance", { body }, { idempotencyKey: key });
    await untilStatus(name, "Installed");
  },
  "rest now": async (name, { regions }) => {
    const key = `order-${name.replaceAll(" ", "-")}`;
    const made = await rest().call("createInstance", { body: { name } }, { idempotencyKey: key });
    expect(made.status).toBe("Inactive");
    const body = { regions } as unknown as ConfigureBody;
    await rest().call("configureRoot", { params: { instance: made.id }, body });
    await untilStatus(name, "Installed");
  },
};

/** The option that makes a repetition harmless. */
function once(what: string): readonly string[] {
  return ["--idempotency-key", what.replaceAll(" ", "-")];
}

type OrderBody = Asked<Contract["createInstance"]>["body"];
type ConfigureBody = Asked<Contract["configureRoot"]>["body"];

const rest = () => patiently(site.roots.admin("b1"));

async function untilStatus(instance: string, wanted: string): Promise<void> {
  await until(`${instance} is ${wanted}`, async () => {
    const { status } = await rest().call("readInstance", { params: { instance } });
    return status === wanted || status;
  });
}

/** Orders an instance, adds vCenter's certificate to it, and lets vCenter work with it at every node. */
async function order(way: Way, kind: OrderedKind): Promise<Ordered> {
  const name = `${way} ${kind}`;
  const root = await site.rootFor(kind);
  await orders[way](name, root);
  const vcenter = await selfSigned({
    commonName: name,
    notBeforeMs: Date.now() - 3_600_000,
    days: 2,
  });
  const pem = vcenter.certificate;
  if (way.startsWith("cli")) {
    const file = await site.write(`${name}.pem`, pem);
    const asked = ["--name", "vcenter", "--file", file];
    await site.done("certificate", "add", name, ...asked, ...once(`certificate of ${name}`));
  } else {
    const params = { instance: name };
    await rest().call("addCertificate", { params, body: { name: "vcenter", pem } });
  }
  for (const node of site.roots.both.nodes) {
    await until(`${node.name} lets ${name} in`, () => letsIn(node, vcenter));
  }
  const { uniqueIdentifier: key, sha256 } = await play(vcenter);
  const made = { name, kind, root, vcenter, key, sha256 };
  await eachAnswers("", made, sha256);
  return made;
}

/** vCenter's sequence at all nodes, until it succeeds: busy nodes may answer "cannot tell". */
async function play(vcenter: Issued): Promise<MadeKey> {
  const nodes = site.roots.both.nodes.map((node) => ({
    name: node.name,
    region: node.name.slice(0, 1),
    endpoint: endpointOf(node),
  }));
  const tls = { ca: site.roots.both.a.ca, ...vcenter };
  const nothing = () => undefined;
  const sequence = () => playVcenter({ nodes, tls, report: nothing, answered: nothing });
  return await answerOf("vCenter's sequence", sequence, (error) => passes.test(String(error)));
}

function endpointOf({ host, kmip }: NodeProcess): string {
  return `${host}:${kmip}`;
}

async function session(node: NodeProcess, vcenter: Issued): Promise<VcenterSession> {
  const { certificate, key } = vcenter;
  const tls = { ca: site.roots.both.a.ca, certificate, key };
  return await VcenterSession.begin(endpointOf(node), { tls, answered: () => undefined });
}

/** A connection; waits until the node accepts one. */
async function opened(node: NodeProcess, vcenter: Issued): Promise<VcenterSession> {
  const open = () => session(node, vcenter);
  return await answerOf(`${node.name} lets vCenter in`, open, () => true);
}

async function letsIn(node: NodeProcess, vcenter: Issued): Promise<boolean> {
  try {
    await using _ = await session(node, vcenter);
    return true;
  } catch {
    return false;
  }
}

/** The digest of the key's bytes at a node, or why it refuses them; `shut` without a connection. */
async function get(node: NodeProcess, { vcenter, key }: Ordered): Promise<string> {
  try {
    await using open = await session(node, vcenter);
    return await open.get(key);
  } catch (error) {
    return error instanceof UnexpectedAnswer ? (error.reason ?? error.message) : "shut";
  }
}

async function eachAnswers(region: string, one: Ordered, wanted: string): Promise<void> {
  for (const node of site.roots.both.nodes.filter(({ name }) => name.startsWith(region))) {
    const answers = async () => {
      const answer = await get(node, one);
      return answer === wanted || answer;
    };
    await until(`${node.name} answers ${wanted} for ${one.name}`, answers);
  }
}

function theOne(kind: OrderedKind): Ordered {
  const one = ordered.get(kind);
  if (one === undefined) throw new Error(`none was ordered under ${kind}`);
  return one;
}

describe("IBM's order and then vCenter's sequence", () => {
  test.each(kinds)("work with %s roots in one step and in two, by CLI and REST", async (kind) => {
    const [first] = await Promise.all([order("cli 2019", kind), order("rest now", kind)]);
    ordered.set(kind, first);
    await Promise.all([order("cli now", kind), order("rest 2019", kind)]);
    const shown = await site.done("instance", "show", `cli 2019 ${kind}`);
    expect(shown).toMatchObject({ status: "Installed", certificates: 1 });
    expect(JSON.stringify(shown)).toContain(`"type":"${kind}"`);
  });
});

interface ReportRow {
  readonly name: string;
  readonly region: string;
  readonly currentVersion: string;
  readonly stale: number;
}

async function reportOf({ name }: Ordered): Promise<readonly ReportRow[]> {
  const { items } = await site.done("root-of-trust", "report");
  return (items as readonly ReportRow[]).filter((row) => row.name === name);
}

/** Whether each region wraps only under one version, which is not the one before. */
function allNew(rows: readonly ReportRow[], before: readonly ReportRow[]): boolean {
  const isNew = ({ region, currentVersion, stale }: ReportRow) =>
    stale === 0 &&
    before.every((old) => old.region !== region || old.currentVersion !== currentVersion);
  return rows.length === 2 && rows.every(isNew);
}

/** Waits until a command tells these states: on a busy machine a region may not know its key manager's answer yet. */
async function untilStates(
  command: "show" | "revalidate",
  { name }: Ordered,
  wanted: Readonly<Record<"a" | "b", string>>,
): Promise<void> {
  await until(`${name} is ${JSON.stringify(wanted)}`, async () => {
    const { regions } = await site.done("root-of-trust", command, name);
    const { a, b } = regions as Readonly<Record<"a" | "b", { readonly state: string }>>;
    return (a.state === wanted.a && b.state === wanted.b) || JSON.stringify(regions);
  });
}

const rotations: Readonly<Record<OrderedKind, (one: Ordered) => Promise<void>>> = {
  local: async () => {
    const sources = { clock: systemClock, ids: systemIds };
    for (const { folder } of site.roots.both.regions) {
      await rotateLocalRoot({ path: join(folder, "root.json") }, sources);
    }
  },
  "key-protect": ({ root }) => rotateIn("a", root),
  hpcs: ({ root }) => rotateIn("b", root),
  pkcs11: async ({ root }) => {
    for (const key of Object.values(root.keys)) await site.rotateToken(key);
  },
};

async function rotateIn(manager: "a" | "b", { keys }: OrderedRoot): Promise<void> {
  for (const key of Object.values(keys)) await site.roots.managers[manager].change(key, "rotate");
}

describe("an order that cannot be carried out", () => {
  const refusals = {
    "an unknown root key": [
      async () => "6ba7b810-9dad-41d1-80b4-00c04fd430c8",
      /region a: .*6ba7b810-9dad-41d1-80b4-00c04fd430c8/,
    ],
    "a suspended root key": [
      async () => {
        const key = await site.roots.managers.a.createRootKey("suspended");
        await site.roots.managers.a.change(key, "disable");
        return key;
      },
      /region a: .*(suspended|disabled)/i,
    ],
    "a standard key": [
      () => site.roots.managers.a.createRootKey("standard", { extractable: true }),
      /region a: .*(standard|root key)/,
    ],
  } as const;

  async function refused(option: string): Promise<string> {
    const args = ["instance", "order", "--name", "never", "--root", option, "--root", "b:local"];
    const said = await site.settled(...args);
    expect(said).toMatchObject({ code: 2, out: "" });
    expect(said.err).toMatch(/^holdfast: [^\n]+\n$/);
    return said.err;
  }

  test.each(Object.entries(refusals))("for %s is refused by name", async (_, [makeKey, wanted]) => {
    const key = await makeKey();
    const { instanceId } = site.roots.managers.a;
    const of = `a:key-protect,instanceId=${instanceId},rootKey=${key},apiKey=@${site.file("a.key")}`;
    expect(await refused(of)).toMatch(wanted);
  });

  test("with a wrong API key is refused, names the setting, and never shows the key", async () => {
    const { instanceId } = site.roots.managers.a;
    const file = await site.write("wrong.key", "not-the-API-key-of-anybody\n");
    const key = site.roots.rootKeys.a;
    const said = await refused(
      `a:key-protect,instanceId=${instanceId},rootKey=${key},apiKey=@${file}`,
    );
    expect(said).toMatch(/region a: .*API key/i);
    expect(said).not.toContain("not-the-API-key");
  });

  test("without a root of trust for a region is refused, and names the region", async () => {
    const args = ["instance", "order", "--name", "never", "--root", "a:local"];
    const said = await site.settled(...args);
    expect(said.code).not.toBe(0);
    expect(said.err).toContain("region b: name a root of trust");
    const { items } = await site.done("instance", "list", "--name", "never");
    expect(items).toEqual([]);
  });

  test("can be prevented: root-of-trust retrieve lists the root keys before it", async () => {
    const { instanceId } = site.roots.managers.a;
    const root = `a:key-protect,instanceId=${instanceId},apiKey=@${site.file("a.key")}`;
    const { code, out } = await site.settled("root-of-trust", "retrieve", "--root", root);
    expect(code).toBe(0);
    expect(out).toMatch(/^NAME +/);
    expect(out).toMatch(new RegExp(`crk a .*${site.roots.rootKeys.a} .*true`));
  });
});

describe("after a change of a root key", () => {
  test.each(kinds)("(%s) the report shows a rotation, and no key is lost", async (kind) => {
    const one = theOne(kind);
    const before = await reportOf(one);
    expect(before.map(({ region }) => region).toSorted()).toEqual(["a", "b"]);
    await rotations[kind](one);
    await until("the report shows the new versions", async () => {
      const { items } = await rest().call("reportRoots", {});
      return allNew(
        items.filter(({ name }) => name === one.name),
        before,
      );
    });
    // The command may ask another node, which hears of it a moment later.
    await until("the command shows them too", async () => allNew(await reportOf(one), before));
    await eachAnswers("", one, one.sha256);
  });

  test("its region refuses the keys while it is disabled, and serves once it is enabled", async () => {
    const one = theOne("key-protect");
    const { a } = site.roots.managers;
    await a.change(one.root.keys.a, "disable");
    await site.done("root-of-trust", "revalidate", one.name);
    await eachAnswers("a", one, "PermissionDenied");
    await eachAnswers("b", one, one.sha256);
    await untilStates("show", one, { a: "disabled", b: "usable" });
    await a.change(one.root.keys.a, "enable");
    await site.done("root-of-trust", "revalidate", one.name);
    await eachAnswers("a", one, one.sha256);
  });

  test("its region refuses the keys for good once it is deleted", async () => {
    const one = theOne("hpcs");
    await site.roots.managers.b.change(one.root.keys.b, "delete");
    await untilStates("revalidate", one, { a: "usable", b: "gone" });
    await eachAnswers("b", one, "PermissionDenied");
    await eachAnswers("a", one, one.sha256);
  });

  test("both regions refuse the keys of a shredded instance until it is validated again", async () => {
    const one = theOne("local");
    const unsure = await site.run(["root-of-trust", "shred", one.name]);
    expect(unsure).toMatchObject({ code: 2 });
    await site.done("root-of-trust", "shred", one.name, "--name", one.name);
    await eachAnswers("", one, "PermissionDenied");
    await site.done("root-of-trust", "revalidate", one.name);
    await eachAnswers("", one, one.sha256);
  });
});

test("doctor names the instances under HPCS, with the dates", async () => {
  const one = theOne("hpcs");
  await until("doctor tells", async () => {
    const { out } = await site.settled("doctor", "--json");
    const { items } = JSON.parse(out) as { items: { state: string; detail: string }[] };
    const told = items.find(({ detail }) => detail.includes("28 March 2027"));
    return told?.state === "warning" && told.detail.includes(`${one.name} (a)`);
  });
});

describe("deleting an instance", () => {
  test.each(kinds)("(%s) is refused while a key is Active; force ends access", async (kind) => {
    const one = theOne(kind);
    const { nodes } = site.roots.both;
    const open = await Promise.all(nodes.map((node) => opened(node, one.vcenter)));
    // On a busy machine a key may be in one region alone for a moment.
    await until("the count of both regions", async () => {
      const refused = await site.settled("instance", "delete", one.name);
      expect(refused).toMatchObject({ code: 6, out: "" });
      const counts = /^holdfast: .*\d Active in region a; \d Active in region b.*\n$/;
      return counts.test(refused.err) || refused.err;
    });
    const { warning } = await site.done(
      ...["instance", "delete", one.name, "--force", "--name", one.name],
    );
    expect(warning).toContain("never be decrypted");
    for (const [at, node] of nodes.entries()) {
      await until(`${node.name} is shut`, async () => (await get(node, one)) === "shut");
      await expect(open[at]?.get(one.key)).rejects.toThrow();
    }
    await Promise.all(open.map((each) => each[Symbol.asyncDispose]().catch(() => undefined)));
    // While the deletion goes on, its command can be repeated; then the instance is unknown.
    await until("the end of the instance", async () => {
      const { code, err } = await site.settled("instance", "delete", one.name);
      return code === 5 || `${code}: ${err}`;
    });
  });
});
