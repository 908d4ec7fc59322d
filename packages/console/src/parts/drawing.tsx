import { AdminProblem } from "@holdfast/admin/errors";
import { useSignal } from "@preact/signals";
import { Fragment } from "preact";
import { useEffect } from "preact/hooks";
import { callAt, hostOf, nodes } from "../base/api.ts";
import type { AnswerOf } from "../base/contract.ts";
import { repeat } from "../base/repeat.ts";
import { Loading, messageOf, State } from "./notices.tsx";

type Status = AnswerOf<"readStatus">;

/** What a node says of itself, or why it says nothing. */
export interface Heard {
  readonly node: string;
  readonly status?: Status;
  /** Why it gave no answer. */
  readonly silent?: string;
  /** Its answer, where it is a refusal. */
  readonly refused?: string;
}

/** Names of nodes, from their last answers: a silent one still has its name and its region. */
const names = new Map<string, { readonly node: string; readonly region: string }>();

/** The name of a node, or its address where it never answered. */
export function nameOf(node: string): string {
  return names.get(node)?.node ?? hostOf(node);
}

const lookEveryMs = 1500;
/** A node that is silent for this long is shown as gone. */
const answerMs = 2500;

/** What every node says of itself, again and again; nothing where the person may not ask. */
export function useHeard(may: boolean): readonly Heard[] {
  const heard = useSignal<readonly Heard[]>([]);
  useEffect(() => {
    if (!may) return;
    return repeat(lookEveryMs, async () => {
      heard.value = await Promise.all(nodes.peek().map(look));
    });
  }, [may]);
  return heard.value;
}

/** Both regions: their nodes, the stores that they serve from, and the line between them. */
export function Drawing({ heard }: { heard: readonly Heard[] }) {
  if (heard.length === 0) return <Loading />;
  const regions = regionsOf(heard);
  return (
    <section class="regions" aria-label="Regions and their nodes">
      {regions.map((region, at) => (
        <Fragment key={region}>
          {at === 0 ? null : <Line between={[regions[at - 1], region]} heard={heard} />}
          <Region
            name={region}
            heard={heard.filter(
              ({ node, status }) => (status ?? names.get(node))?.region === region,
            )}
          />
        </Fragment>
      ))}
      <Unknown heard={heard.filter((one) => one.status === undefined && !names.has(one.node))} />
    </section>
  );
}

async function look(node: string): Promise<Heard> {
  try {
    const signal = AbortSignal.timeout(answerMs);
    const status = await callAt(node, "readStatus", {}, { signal });
    names.set(node, status);
    return { node, status };
  } catch (error) {
    const text = messageOf(error);
    return error instanceof AdminProblem ? { node, refused: text } : { node, silent: text };
  }
}

function regionsOf(heard: readonly Heard[]): readonly string[] {
  const named = heard.flatMap(({ status }) =>
    status === undefined ? [] : [status.region, ...status.peers.map(({ region }) => region)],
  );
  return [...new Set(named)].toSorted();
}

/** A region: its nodes, and which store each serves from. */
function Region({ name, heard }: { name: string; heard: readonly Heard[] }) {
  return (
    <article class="card region">
      <h2 class="card-header">Region {name}</h2>
      {heard.length === 0 ? (
        <div class="card-block">No node of this region answers the console.</div>
      ) : null}
      {heard.map((one) => (
        <Node key={one.node} heard={one} />
      ))}
    </article>
  );
}

function Node({ heard: { node, status, silent, refused } }: { heard: Heard }) {
  const isWell = status?.writes === true && status.serving === "own store";
  return (
    <div class="card-block node">
      <h3>
        {nameOf(node)} {status?.leader ? <span class="label label-info">leads</span> : null}
      </h3>
      {silent === undefined ? null : (
        <p>
          <State of="down" /> {silent}
        </p>
      )}
      {refused === undefined ? null : (
        <p>
          <State of="unknown" /> It answers, but refuses: {refused}
        </p>
      )}
      {status === undefined ? null : (
        <p>
          <State of={isWell ? "ok" : "warning"} /> serves from {status.serving}
        </p>
      )}
      {status === undefined || status.reason === "" ? null : <p>{status.reason}</p>}
      {status === undefined ? null : <p>Root of trust: {status.rootOfTrust}</p>}
      {status?.closedInstances.map(({ instance, state, reason }) => (
        <p key={instance}>
          <State of="failed" /> {instance}: {state}. {reason}
        </p>
      ))}
    </div>
  );
}

/** The line between two regions, as each side sees it. */
function Line({
  between: [one = "", other = ""],
  heard,
}: {
  between: readonly [string | undefined, string | undefined];
  heard: readonly Heard[];
}) {
  const views = heard.flatMap(({ status }) =>
    (status?.peers ?? [])
      .filter(({ region }) => [one, other].includes(region))
      .map((peer) => ({ ...peer, node: status?.node ?? "" })),
  );
  const away = views.filter(({ state }) => state !== "up");
  const behind = Math.max(0, ...views.map((view) => view.behind ?? 0));
  const text =
    away.length > 0
      ? `${away.map(({ node, region }) => `${node} cannot reach ${region}`).join(", ")}. ${away[0]?.reason ?? ""}`
      : behind > 0
        ? `${behind} changes are on their way`
        : "Both regions have everything: if one failed now, nothing would be lost.";
  const alone = [one, other].flatMap((region) => {
    const own = heard.filter(({ status }) => status?.region === region);
    const counts = own.flatMap(({ status }) =>
      (status?.peers ?? []).map((peer) => peer.alone ?? 0),
    );
    const count = counts.reduce((sum, each) => sum + each, 0);
    return count === 0
      ? []
      : [
          `Only region ${region} has ${count} changes: if it failed for good now, they would be lost.`,
        ];
  });
  return (
    <div class={`line ${away.length > 0 ? "cut" : ""}`} role="status">
      <State of={away.length > 0 ? "down" : "up"} />
      <span>{text}</span>
      {alone.map((said) => (
        <strong key={said}>{said}</strong>
      ))}
    </div>
  );
}

/** Nodes that never answered this page: it does not know their regions. */
function Unknown({ heard }: { heard: readonly Heard[] }) {
  if (heard.length === 0) return null;
  return (
    <article class="card region">
      <h2 class="card-header">Without an answer</h2>
      {heard.map((one) => (
        <Node key={one.node} heard={one} />
      ))}
    </article>
  );
}
