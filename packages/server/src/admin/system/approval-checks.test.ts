import { policyText } from "@holdfast/admin";
import { expect, test } from "vitest";
import type { Config } from "../../config/config-table.ts";
import {
  approversNamed,
  newerText,
  policyAfter,
  policyWith,
  signedBy,
} from "../../testing/approvals.ts";
import { systemRecord } from "../../testing/system-records.ts";
import { approvalChecks } from "./approval-checks.ts";

const approvers = approversNamed("alice", "bob", "carol");
const first = policyWith(approvers);

function checks(texts: readonly string[], unread: readonly string[] = []) {
  const all = texts.map((text) =>
    systemRecord("ApprovalPolicy", {
      text,
      signatures: signedBy(text, approvers),
      createdMs: 1,
      createdBy: "operator",
    }),
  );
  const view = {
    all: (kind: string) => (kind === "ApprovalPolicy" ? all : []) as never,
    freshAtMs: undefined,
    unreadDenials: new Set<string>(),
    unreadPolicies: new Set(unread),
  };
  const clocks = { offsets: () => [], doubt: () => undefined, earliestMs: () => 2 };
  return approvalChecks({ view, clocks, config: { node: "a1" } as Config });
}

test("a policy that is damaged, or of a newer version, is a failure that says what to do", () => {
  const text = policyText(first);
  expect(checks([text])).not.toContainEqual(expect.objectContaining({ state: "failed" }));
  expect(checks([text], ["id"])).toMatchObject([
    { state: "failed", mend: expect.stringContaining("A damaged policy") },
  ]);
  expect(checks([text, newerText(policyAfter(first, { approvals: 3 }))])).toMatchObject([
    {
      state: "failed",
      detail: expect.stringContaining("node a1 cannot read a version of the approval policy"),
      mend: expect.stringContaining("A policy of a newer version"),
    },
  ]);
});
