import { useSignal } from "@preact/signals";
import { Fragment } from "preact";
import { useEffect } from "preact/hooks";
import { callAt, hostOf, nodes } from "../base/api.ts";
import type { AnswerOf } from "../base/contract.ts";
import { repeat } from "../base/repeat.ts";
import { Loading, messageOf, State } from "./notices.tsx";

type Status = AnswerOf<"readStatus">;

/** What a node last said of itself, or why it says nothing. */
export interface Heard {
  readonly node: string;
  readonly status?: Status;
  readonly silent?: string;
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
          <Region name={region} heard={heard.filter(({ status }) => status?.region === region)} />
        </Fragment>
      ))}
      <Silent heard={heard} />
    </section>
  );
}

async function look(node: string): Promise<Heard> {
  try {
    const signal = AbortSignal.timeout(answerMs);
    return { node, status: await callAt(node, "readStatus", {}, { signal }) };
  } catch (error) {
    return { node, silent: messageOf(error) };
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
  const states = heard.flatMap(({ status }) => (status === undefined ? [] : [status]));
  return (
    <article class="card region">
      <h2 class="card-header">Region {name}</h2>
      {states.length === 0 ? (
        <div class="card-block">No node of this region answers the console.</div>
      ) : null}
      {states.map((status) => (
        <div key={status.node} class="card-block node">
          <h3>
            {status.node} {status.leader ? <span class="label label-info">leads</span> : null}
          </h3>
          <p>
            <State of={status.writes ? "ok" : "warning"} /> {status.serving}
          </p>
          {status.reason === "" ? null : <p>{status.reason}</p>}
          <p>Root of trust: {status.rootOfTrust}</p>
          {status.closedInstances.map(({ instance, state, reason }) => (
            <p key={instance}>
              <State of="failed" /> {instance}: {state}. {reason}
            </p>
          ))}
        </div>
      ))}
    </article>
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
        : "both regions have everything";
  return (
    <div class={`line ${away.length > 0 ? "cut" : ""}`} role="status">
      <State of={away.length > 0 ? "down" : "up"} />
      <span>{text}</span>
    </div>
  );
}

/** Nodes that do not answer; nobody knows here which region they are of. */
function Silent({ heard }: { heard: readonly Heard[] }) {
  const silent = heard.filter((one) => one.silent !== undefined);
  if (silent.length === 0) return null;
  return (
    <article class="card region">
      <h2 class="card-header">Without an answer</h2>
      {silent.map(({ node, silent: why }) => (
        <div key={node} class="card-block node">
          <h3>{hostOf(node)}</h3>
          <p>
            <State of="down" /> {why}
          </p>
        </div>
      ))}
    </article>
  );
}
