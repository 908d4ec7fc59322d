import { X509Certificate } from "node:crypto";
import { contract } from "@holdfast/admin";
import { makeRecord, markedIdentifier, systemInstance } from "@holdfast/engine";
import { type Authority, createAuthority, type Issued, selfSigned } from "@holdfast/testing/pki";
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { fingerprintOf } from "../../base/certificates.ts";
import { TestAccess, type TestNode } from "../../testing/access.ts";

const day = { notBeforeMs: Date.now() - 3_600_000, days: 90 };
const refusal = (code: string, detail?: RegExp) =>
  expect.objectContaining({ code, message: expect.stringMatching(detail ?? /./) });

let vmca: Authority;
let lost: Issued;
let kept: Issued;
let world: TestAccess;

beforeAll(async () => {
  vmca = await createAuthority({ commonName: "VMCA", ...day });
  lost = await vmca.issue({ commonName: "lost", ...day });
  kept = await vmca.issue({ commonName: "kept", ...day });
});
beforeEach(() => {
  world = new TestAccess();
});
afterEach(() => world[Symbol.asyncDispose]());

const parse = ({ certificate }: Pick<Issued, "certificate">) => new X509Certificate(certificate);
const opens = (node: TestNode, shown: Pick<Issued, "certificate">): string => {
  const verdict = node.trust.check(parse(shown), Date.now());
  return typeof verdict === "string" ? verdict : verdict.instance.name;
};
const everywhere = (shown: Issued) => world.nodes.map((node) => opens(node, shown));
const reason = "host was stolen";
const deny = (node: TestNode, body: object) =>
  node.call("addDenial", { body: { reason, ...body } });
const lift = (node: TestNode, denial: string) => node.call("removeDenial", { params: { denial } });

/** An instance with an authority whose clients are admitted at both nodes. */
async function bound(name = "kmip-aa"): Promise<string> {
  const instance = await world.instance(name);
  const body = { name: "vmca", kind: "authority", pem: vmca.certificate };
  await world.a.call("addCertificate", { params: { instance }, body });
  await world.see();
  expect([...everywhere(lost), ...everywhere(kept)]).toEqual([name, name, name, name]);
  return instance;
}

describe("a denial", () => {
  test("shuts out one client of an authority in both regions, and is lifted at any node", async () => {
    await bound();
    const { issuer, serialNumber: serial, subject } = parse(lost);
    const fingerprint = fingerprintOf(parse(lost));
    for (const named of [{ fingerprint }, { issuer, serial }, { subject }]) {
      const made = await deny(world.a, named);
      expect(made).toMatchObject({
        reason,
        addedBy: "admin",
        regions: { a: "applied", b: "applied" },
      });
      // It was pushed: no look at a store is needed.
      expect(everywhere(lost)).toEqual(["denied", "denied"]);
      expect(everywhere(kept)).toEqual(["kmip-aa", "kmip-aa"]);
      expect((await world.b.call("listDenials", {})).items).toMatchObject([
        { id: made.id, reason },
      ]);
      await lift(world.b, made.id);
      expect(everywhere(lost)).toEqual(["kmip-aa", "kmip-aa"]);
      expect((await world.a.call("listDenials", {})).items).toEqual([]);
      await expect(lift(world.a, made.id)).rejects.toEqual(refusal("notFound"));
    }
  });

  test("works where the other region cannot be reached, and there as soon as it can", async () => {
    await bound();
    world.regions.linked = false;
    const { regions } = await deny(world.a, { subject: "CN=lost" });
    expect(regions).toEqual({ a: "applied", b: "pending" });
    expect(everywhere(lost)).toEqual(["denied", "kmip-aa"]);
    world.regions.linked = true;
    await world.see();
    expect(everywhere(lost)).toEqual(["denied", "denied"]);
  });

  test("that exists is answered again; two that were made at once are lifted together", async () => {
    await bound();
    const first = await deny(world.a, { subject: "CN=lost" });
    expect((await deny(world.b, { subject: "cn = LOST", reason: "other" })).id).toBe(first.id);
    const values = { match: "subject cn=lost", reason: "r", createdMs: 1, createdBy: "t" };
    const twin = markedIdentifier("Deny", "00000000-0000-4000-8000-000000000000");
    await world.regions.b.records.create("Deny", values, [], { id: twin });
    await lift(world.a, first.id);
    expect(everywhere(lost)).toEqual(["kmip-aa", "kmip-aa"]);
  });

  test("leaves its reason in the audit trail", async () => {
    await bound();
    const { id } = await deny(world.a, { subject: "CN=lost" });
    await lift(world.a, id);
    const all = world.regions.a.own.auditOf(systemInstance);
    const told = all.filter(({ action }) => action.startsWith("denial."));
    expect(told.map(({ action, outcome }) => `${action} ${outcome}`)).toEqual([
      "denial.create pending",
      "denial.create success",
      "denial.delete pending",
      "denial.delete success",
    ]);
    expect(told[1]).toMatchObject({
      target: id,
      detail: { reason, "target.name": "subject cn=lost" },
    });
  });

  test("with a long name leaves well-formed text in the audit trail", async () => {
    await deny(world.a, { subject: `CN=${"x".repeat(244)}\u{1f600}` });
    const all = world.regions.a.own.auditOf(systemInstance);
    const names = all.map(({ detail }) => String(detail?.["target.name"] ?? ""));
    expect(names.filter((name) => name.endsWith("x"))).not.toEqual([]);
    expect(names.every((name) => /^\P{Cs}*$/u.test(name))).toBe(true);
  });

  test("keeps a certificate from being added, and says why", async () => {
    const instance = await world.instance("kmip-aa");
    const { id } = await deny(world.a, { subject: "CN=lost" });
    const body = { name: "lost", kind: "client", pem: lost.certificate };
    const add = () => world.b.call("addCertificate", { params: { instance }, body });
    await expect(add()).rejects.toEqual(refusal("certificateInvalid", new RegExp(id)));
    await lift(world.a, id);
    await add();
    await world.see();
    expect(everywhere(lost)).toEqual(["kmip-aa", "kmip-aa"]);
  });
});

describe("a denial is refused", () => {
  test.each<[string, object, string, RegExp]>([
    ["that names nothing", {}, "invalid", /give the fingerprint, or/],
    ["with half a name", { issuer: "CN=x" }, "invalid", /serial number/],
  ])("%s", async (_, body, code, detail) => {
    await expect(deny(world.a, body)).rejects.toEqual(refusal(code, detail));
  });

  test("that would leave an instance without a certificate, unless it is forced", async () => {
    const instance = await bound();
    const fingerprint = fingerprintOf(parse(vmca));
    await expect(deny(world.a, { fingerprint })).rejects.toEqual(
      refusal("confirmationNeeded", /every certificate of kmip-aa:.*--force/),
    );
    const other = await selfSigned({ commonName: "other", ...day });
    const body = { name: "other", kind: "client", pem: other.certificate };
    await world.a.call("addCertificate", { params: { instance }, body });
    await world.see();
    const made = await deny(world.a, { fingerprint });
    expect(everywhere(lost)).toEqual(["denied", "denied"]);
    expect(everywhere(other)).toEqual(["kmip-aa", "kmip-aa"]);
    // What is denied already is no way in that is left.
    const last = { subject: "CN=other" };
    await expect(deny(world.a, last)).rejects.toEqual(refusal("confirmationNeeded"));
    await deny(world.a, { ...last, force: true });
    expect(everywhere(other)).toEqual(["denied", "denied"]);
    await lift(world.a, made.id);
    expect(everywhere(kept)).toEqual(["kmip-aa", "kmip-aa"]);
  });

  test("that leaves an instance only certificates that have ended, unless it is forced", async () => {
    const past = { notBeforeMs: Date.now() - 90 * 86_400_000, days: 30 };
    const ended = await selfSigned({ commonName: "ended", ...past });
    const good = await selfSigned({ commonName: "good", ...day });
    const certificates = [parse(ended), parse(good)];
    const about = { id: "6f1f0e9e-3f0f-4b8a-8f5c-2a8d8f4c1a01", name: "declared" };
    const declared = [{ ...about, certificates, authorities: [], users: new Map() }];
    await using own = new TestAccess({ declared });
    const last = { subject: "CN=good" };
    await expect(deny(own.a, last)).rejects.toEqual(refusal("confirmationNeeded", /declared/));
    await deny(own.a, { subject: "CN=ended" });
    await deny(own.a, { ...last, force: true });
  });

  test("that would cut the regions apart, unless it is forced", async () => {
    const [own, first, second] = ["1", "2", "3"].map((digit) => digit.repeat(64)) as [
      string,
      string,
      string,
    ];
    let shown = [first, second];
    world.a.link = {
      own: () => own,
      peers: () => [{ region: "b", shown: shown.map((fingerprint) => ({ fingerprint })) }],
    };
    const cut = (why: RegExp) => refusal("confirmationNeeded", why);
    await expect(deny(world.a, { fingerprint: own })).rejects.toEqual(
      cut(/cuts region a and region b apart.* this node's own peer certificate.*--force/),
    );
    // Another node of region b still has its own. The denial says whose certificate it was.
    world.a.peerNames.set(first, "b1 of region b");
    expect(await deny(world.a, { fingerprint: first })).toMatchObject({ peer: "b1 of region b" });
    expect(world.nodes.map(({ trust }) => trust.denies(first))).toEqual([true, true]);
    shown = [second, second];
    await expect(deny(world.a, { fingerprint: second })).rejects.toEqual(
      cut(/cuts region a and region b apart.* the only peer certificate that its nodes showed/),
    );
    const { id } = await deny(world.a, { fingerprint: second, force: true });
    expect(world.nodes.map(({ trust }) => trust.denies(second))).toEqual([true, true]);
    // Apart, it is lifted in each region by itself.
    world.regions.linked = false;
    await lift(world.a, id);
    expect(world.nodes.map(({ trust }) => trust.denies(second))).toEqual([false, true]);
    await lift(world.b, id);
    expect(world.nodes.map(({ trust }) => trust.denies(second))).toEqual([false, false]);
  });

  test("that is no well-formed text", () => {
    const half = String.fromCharCode(0xd800);
    const { body } = contract.addDenial;
    const good = { issuer: "CN=\u{1f600}", serial: "1", reason };
    expect(body.safeParse(good).success).toBe(true);
    expect(body.safeParse({ subject: "CN=a\nO=b", reason }).success).toBe(true);
    for (const wrong of [
      { ...good, issuer: `CN=${half}` },
      { ...good, reason: half },
      { subject: `CN=${half}x`, reason },
    ]) {
      expect(body.safeParse(wrong).success).toBe(false);
    }
  });

  test("that names a server's certificate", async () => {
    const server = parse(await selfSigned({ commonName: "node", ...day }));
    world.a.leaves = [server];
    for (const named of [{ subject: "CN=node" }, { fingerprint: server.fingerprint256 }]) {
      await expect(deny(world.a, named)).rejects.toEqual(
        refusal("wrongState", /server certificate of node this one.*tls\.certificate/),
      );
    }
  });
});

describe("a denial that cannot be read", () => {
  const twoYears = { ...day, days: 730 };

  /** A node of region a that starts with a damaged denial, and cannot reach region b. */
  async function damaged() {
    const own = new TestAccess();
    const id = markedIdentifier("Deny", "6f1f0e9e-3f0f-4b8a-8f5c-2a8d8f4c1a00");
    const values = { match: "subject cn=lost", reason, createdMs: 1, createdBy: "t" };
    const after = makeRecord("Deny", id, values, { us: 1, region: "a" });
    await own.regions.a.own.commit(systemInstance, [{ kind: "create", after }], []);
    own.regions.a.own.damage(id);
    return { own, id, after };
  }

  /** A client whose certificate is added to an instance. */
  async function anyClient(own: TestAccess) {
    const instance = await own.instance("kmip-aa");
    const shown = await selfSigned({ commonName: "any", ...twoYears });
    const body = { name: "any", kind: "client", pem: shown.certificate } as const;
    await own.a.call("addCertificate", { params: { instance }, body });
    return shown;
  }

  test("shuts out everybody, and is reported", async () => {
    const { own } = await damaged();
    await using _ = own;
    const shown = await anyClient(own);
    expect(opens(own.a, shown)).toBe("denyListUnreadable");
    expect(own.regions.a.events).toContainEqual(
      expect.objectContaining({ message: expect.stringMatching(/cannot be read: no client/) }),
    );
  });

  test("can be lifted where no region has a whole copy", async () => {
    const { own, id } = await damaged();
    await using _ = own;
    const shown = await anyClient(own);
    await lift(own.a, id);
    expect(opens(own.a, shown)).toBe("kmip-aa");
    await own.see();
    expect([opens(own.a, shown), opens(own.b, shown)]).toEqual(["kmip-aa", "kmip-aa"]);
    expect(await own.regions.a.own.quarantined()).toBe(1);
  });

  test("is replaced without a gap: at the node that cannot read it, deny the client again, then lift it", async () => {
    const { own, id, after } = await damaged();
    await using _ = own;
    // Region b's node read the denial before its bytes were damaged.
    own.regions.b.view.take([after]);
    const instance = await own.instance("kmip-aa");
    const body = { name: "vmca", kind: "authority", pem: vmca.certificate };
    await own.a.call("addCertificate", { params: { instance }, body });
    await own.see();
    const lostAt = () => own.nodes.map((node) => opens(node, lost));
    expect(lostAt()).toEqual(["denyListUnreadable", "denied"]);
    const made = await deny(own.a, { subject: "CN=lost" });
    expect(made.id).not.toBe(id);
    expect(lostAt()[1]).toBe("denied");
    expect(opens(own.a, kept)).toBe("denyListUnreadable");
    await lift(own.a, id);
    expect(lostAt()).toEqual(["denied", "denied"]);
    await own.see();
    expect(lostAt()).toEqual(["denied", "denied"]);
    expect(own.nodes.map((node) => opens(node, kept))).toEqual(["kmip-aa", "kmip-aa"]);
    const { items } = await own.a.call("listDenials", {});
    expect(items).toMatchObject([{ id: made.id, subject: "cn=lost" }]);
  });

  test("is lifted as it is if it was repaired meanwhile", async () => {
    const { own, id, after } = await damaged();
    await using _ = own;
    const store = own.regions.a.own;
    await own.a.region.view.refresh();
    const quarantine = store.quarantine.bind(store);
    store.quarantine = async (instance, identifier, why, options) => {
      await quarantine(instance, identifier, "repaired", { replacement: after });
      await quarantine(instance, identifier, why, options);
    };
    await lift(own.a, id);
    const [stored] = await store.read(systemInstance, [id]);
    expect(stored?.object.facts.destroyed).toBeDefined();
    expect(own.a.region.view.unreadDenials.size).toBe(0);
    expect(own.a.region.view.get("Deny", id)).toMatchObject({ match: "subject cn=lost" });
    expect(own.a.region.view.record(id)).toEqual(stored?.object);
  });

  test("can be lifted where its record has gone", async () => {
    const { own, id } = await damaged();
    await using _ = own;
    const shown = await anyClient(own);
    expect(opens(own.a, shown)).toBe("denyListUnreadable");
    own.regions.a.own.empty("new store", "new store");
    await own.a.region.view.refresh();
    await lift(own.a, id);
    expect(opens(own.a, shown)).toBe("kmip-aa");
    // Other nodes learn of it from the store.
    const [stored] = await own.regions.a.own.read(systemInstance, [id]);
    expect(stored?.object.facts.destroyed).toBeDefined();
    const all = own.regions.a.own.auditOf(systemInstance);
    expect(all.some(({ action, target }) => action === "denial.delete" && target === id)).toBe(
      true,
    );
  });

  test("can be lifted where its bytes are whole, but are no denial", async () => {
    const instance = await bound();
    const id = markedIdentifier("Deny", "6f1f0e9e-3f0f-4b8a-8f5c-2a8d8f4c1a00");
    const values = { match: "what a later release denies", reason, createdMs: 1, createdBy: "t" };
    const after = makeRecord("Deny", id, values, { us: 1, region: "b" });
    await world.regions.b.store.commit(systemInstance, [{ kind: "create", after }], []);
    await world.see();
    expect(everywhere(lost)).toEqual(["denyListUnreadable", "denyListUnreadable"]);
    await lift(world.a, id);
    await world.see();
    expect(everywhere(lost)).toEqual(["kmip-aa", "kmip-aa"]);
    expect(instance).not.toBe("");
  });
});
