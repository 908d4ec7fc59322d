import { randomBytes, randomUUID } from "node:crypto";
import { existsSync, readFileSync, rmSync, truncateSync } from "node:fs";
import type { KmipClient } from "@holdfast/client";
import { attributeValue, tags } from "@holdfast/kmip";
import { createAuthority, selfSigned } from "@holdfast/testing/pki";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { answered } from "../support/keys.ts";
import { KmipServer } from "../support/kmip-server/index.ts";
import { keyBytes, Migrating, sha256Of, stateOf } from "../support/migrating.ts";
import { type Region, startRegion } from "../support/region.ts";
import { letIn } from "../support/region-watch.ts";

const since = { notBeforeMs: Date.now() - 3_600_000, days: 2 };
const secret = (bytes = 32) => randomBytes(bytes).toString("hex");
const keys = (count: number) => Array.from({ length: count }, () => ({ hex: secret() }));

let region: Region;
let client: KmipClient;
let migrating: Migrating;
let count = 0;
let plan: string;

beforeAll(async () => {
  region = await startRegion({ instances: ["target"], nodes: 1, replicas: 0, admin: true });
  client = await letIn(region, "target", 0);
  migrating = await Migrating.at(region);
});

afterAll(async () => {
  migrating?.[Symbol.dispose]();
  await client?.close();
  await region?.[Symbol.asyncDispose]();
});

beforeEach(() => {
  count += 1;
  plan = `plan-${count}`;
});

function sourceOf(server: KmipServer): readonly string[] {
  return migrating.side("source", server.target);
}

function targetSide(): readonly string[] {
  return migrating.side("target", region.target("target"));
}

function planned(source: readonly string[], ...more: readonly string[]) {
  return migrating.site("plan", plan, "--instance", "target", ...source, ...more);
}

function ran(source: readonly string[], ...more: readonly string[]) {
  return migrating.site("run", plan, ...source, ...more);
}

function verified(source: readonly string[], ...more: readonly string[]) {
  return migrating.run("verify", plan, ...source, ...targetSide(), ...more);
}

/** Plans and moves everything; each command must succeed. */
async function moved(source: readonly string[], ...more: readonly string[]): Promise<void> {
  for (const step of [() => planned(source, ...more), () => ran(source)]) {
    const { code, err, out } = await step();
    if (code !== 0) throw new Error(`exit ${code}: ${err}${out}`);
  }
}

describe("a move", () => {
  test.each([["1.0"], ["1.4"], ["2.1"]])(
    "from a server of KMIP %s keeps identifiers, states, names, dates, links and custom attributes",
    async (version) => {
      await using server = await KmipServer.start({ versions: [version] });
      const source = sourceOf(server);
      const linked = randomUUID();
      const name = `web "1"\n\u202e ${randomUUID()}`;
      const secrets = Array.from({ length: 5 }, () => secret());
      const [active, waiting, over, bad, data] = await server.put(
        { id: linked, hex: secrets[0] ?? "", names: [name], custom: { Product: "vSphere" } },
        { hex: secrets[1] ?? "", state: "PreActive", links: [linked] },
        { hex: secrets[2] ?? "", state: "Deactivated" },
        { hex: secrets[3] ?? "", state: "Compromised", names: [`é ${randomUUID()}`] },
        { hex: secrets[4] ?? "", type: "SecretData", state: "PreActive" },
      );
      const { out } = await planned(source);
      expect(out).toContain(`source: Stand-in, KMIP ${version}`);
      expect(out).toContain("TLS alone");
      expect(out).toContain("5 objects: 5 come, 0 do not");
      expect((await server.calls())["Get"]).toBeUndefined();
      const dry = await ran(source, "--dry-run");
      expect(dry.out).toContain("5 objects would be moved to target");
      expect((await server.calls())["Get"]).toBeUndefined();

      expect(await ran(source)).toMatchObject({ code: 0 });
      expect(await keyBytes(client, active ?? "")).toBe(secrets[0]);
      const states = await Promise.all(
        [active, waiting, over, bad].map((id) => stateOf(client, id ?? "")),
      );
      expect(states).toEqual(["Active", "PreActive", "Deactivated", "Compromised"]);
      const digest = sha256Of(secrets[0] ?? "");
      expect(migrating.line(`${plan}.report`, active)).toMatchObject({
        ...{ outcome: "Imported", digests: { source: digest, target: digest } },
      });
      const line = migrating.line(`${plan}.report`, data);
      expect(line).toMatchObject({ outcome: "Imported", compared: true });
      expect(line).not.toHaveProperty("digests");

      const proof = await verified(source);
      expect(proof).toMatchObject({ code: 0, err: "" });
      expect(proof.out).toContain("5 objects are the same at both sides");
      expect((await ran(source)).out).toContain("5 objects are there already");
      expect(migrating.leaks(secrets, [region.node(0).logText()])).toEqual([]);
    },
  );

  test.each([0, 1])("of %i keys is done, and says so", async (number) => {
    await using server = await KmipServer.start({ versions: ["1.4"] });
    const source = sourceOf(server);
    await server.put(...keys(number));
    const first = await planned(source);
    expect(first).toMatchObject({ code: 0 });
    expect(first.out).toContain(number === 0 ? "nothing to move" : "1 objects: 1 come, 0 do not");
    const said = await ran(source);
    expect(said).toMatchObject({ code: 0 });
    expect(said.out).toContain(number === 0 ? "nothing to do" : "1 of 1 objects are in target");
    const proof = await verified(source);
    expect(proof).toMatchObject({ code: 0 });
    if (number === 0) expect(proof.out).toBe("the source has no objects\n");
  });

  test("gives new identifiers if an option asks for that, and changes links to match", async () => {
    await using server = await KmipServer.start({ versions: ["1.4"] });
    const source = sourceOf(server);
    await server.put({ id: "1", hex: secret() }, { id: "2", hex: secret(), links: ["1"] });
    const refused = await planned(source);
    expect(refused.out).toContain("wrong identifier form");
    plan = `${plan}-new`;
    await moved(source, "--new-identifiers");
    const becomes = migrating.line(plan, "1")?.["becomes"];
    expect(becomes).toMatch(/^[\da-f-]{36}$/);
    const uniqueIdentifier = String(migrating.line(plan, "2")?.["becomes"]);
    const references = [{ tag: tags.Link.tag, key: "" }];
    const { attributes } = await answered(() =>
      client.getAttributes({ uniqueIdentifier, references }),
    );
    const links = attributes.map(({ item }) => attributeValue("Link", item));
    expect(links).toEqual([{ type: "NextLink", linkedObjectIdentifier: becomes }]);
    expect(await verified(source)).toMatchObject({ code: 0 });
  });

  test("says what does not come and why, and moves the rest", async () => {
    await using server = await KmipServer.start({ versions: ["1.4"] });
    const source = sourceOf(server);
    const name = `twice ${randomUUID()}`;
    const [, second, hidden, gone] = await server.put(
      { hex: secret(), names: [name] },
      { hex: secret(), names: [name] },
      { hex: secret(), extractable: false },
      { hex: secret(), state: "Destroyed" },
    );
    const { out } = await planned(source);
    expect(out).toContain("4 objects: 1 come, 3 do not");
    const whyOf = (id: string | undefined) => migrating.line(plan, id)?.["why"];
    // The newest is listed first, so it has the name.
    expect([second, hidden, gone].map((id) => whyOf(id)).filter(Boolean)).toHaveLength(2);
    expect(out).toContain(`the name ${name} is also that of`);
    expect(whyOf(hidden)).toContain("not extractable");
    expect(whyOf(gone)).toContain("destroyed");
    plan = `${plan}-names`;
    await moved(source, "--drop-taken-names");
    expect(migrating.lines(plan).filter((line) => line["comes"] === true)).toHaveLength(2);
    const open = await verified(source);
    expect(open.code).toBe(6);
    expect(open.out).toBe(`${hidden}: stays behind: ${whyOf(hidden)}\n`);
    const proof = await verified(source, "--accept-left");
    expect(proof).toMatchObject({ code: 0 });
    expect(proof.out).toContain("1 objects stay behind");
  });

  test("leaves an attribute that no version of KMIP has, and says so", async () => {
    await using server = await KmipServer.start({ versions: ["1.4"] });
    const source = sourceOf(server);
    const [id] = await server.put({ hex: secret(), custom: { Product: "a" } });
    await server.fault({ strange: true });
    expect((await planned(source)).out).toContain("without Secret Sauce");
    expect(await ran(source)).toMatchObject({ code: 0 });
    expect(migrating.line(`${plan}.report`, id)?.["left"]).toContain("Secret Sauce");
    const proof = await verified(source);
    expect(proof).toMatchObject({ code: 0 });
    expect(proof.out).toContain("1 of them without attributes that could not come");
  });

  test("takes no other object that has the identifier at the source now", async () => {
    await using server = await KmipServer.start({ versions: ["1.4"] });
    const source = sourceOf(server);
    const [id = ""] = await server.put(...keys(1));
    await planned(source);
    await server.put({ id, hex: secret(16) });
    const said = await ran(source);
    expect(said.code).toBe(6);
    expect(said.out).toContain("another object under this identifier: make a new plan");
  });
});

describe("a source that pages inconsistently", () => {
  const page = ["--page", "3"];

  test.each([
    ["repeats objects", { repeats: true }],
    ["has smaller pages than asked for", { pageMax: 2 }],
    ["ignores the offset", { ignoresOffset: true }],
    ["gets new objects meanwhile", { appears: keys(2) }],
  ])("and %s is read completely", async (_, fault) => {
    await using server = await KmipServer.start({ versions: ["1.4"] });
    const source = sourceOf(server);
    await server.put(...keys(7));
    await server.fault(fault);
    expect(await planned(source, ...page)).toMatchObject({ code: 0 });
    const ids = (await server.objects()).map(({ id }) => id).toSorted();
    const found = migrating.lines(plan).slice(1);
    expect(found.map(({ id }) => id).toSorted()).toEqual(ids);
  });

  test("and loses objects meanwhile is read without these", async () => {
    await using server = await KmipServer.start({ versions: ["1.4"] });
    const ids = await server.put(...keys(8));
    await server.fault({ goes: ids.slice(-2) });
    expect(await planned(sourceOf(server), ...page)).toMatchObject({ code: 0 });
    const found = migrating.lines(plan).slice(1);
    expect(found.map(({ id }) => id).toSorted()).toEqual(ids.slice(0, -2).toSorted());
  });

  test("and counts more than it lists is not believed", async () => {
    await using server = await KmipServer.start({ versions: ["1.4"] });
    const source = sourceOf(server);
    await server.put(...keys(2));
    await server.fault({ counted: 9 });
    const said = await planned(source);
    expect(said).toMatchObject({ code: 2 });
    expect(said.err).toContain("says that it has 9 objects, but lists 2");
    expect(await ran(source)).toMatchObject({ code: 0 });
    const proof = await verified(source);
    expect(proof.code).toBe(6);
    expect(proof.out).toContain("says that it has 9 objects");
  });
});

describe("a source with faults", () => {
  test("that fails or cuts connections for a while is asked again", async () => {
    await using server = await KmipServer.start({ versions: ["1.4"] });
    const source = sourceOf(server);
    await server.put(...keys(12));
    await server.fault({ fails: { operation: "GetAttributes", times: 2 } });
    await planned(source);
    await server.fault({ fails: { operation: "Get", times: 2 }, drops: 3 });
    expect(await ran(source)).toMatchObject({ code: 0 });
    expect(await verified(source)).toMatchObject({ code: 0 });
  });

  test("that refuses single keys loses no other, and the next run has these", async () => {
    await using server = await KmipServer.start({ versions: ["1.4"] });
    const source = sourceOf(server);
    await server.put(...keys(3));
    await planned(source);
    await server.fault({ fails: { operation: "Get", times: 1_000 } });
    const said = await ran(source);
    expect(said).toMatchObject({ code: 6 });
    expect(said.out).toContain("the disk of the source is broken");
    await server.fault({ fails: { operation: "Get", times: 0 } });
    expect((await ran(source)).out).toContain("3 of 3 objects are in target");
  });

  test("that dies halfway ends the run with how to continue, and the next run continues", async () => {
    await using server = await KmipServer.start({ versions: ["1.4"] });
    const source = sourceOf(server);
    await server.put(...keys(130));
    await planned(source);
    await server.fault({ diesAt: 120 });
    const said = await ran(source, "--patience", "1");
    expect(said.code).toBe(3);
    expect(said.err.trim().split("\n")).toHaveLength(1);
    expect(said.err).toContain("give the same command again to continue");
    await server.restart();
    expect((await ran(source)).out).toContain("130 of 130 objects are in target");
    expect(await verified(source)).toMatchObject({ code: 0 });
  });

  test("that answers for another object, or shows another Digest, is not believed", async () => {
    await using server = await KmipServer.start({ versions: ["1.4"] });
    const source = sourceOf(server);
    const [id] = await server.put({ hex: secret(), digest: sha256Of(secret()) }, ...keys(1));
    await planned(source);
    const said = await ran(source);
    expect(said.code).toBe(6);
    expect(migrating.line(`${plan}.report`, id)?.["reason"]).toContain("the source is damaged");
    await server.fault({ mixesUp: true });
    expect(await ran(source)).toMatchObject({
      code: 2,
      err: expect.stringContaining("answered for another object"),
    });
  });

  test("of another authority or with another client, and a wrong file, get one clear line", async () => {
    await using server = await KmipServer.start({ versions: ["1.4"] });
    const { target } = server;
    const other = await createAuthority({ commonName: "Wrong CA", ...since });
    const stranger = await selfSigned({ commonName: "stranger", ...since });
    const cases: [object, number, RegExp][] = [
      [{ ca: other.certificate }, 3, /does not come from the given certificate authority/],
      [stranger, 4, /refused the client certificate|does not know the client certificate/],
      [{ key: stranger.key }, 2, /--source-key .* is not the key of the certificate/],
      [{ ca: "nothing" }, 2, /--source-ca .* holds no certificate/],
    ];
    for (const [changed, code, why] of cases) {
      const said = await planned(migrating.side("source", { ...target, ...changed }));
      expect(said).toMatchObject({ code, out: "" });
      expect(said.err.trim()).toMatch(why);
      expect(said.err.trim().split("\n")).toHaveLength(1);
    }
  });
});

describe("a run that is killed", () => {
  test("at any point continues, and does nothing twice", async () => {
    await using server = await KmipServer.start({ versions: ["1.4"] });
    const source = sourceOf(server);
    const told = keys(260);
    await server.put(...told);
    await planned(source);
    const report = `${plan}.report`;
    for (const gets of [1, 60, 130, 110]) {
      const count = ((await server.calls())["Get"] ?? 0) + gets;
      // A test that is slow to notice must not find it finished.
      await server.fault({ silentAt: { operation: "Get", count } });
      const reached = async () => ((await server.calls())["Get"] ?? 0) >= count;
      const args = ["run", plan, ...source, "--rate", "100"];
      expect(await migrating.killed(args, reached)).toBe(true);
    }
    await server.fault({ silentAt: null });
    const said = await ran(source);
    expect(said.code).toBe(0);
    expect(said.out).toContain("260 of 260 objects are in target");
    // As if it were killed between an import and its line.
    const { length } = readFileSync(migrating.file(report));
    for (const at of [length - 3, Math.floor(length / 2), 200]) {
      truncateSync(migrating.file(report), at);
      const again = await ran(source);
      expect(again.code).toBe(0);
      expect(again.out).toContain("0 imported now");
    }
    const { uniqueIdentifiers } = await answered(() => client.locate({ attributes: [] }));
    const ids = (await server.objects()).map(({ id }) => id);
    expect(ids.filter((id) => !uniqueIdentifiers.includes(id))).toEqual([]);
    expect(await verified(source)).toMatchObject({ code: 0 });
    expect(
      migrating.leaks(
        told.map(({ hex }) => hex),
        [region.node(0).logText()],
      ),
    ).toEqual([]);
  });
});

test("a run with a report that another command has is refused, and moves nothing", async () => {
  await using server = await KmipServer.start({ versions: ["1.4"] });
  const source = sourceOf(server);
  await server.put(...keys(2));
  await planned(source);
  // This process runs.
  const lock = migrating.write(`${plan}.report.lock`, `${process.pid}\n`);
  const said = await ran(source);
  expect(said).toMatchObject({ code: 2, out: "" });
  expect(said.err).toContain(`process ${process.pid} works with it: wait for its end`);
  expect((await server.calls())["Get"]).toBeUndefined();
  rmSync(lock);
  expect((await ran(source)).out).toContain("2 of 2 objects are in target");
  expect(existsSync(lock)).toBe(false);
});

describe("verify", () => {
  test("names what is new, gone, changed or missing", async () => {
    await using server = await KmipServer.start({ versions: ["1.4"] });
    const source = sourceOf(server);
    const [revoked = "", unmoved = ""] = await server.put(...keys(2));
    await moved(source);
    await server.put({ hex: secret(), id: unmoved });
    const differs = await verified(source);
    expect(differs.code).toBe(6);
    expect(differs.out).toContain(`${unmoved}: the two sides have different material`);
    const code = "CessationOfOperation";
    await answered(() => client.revoke({ uniqueIdentifier: revoked, revocationReason: { code } }));
    expect((await verified(source)).out).toMatch(new RegExp(`${revoked}: differs in .*State`));
    const [fresh] = await server.put(...keys(1));
    expect((await verified(source)).out).toContain(`${fresh}: new at the source`);
  });

  test("of a plan that never ran names every object", async () => {
    await using server = await KmipServer.start({ versions: ["2.1"] });
    const source = sourceOf(server);
    const [id] = await server.put(...keys(1));
    await planned(source);
    expect((await verified(source)).out).toContain(`${id}: missing at the target`);
  });

  test("of a plan that moves nothing, or with the source as the target, proves nothing", async () => {
    await using server = await KmipServer.start({ versions: ["1.4"] });
    const source = sourceOf(server);
    await server.put({ hex: secret(), extractable: false });
    await planned(source);
    expect(await verified(source, "--accept-left")).toMatchObject({
      code: 6,
      err: expect.stringContaining("moves none of the 1 objects"),
    });
    const itself = migrating.side("target", server.target);
    expect(await migrating.run("verify", plan, ...source, ...itself)).toMatchObject({
      code: 2,
      err: expect.stringContaining("is a --source-endpoint and a --target-endpoint"),
    });
    await using other = await KmipServer.start({ versions: ["1.4"] });
    const foreign = migrating.side("target", other.target);
    expect(await migrating.run("verify", plan, ...source, ...foreign)).toMatchObject({
      code: 2,
      err: expect.stringContaining("the target is no Holdfast (it says that it is Stand-in)"),
    });
  });

  test("after a clash names it, and the run does not replace the key that is there", async () => {
    await using server = await KmipServer.start({ versions: ["1.4"] });
    const source = sourceOf(server);
    const hex = secret();
    const [id = ""] = await server.put({ hex });
    await moved(source);
    await server.put({ hex: secret(), id });
    plan = `${plan}-again`;
    await planned(source);
    const said = await ran(source);
    expect(said.code).toBe(6);
    expect(said.out).toContain(`${id}: Clash`);
    expect(await keyBytes(client, id)).toBe(hex);
  });
});
