import { beforeEach, describe, expect, test, vi } from "vitest";
import { isConnected, look, partsOf, type Refused, reachOf, type Seen } from "./check-model.ts";

const service = vi.hoisted(() => ({
  answers: {} as Record<string, unknown>,
  nowMs: 0,
}));
vi.mock("../../base/api.ts", () => ({
  callAt: (_: string, name: string) => Promise.resolve(service.answers[name]),
  timeAt: () => service.nowMs,
}));

const nowMs = Date.parse("2026-11-30T12:00:00.000Z");
const minuteMs = 60_000;
const at = (agoMs: number) => new Date(nowMs - agoMs).toISOString();

function refusal(more: Partial<Refused>): Refused {
  return {
    ...{ time: at(minuteMs), region: "a", node: "a1", remote: "10.0.0.9 port 1", times: 1 },
    ...{ reason: "unknownCertificate", advice: "Adopt it.", fingerprint: "f", adoptable: true },
    ...{ subject: "CN=vcenter", ...more },
  };
}

const health = refusal({ reason: "noCertificate", subject: "", fingerprint: "", adoptable: false });

/** What a node has seen: a connection so long ago, and refusals. */
function seen(node: string, agoMs?: number, refused: readonly Refused[] = []): Seen {
  const by = { name: "vcenter-1", subject: "CN=vcenter" };
  const lastConnection = { region: "a", node, time: at(agoMs ?? 0) };
  return {
    ...{ node, region: "a", nowMs, refused },
    ...(agoMs !== undefined && { by: { ...by, lastConnection } as unknown as Seen["by"] & object }),
  };
}

const states = (all: readonly Seen[]) => partsOf(all).map(({ state }) => state);

describe("what a node has seen", () => {
  beforeEach(() => {
    service.nowMs = nowMs;
    service.answers = {
      whoAmI: { node: "a1", region: "a" },
      listCertificates: { items: [] },
      listRefused: { items: [health, refusal({ time: at(2 * minuteMs) })] },
    };
  });

  test("has every refusal of the last hour, so that a health check hides nobody", async () => {
    const { refused } = await look("https://a1.test/", "prod", true);
    expect(refused.map(({ subject }) => subject)).toEqual(["", "CN=vcenter"]);
  });

  test("is dated by the clock of the node", async () => {
    service.nowMs = nowMs + 2 * 3_600_000;
    expect((await look("https://a1.test/", "prod", true)).refused).toEqual([]);
    service.nowMs = nowMs;
    const lastConnection = { region: "a", node: "a1", time: at(90_000) };
    service.answers["listCertificates"] = { items: [{ name: "vcenter-1", lastConnection }] };
    const found = await look("https://a1.test/", "prod", true);
    expect(isConnected(found)).toBe(true);
    // Only what was refused after a client was admitted.
    expect(found.refused).toEqual([health]);
  });
});

describe("what is missing", () => {
  test("names vCenter's refusal, although a client without a certificate was refused later", () => {
    const older = refusal({ time: at(5 * minuteMs) });
    const parts = partsOf([seen("a1", undefined, [health, older])]);
    expect(parts[2]).toMatchObject({ state: "failed", mend: "Adopt it." });
    expect(parts[2]?.text).toContain("CN=vcenter");
  });

  test("is the connection, if the last one was long ago", () => {
    expect(states([seen("a1", minuteMs), seen("b1")])).toEqual(["ok", "ok", "ok"]);
    const parts = partsOf([seen("a1", 48 * 60 * minuteMs), seen("b1")]);
    expect(parts[0]).toMatchObject({ state: "pending" });
    expect(parts[0]?.text).toContain("2 days ago");
  });
});

test("tells the nodes that a client has reached from the others", () => {
  const silent: Seen = { node: "b2", refused: [], nowMs, silent: "No answer." };
  const all = [seen("a1", minuteMs), seen("a2", 48 * 60 * minuteMs), seen("b1"), silent];
  expect(reachOf(all)).toEqual({
    connected: ["a1 (region a)"],
    others: ["a2 (region a)", "b1 (region a)", "b2"],
  });
});
