import { X509Certificate } from "node:crypto";
import { selfSigned } from "@holdfast/testing/pki";
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { TestAccess, type TestNode } from "../../testing/access.ts";
import { certificateFixed } from "./certificate-values.ts";
import { expiryLevel, expiryOf } from "./expiry.ts";
import { ExpiryDuty } from "./expiry-duty.ts";
import { expiryCounts } from "./metric-certificates.ts";

const dayMs = 86_400_000;
const startMs = Date.UTC(2026, 10, 25);
const context = { epoch: 1, signal: new AbortController().signal, active: () => true };

let nowMs: number;
let world: TestAccess;
let certificate: X509Certificate;

beforeAll(async () => {
  const made = await selfSigned({ commonName: "c", notBeforeMs: startMs - dayMs, days: 400 });
  certificate = new X509Certificate(made.certificate);
});
beforeEach(() => {
  nowMs = startMs;
  world = new TestAccess();
});
afterEach(() => world[Symbol.asyncDispose]());

test.each([
  [46, undefined, "valid"],
  [45, 45, "in45days"],
  [8, 45, "in45days"],
  [7, 7, "in7days"],
  [1, 1, "in1day"],
  [0, 0, "expired"],
  [-5, 0, "expired"],
])("%d days before its end, a certificate has level %s and expiry %s", (days, level, expiry) => {
  const notAfterMs = startMs + days * dayMs;
  expect(expiryLevel(notAfterMs, startMs)).toBe(level);
  expect(expiryOf({ notBeforeMs: 0, notAfterMs }, startMs)).toBe(expiry);
});

function duty({ region }: TestNode, told: string[]): ExpiryDuty {
  return new ExpiryDuty({
    region: region.name,
    others: () => region.commands.others,
    view: region.view,
    records: region.records,
    clock: { wallMs: () => nowMs, monotonicMs: () => nowMs },
    requestId: () => "r",
    observe: (event) => event.type === "warning" && told.push(event.message),
  });
}

async function add(instance: string, name: string, notAfterMs: number): Promise<void> {
  const about = {
    instance,
    kind: "client",
    origin: "added",
    createdMs: 1,
    createdBy: "t",
  } as const;
  const values = { ...certificateFixed(certificate, about), notAfterMs, name };
  await world.regions.a.records.create("Certificate", values, []);
}

describe("a certificate's end", () => {
  test("is reported 45, 7 and 1 days before, and when it has come, each once in the whole system", async () => {
    const instance = await world.instance("kmip-aa");
    await add(instance, "vcenter-1", startMs + 50 * dayMs);
    await add(instance, "soon", startMs + 3 * dayMs);
    await world.see();
    const told: string[] = [];
    const duties = world.nodes.map((node) => duty(node, told));
    for (let hours = 0; hours <= 52 * 24; hours += 6) {
      nowMs = startMs + hours * 3_600_000;
      for (const one of duties) await one.run(context);
      await world.see();
    }
    const of = (name: string) =>
      told
        .filter((line) => line.includes(`certificate ${name} `))
        .map((line) => line.slice(0, 120));
    expect(of("vcenter-1").map((line) => /has ended|within \d+/.exec(line)?.[0])).toEqual([
      "within 45",
      "within 7",
      "within 1",
      "has ended",
    ]);
    expect(of("soon")).toHaveLength(3);
  });

  test("is reported by the second region if the first has not", async () => {
    const instance = await world.instance("kmip-aa");
    await add(instance, "soon", startMs + 3 * dayMs);
    await world.see();
    const told: string[] = [];
    const second = duty(world.b, told);
    expect(await second.run(context)).toEqual({ done: 0, left: 1 });
    nowMs += 600_000;
    expect(await second.run(context)).toEqual({ done: 1, left: 0 });
    expect(told).toHaveLength(1);
  });

  test("is reported once by a leader and another one that takes its place at that moment", async () => {
    const instance = await world.instance("kmip-aa");
    await add(instance, "soon", startMs + 3 * dayMs);
    await world.see();
    const told: string[] = [];
    const leaders = [duty(world.a, told), duty(world.a, told)];
    const results = await Promise.all(leaders.map((one) => one.run(context)));
    expect(results.map(({ done }) => done).toSorted()).toEqual([0, 1]);
    expect(told).toHaveLength(1);
  });
});

test("certificates are counted by kind and by how near their end is", () => {
  const reading = (kind: "client" | "server", notAfterMs: number) => ({
    ...{ kind, owner: "o", subject: "s", fingerprint: "f", notBeforeMs: 0, notAfterMs },
  });
  const far = startMs + 90 * dayMs;
  const counts = expiryCounts(
    [reading("client", far), reading("client", far), reading("server", startMs - 1)],
    startMs,
  );
  expect(counts).toEqual([
    ["client", "valid", 2],
    ["server", "expired", 1],
  ]);
});
