import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { call } from "../base/api.ts";
import type { AnswerOf } from "../base/contract.ts";
import { may } from "../base/may.ts";
import { repeat } from "../base/repeat.ts";
import { link } from "../base/router.ts";
import { Drawing, type Heard, nameOf, useHeard } from "../parts/drawing.tsx";
import { Failure, Notice } from "../parts/notices.tsx";

type Check = AnswerOf<"runChecks">["items"][number];

const checkEveryMs = 15_000;

/** Both regions as they are now: what is wrong first, then a drawing of nodes, stores and the line. */
export function Overview() {
  const checks = useSignal<readonly Check[] | undefined>(undefined);
  const error = useSignal<unknown>(undefined);
  const mayRead = may("readStatus");
  const heard = useHeard(mayRead);

  useEffect(() => {
    document.title = "Overview – Holdfast";
    if (!mayRead) return;
    return repeat(checkEveryMs, async () => {
      try {
        checks.value = (await call("runChecks", {})).items;
        error.value = undefined;
      } catch (reason) {
        error.value = reason;
      }
    });
  }, [mayRead]);

  if (!mayRead) {
    return (
      <>
        <h1>Overview</h1>
        <Notice tone="info">
          This token may not read the state of the whole service. The pages in the menu show what it
          may read.
        </Notice>
      </>
    );
  }
  return (
    <>
      <h1>Overview</h1>
      <Wrong checks={checks.value} heard={heard} />
      {error.value === undefined ? null : <Failure error={error.value} />}
      <Drawing heard={heard} />
    </>
  );
}

/** What is wrong, the worst first, each with what to do. */
function Wrong({
  checks,
  heard,
}: {
  checks: readonly Check[] | undefined;
  heard: readonly Heard[];
}) {
  const silent = heard.filter((one) => one.silent !== undefined);
  const found = (checks ?? []).filter(({ state }) => state !== "ok");
  const worst = found.toSorted((one, other) => rank(one) - rank(other));
  if (checks !== undefined && worst.length === 0 && silent.length === 0) {
    return <Notice tone="success">Every check passed, and every node answers.</Notice>;
  }
  return (
    <section aria-label="What is wrong" aria-live="polite">
      {silent.map(({ node, silent: why }) => (
        <Notice key={node} tone="danger">
          Node {nameOf(node)} does not answer. {why} The runbook's HoldfastNodeGone says what to do.
        </Notice>
      ))}
      {worst.map(({ name, state, detail, mend }, at) => (
        <Notice key={at} tone={state === "failed" ? "danger" : "warning"}>
          <b>{name}</b>: {detail}. {sentence(mend)}
        </Notice>
      ))}
      {worst.length === 0 ? null : <a href={link("/checks")}>All checks</a>}
    </section>
  );
}

/** What to do, as a sentence. */
function sentence(text: string): string {
  return text === "" ? "" : `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

function rank({ state }: Check): number {
  return state === "failed" ? 0 : 1;
}
