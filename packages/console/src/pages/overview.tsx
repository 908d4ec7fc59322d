import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { call, callAt, hostOf, nodes, who } from "../base/api.ts";
import { type AnswerOf, mayCall, operations, type Who } from "../base/contract.ts";
import { link } from "../base/router.ts";
import { Failure, Loading, messageOf, Notice, State } from "../parts/notices.tsx";

type Status = AnswerOf<"readStatus">;
type Check = AnswerOf<"runChecks">["items"][number];

/** What a node last said of itself, or why it says nothing. */
interface Heard {
  readonly node: string;
  readonly status?: Status;
  readonly silent?: string;
}

const lookEveryMs = 1500;
const checkEveryMs = 15_000;
/** A node that is silent for this long is shown as gone. */
const answerMs = 2500;

/** Both regions as they are now: what is wrong first, then a drawing of nodes, stores and the line. */
export function Overview() {
  const heard = useSignal<readonly Heard[]>([]);
  const checks = useSignal<readonly Check[] | undefined>(undefined);
  const error = useSignal<unknown>(undefined);
  const may = mayCall(operations.readStatus, who.value as Who);

  useEffect(() => {
    document.title = "Overview – Holdfast";
    if (!may) return;
    return repeat(lookEveryMs, async () => {
      heard.value = await Promise.all(nodes.peek().map(look));
    });
  }, [may]);
  useEffect(() => {
    if (!may) return;
    return repeat(checkEveryMs, async () => {
      try {
        checks.value = (await call("runChecks", {})).items;
        error.value = undefined;
      } catch (reason) {
        error.value = reason;
      }
    });
  }, [may]);

  if (!may) {
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
  const regions = regionsOf(heard.value);
  return (
    <>
      <h1>Overview</h1>
      <Wrong checks={checks.value} heard={heard.value} />
      {error.value === undefined ? null : <Failure error={error.value} />}
      {heard.value.length === 0 ? (
        <Loading />
      ) : (
        <section class="regions" aria-label="Regions and their nodes">
          {regions.map((region, at) => (
            <>
              {at === 0 ? null : <Line between={[regions[at - 1], region]} heard={heard.value} />}
              <Region
                key={region}
                name={region}
                heard={heard.value.filter(({ status }) => status?.region === region)}
              />
            </>
          ))}
          <Silent heard={heard.value} />
        </section>
      )}
    </>
  );
}

/** Runs work now and again and again; returns what ends it. */
function repeat(everyMs: number, work: () => Promise<void>): () => void {
  let timer: ReturnType<typeof setTimeout>;
  let ended = false;
  const turn = async () => {
    await work();
    if (!ended) timer = setTimeout(turn, everyMs);
  };
  void turn();
  return () => {
    ended = true;
    clearTimeout(timer);
  };
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
          Node {hostOf(node)} does not answer. {why} The runbook's HoldfastNodeGone says what to do.
        </Notice>
      ))}
      {worst.map(({ name, state, detail, mend }, at) => (
        <Notice key={at} tone={state === "failed" ? "danger" : "warning"}>
          <b>{name}</b>: {detail}. {mend}
        </Notice>
      ))}
      {worst.length === 0 ? null : <a href={link("/checks")}>All checks</a>}
    </section>
  );
}

function rank({ state }: Check): number {
  return state === "failed" ? 0 : 1;
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
