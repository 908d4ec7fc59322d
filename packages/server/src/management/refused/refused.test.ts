import { X509Certificate } from "node:crypto";
import { type Issued, selfSigned } from "@holdfast/testing/pki";
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { fingerprintOf, subjectOf } from "../../base/certificates.ts";
import { TestAccess, type TestNode } from "../../testing/access.ts";
import { PublishPace } from "../node-news.ts";

const refusal = (code: string) => expect.objectContaining({ code });

let shown: Issued;
let world: TestAccess;
beforeAll(async () => {
  shown = await selfSigned({ commonName: "kmipClient", notBeforeMs: Date.now() - 1000, days: 9 });
});
beforeEach(() => {
  world = new TestAccess();
});
afterEach(() => world[Symbol.asyncDispose]());

function refuse(node: TestNode, { certificate }: Pick<Issued, "certificate">, more = {}): void {
  const parsed = new X509Certificate(certificate);
  node.refused.note({
    timeMs: Date.now(),
    reason: "unknownCertificate",
    remote: "192.0.2.7 50000",
    fingerprint: fingerprintOf(parsed),
    subject: subjectOf(parsed),
    certificate: parsed,
    ...more,
  });
}

const settings = () => world.regions.a.view.all("Setting").flatMap(({ clients }) => clients ?? []);

describe("a refused client", () => {
  test("is seen at the other region's node with advice, and adopted there", async () => {
    const instance = await world.instance("kmip-aa");
    refuse(world.b, shown);
    await world.b.directory.tick();
    await world.see();
    const { items } = await world.a.call("listRefused", {});
    expect(items).toMatchObject([
      {
        ...{ region: "b", node: "b1", reason: "unknownCertificate", subject: "CN=kmipClient" },
        ...{ adoptable: true, times: 1, advice: expect.stringMatching(/adopt it/) },
      },
    ]);
    const fingerprint = items[0]?.fingerprint ?? "";
    const body = { fingerprint, name: "vcenter-1" };
    const made = await world.a.call("adoptCertificate", { params: { instance }, body });
    expect(made).toMatchObject({ origin: "adopted", fingerprint });
    const unknown = { fingerprint: "0".repeat(64), name: "x" };
    await expect(
      world.a.call("adoptCertificate", { params: { instance }, body: unknown }),
    ).rejects.toEqual(refusal("notFound"));
  });

  test("is not adopted where its node reports another certificate than the fingerprint names", async () => {
    const instance = await world.instance("kmip-aa");
    const fingerprint = "ab".repeat(32);
    refuse(world.b, shown, { fingerprint });
    await world.b.directory.tick();
    await world.see();
    const body = { fingerprint, name: "vcenter-1" };
    await expect(world.a.call("adoptCertificate", { params: { instance }, body })).rejects.toEqual(
      refusal("notFound"),
    );
  });

  test("that connects again and again is reported only from time to time", async () => {
    refuse(world.a, shown);
    await world.a.directory.tick();
    const [before] = settings();
    for (let at = 0; at < 50; at += 1) refuse(world.a, shown);
    await world.a.directory.tick();
    expect(settings()).toEqual([before]);
    expect((await world.a.call("listRefused", {})).items).toMatchObject([{ times: 51 }]);
  });

  test("stays known after a restart of its node", async () => {
    refuse(world.a, shown);
    await world.a.directory.tick();
    const { RefusedDirectory } = await import("./refused-directory.ts");
    const { RefusedClients } = await import("../../access/refused-clients.ts");
    const { view, records } = world.regions.a;
    const clock = { wallMs: Date.now, monotonicMs: () => performance.now() };
    const again = new RefusedDirectory({
      ...{ region: "a", node: "a1", refused: new RefusedClients(), view, records, clock },
      observe: () => undefined,
    });
    expect(again.list()).toMatchObject([{ subject: "CN=kmipClient" }]);
    again[Symbol.dispose]();
  });
});

test("strangers can affect neither how much a node reports nor how often", async () => {
  const subject = `CN=${"\u0001".repeat(250)}`;
  for (let at = 0; at < 300; at += 1) {
    const fingerprint = at.toString(16).padStart(64, "0");
    const remote = `192.0.${at >> 8}.${at & 255} 50000`;
    refuse(world.a, shown, { fingerprint, subject, remote });
  }
  await world.a.directory.tick();
  const [told = ""] = settings();
  expect(told.length).toBeLessThan(98_304);
  expect(JSON.parse(told)[0]).toMatchObject({ fingerprint: (299).toString(16).padStart(64, "0") });
  await world.see();
  expect(world.b.directory.list().length).toBeGreaterThan(50);
  const pace = new PublishPace();
  let writes = 0;
  for (let ms = 0; ms < 3_600_000; ms += 500) if (pace.may(ms)) writes += 1;
  expect(writes).toBeLessThan(70);
  expect(pace.may(3_600_000 + 120_000)).toBe(true);
  expect(pace.may(3_600_000 + 121_500)).toBe(true);
});
