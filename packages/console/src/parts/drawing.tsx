import { AdminProblem } from "@holdfast/admin/errors";
import { useSignal } from "@preact/signals";
import { Fragment } from "preact";
import { useEffect } from "preact/hooks";
import { callAt, hostOf, nodes } from "../base/api.ts";
import type { AnswerOf } from "../base/contract.ts";
import { repeat } from "../base/work.ts";
import { Loading, messageOf, State } from "./notices.tsx";
import { type Heard, lineOf, regionsOf } from "./regions-model.ts";

/** The last answers of nodes, by their address. */
const known = new Map<string, AnswerOf<"readStatus">>();

/** The name of a node, or its address where it never answered. */
export function nameOf(node: string): string {
  return known.get(node)?.node ?? hostOf(node);
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
  const regions = regionsOf(heard, known);
  return (
    <section class="regions" aria-label="Regions and their nodes">
      {regions.map((region, at) => (
        <Fragment key={region}>
          {at === 0 ? null : <Line between={[regions[at - 1] ?? "", region]} heard={heard} />}
          <Region
            name={region}
            heard={heard.filter(
              ({ node, status }) => (status ?? known.get(node))?.region === region,
            )}
          />
        </Fragment>
      ))}
      <Unknown heard={heard.filter((one) => one.status === undefined && !known.has(one.node))} />
    </section>
  );
}

async function look(node: string): Promise<Heard> {
  try {
    const signal = AbortSignal.timeout(answerMs);
    const status = await callAt(node, "readStatus", {}, { signal });
    known.set(node, status);
    return { node, status };
  } catch (error) {
    const text = messageOf(error);
    return error instanceof AdminProblem ? { node, refused: text } : { node, silent: text };
  }
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
function Line({ between, heard }: { between: readonly [string, string]; heard: readonly Heard[] }) {
  const { state, text, alone } = lineOf(between, heard, known);
  return (
    <div class={`line ${state === "down" ? "cut" : ""}`} role="status">
      <State of={state} />
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
