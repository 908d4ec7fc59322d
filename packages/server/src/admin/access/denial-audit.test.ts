import type { Principal } from "@holdfast/admin";
import type { AuditEvent } from "@holdfast/engine";
import { expect, test } from "vitest";
import { type Denial, DenialAudit } from "./denial-audit.ts";

test("callers without a token can neither fill the audit trail nor hide the denials of a known caller", async () => {
  let nowMs = 0;
  const events: AuditEvent[] = [];
  const clock = { wallMs: () => nowMs, monotonicMs: () => nowMs };
  const append = async (event: AuditEvent) => void events.push(event);
  const { note } = new DenialAudit({ append, observe: () => undefined, clock });
  const about = { operation: "listTokens", remote: "192.0.2.1", requestId: "r" };
  const stranger: Denial = { ...about, reason: "unknown", principal: undefined };
  for (let second = 0; second < 60; second += 1, nowMs += 1_000) {
    for (let at = 0; at < 50; at += 1) note(stranger);
  }
  expect(events.length).toBeLessThanOrEqual(160);
  const principal: Principal = {
    ...{ id: "t", name: "ops", roles: ["viewer"], instances: undefined, remote: "192.0.2.2" },
  };
  for (let at = 0; at < 50; at += 1) note(stranger);
  note({ ...about, reason: "role", principal });
  expect(events.at(-1)).toMatchObject({
    initiator: "ops",
    detail: { why: "role", leftOut: expect.toSatisfy((count) => count >= 40) },
  });
});
