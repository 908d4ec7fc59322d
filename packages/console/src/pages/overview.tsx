import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { callAt, nodes } from "../base/api.ts";
import { may } from "../base/may.ts";
import { link } from "../base/router.ts";
import { timeText } from "../base/text.ts";
import { repeat } from "../base/work.ts";
import { Drawing, nameOf, useHeard } from "../parts/drawing.tsx";
import { messageOf, Notice } from "../parts/notices.tsx";
import type { Heard } from "../parts/regions-model.ts";
import { findingsOf, type Look, wellSince } from "./overview-model.ts";

const checkEveryMs = 15_000;

/** Both regions as they are now: what is wrong first, then a drawing of nodes, stores and the line. */
export function Overview() {
  const mayRead = may("readStatus");
  const heard = useHeard(mayRead);
  const looks = useLooks(mayRead);
  useEffect(() => {
    document.title = "Overview – Holdfast";
  }, []);
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
  const sinceMs = wellSince(nodes.value, looks, heard);
  return (
    <>
      <h1>Overview</h1>
      {sinceMs === undefined ? <Wrong looks={looks} heard={heard} /> : <Well sinceMs={sinceMs} />}
      <Drawing heard={heard} />
    </>
  );
}

/** The checks of every node, again and again; nothing where the person may not ask. */
function useLooks(may: boolean): readonly Look[] {
  const looks = useSignal<readonly Look[]>([]);
  useEffect(() => {
    if (!may) return;
    return repeat(checkEveryMs, async () => {
      const ask = async (node: string) => {
        const look = await lookAt(node);
        looks.value = [...looks.peek().filter((one) => one.node !== node), look];
      };
      await Promise.all(nodes.peek().map(ask));
    });
  }, [may]);
  return looks.value;
}

async function lookAt(node: string): Promise<Look> {
  try {
    const { items } = await callAt(node, "runChecks", {});
    return { node, atMs: Date.now(), checks: items };
  } catch (error) {
    return { node, atMs: Date.now(), error: messageOf(error) };
  }
}

/** That nothing is wrong, at how many nodes, and when that was. */
function Well({ sinceMs }: { sinceMs: number }) {
  const { length } = nodes.value;
  return (
    <>
      <Notice tone="success">
        {length === 1
          ? "Every check passed at the one node that was asked. The setting admin.console.nodes names the others."
          : `Every check passed at all ${length} nodes that were asked.`}
      </Notice>
      <p>Last look: {timeText(new Date(sinceMs).toISOString())}</p>
    </>
  );
}

/** What is wrong or not known, the worst first, each with what to do. */
function Wrong({ looks, heard }: { looks: readonly Look[]; heard: readonly Heard[] }) {
  const answers = new Set(heard.flatMap(({ node, status }) => (status === undefined ? [] : node)));
  const findings = findingsOf(looks, nameOf);
  return (
    <section aria-label="What is wrong" aria-live="polite">
      {heard.map(({ node, silent: why }) =>
        why === undefined ? null : (
          <Notice key={node} tone="danger">
            Node {nameOf(node)} does not answer. {why} The runbook's HoldfastNodeGone says what to
            do.
          </Notice>
        ),
      )}
      {heard.map(({ node, refused }) =>
        refused === undefined ? null : (
          <Notice key={node} tone="warning">
            Node {nameOf(node)} refuses to say how it is: {refused}
          </Notice>
        ),
      )}
      {looks.map(({ node, error }) =>
        error === undefined || !answers.has(node) ? null : (
          <Notice key={node} tone="warning">
            What the checks of node {nameOf(node)} find is not known: {error}
          </Notice>
        ),
      )}
      {findings.map(({ name, state, detail, mend, nodes: at }, index) => (
        <Notice key={index} tone={state === "failed" ? "danger" : "warning"}>
          <b>{name}</b> ({at.join(", ")}): {detail}. {sentence(mend)}
        </Notice>
      ))}
      {findings.length === 0 ? null : <a href={link("/checks")}>All checks</a>}
    </section>
  );
}

/** What to do, as a sentence. */
function sentence(text: string): string {
  return text === "" ? "" : `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}
