import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { callAt, hostOf, nodes } from "../../base/api.ts";
import type { AnswerOf } from "../../base/contract.ts";
import { may } from "../../base/may.ts";
import { timeText } from "../../base/text.ts";
import { repeat, useAttempt } from "../../base/work.ts";
import { Copied } from "../../parts/copy.tsx";
import { messageOf, Notice, type Tone } from "../../parts/notices.tsx";

/** A check of a region's trail, and the node that makes it. */
interface Check {
  readonly at: string;
  readonly says: AnswerOf<"readAuditCheck">;
}

const lookEveryMs = 1000;

/** Checks the trail of each region at one of its nodes. The nodes remember their last check: a reload loses nothing. */
export function Verify() {
  const checks = useSignal<readonly Check[]>([]);
  /** Nodes that gave no answer, or refused: the trail of their region may be missing here. */
  const refused = useSignal<readonly string[]>([]);
  /** Why checks did not begin. */
  const faults = useSignal<readonly string[]>([]);
  const mayCheck = may("startAuditCheck");
  const runs = checks.value.some(({ says }) => says.state === "running");
  const look = async () => {
    const heard = await checksAt(nodes.value);
    checks.value = heard.checks;
    refused.value = heard.refused;
  };
  useEffect(() => {
    if (mayCheck) void look();
  }, [mayCheck]);
  useEffect(() => (runs ? repeat(lookEveryMs, look) : undefined), [runs]);
  // One at a time: a later click could be answered sooner, and what it says would be lost.
  const start = useAttempt(async () => {
    const known = await checksAt(nodes.value);
    const begun = await Promise.allSettled(
      known.checks.map(({ at }) => callAt(at, "startAuditCheck", {})),
    );
    faults.value = begun.flatMap((one, at) =>
      one.status === "rejected"
        ? [
            `The check of region ${known.checks[at]?.says.region} did not begin, and an earlier result stays: ${messageOf(one.reason)}`,
          ]
        : [],
    );
    await look();
  });
  return (
    <section aria-label="Verify the trail">
      {mayCheck ? (
        <button
          type="button"
          class="btn btn-sm"
          disabled={runs || start.busy.value}
          onClick={() => void start.run()}
        >
          Verify the trail
        </button>
      ) : null}
      {refused.value.length === 0 ? null : (
        <Notice tone="info">
          {refused.value.join(" and ")} gave no answer, or refused. If a region is missing here, ask
          again, or sign in at one of its nodes.
        </Notice>
      )}
      {faults.value.map((fault) => (
        <Notice key={fault} tone="danger">
          {fault}
        </Notice>
      ))}
      {checks.value.map(({ at, says }) => (
        <Verdict key={at} check={says} />
      ))}
      <details>
        <summary>Verify at a node</summary>
        <p>
          A node that lies here would say that all is well. The command reads the store itself, at a
          node that you trust, and prints a line for each fault. With --file it also checks what a
          receiver has. An export has no proof of its own; docs/audit.md says what has.
        </p>
        <Copied text="holdfast audit verify --config FILE" what="the command" block />
      </details>
    </section>
  );
}

/** What one node of each region says: the one whose check runs, or whose check is the newest. */
async function checksAt(
  all: readonly string[],
): Promise<{ readonly checks: readonly Check[]; readonly refused: readonly string[] }> {
  const asked = await Promise.allSettled(
    all.map(async (at) => ({ at, says: await callAt(at, "readAuditCheck", {}) })),
  );
  const best = new Map<string, Check>();
  const refused: string[] = [];
  for (const [at, answer] of asked.entries()) {
    if (answer.status === "rejected") {
      refused.push(hostOf(all[at] ?? ""));
      continue;
    }
    const { says } = answer.value;
    const known = best.get(says.region);
    if (known === undefined || (says.startedAt ?? "") > (known.says.startedAt ?? "")) {
      best.set(says.region, answer.value);
    }
  }
  const checks = [...best.values()].toSorted((one, other) =>
    one.says.region < other.says.region ? -1 : 1,
  );
  return { checks, refused };
}

const tones: Readonly<Record<string, Tone>> = {
  whole: "success",
  faulty: "danger",
  failed: "warning",
};

/** The result in words. */
function Verdict({ check }: { check: Check["says"] }) {
  const { region, node, state, entries, of, findings, notes, endedAt = "" } = check;
  const count = entries.toLocaleString("en");
  if (state === "none") return null;
  if (state === "running") {
    return (
      <p role="status">
        Node {node} checks the trail of region {region}.{" "}
        <progress value={entries} max={Math.max(of, 1)} aria-label={`Entries of region ${region}`}>
          {count}
        </progress>{" "}
        {count} of {of.toLocaleString("en")} entries
      </p>
    );
  }
  const sentences: Readonly<Record<string, string>> = {
    whole: `The trail of region ${region} is whole: ${count} entries. ${openText(check)}`,
    faulty: `The trail of region ${region} is not what was written: ${findings.length} faults in ${count} entries. HoldfastAuditFault in the runbook says what to do.`,
    failed: `The trail of region ${region} could not be checked: ${check.reason ?? ""}.`,
  };
  return (
    <>
      <Notice tone={tones[state] ?? "info"}>
        {sentences[state]} Checked by node {node}, {timeText(endedAt)}.
      </Notice>
      <Lines of={findings} />
      {notes.length === 0 ? null : (
        <details>
          <summary>Notes of region {region}, which are no faults</summary>
          <Lines of={notes} />
        </details>
      )}
    </>
  );
}

/** What a check cannot find yet. */
function openText({ unchained = 0, unwitnessed }: Check["says"]): string {
  const chained =
    unchained === 0
      ? "All of them are chained"
      : `${unchained.toLocaleString("en")} of them are not chained yet, so a change of these would not be found`;
  if (unwitnessed === undefined) return `${chained}.`;
  return `${chained}; ${unwitnessed.toLocaleString("en")} are not cosigned by a witness yet.`;
}

function Lines({ of }: { of: readonly string[] }) {
  if (of.length === 0) return null;
  return (
    <ul>
      {of.map((line) => (
        <li key={line}>{line}</li>
      ))}
    </ul>
  );
}
