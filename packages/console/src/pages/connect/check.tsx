import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { nodes } from "../../base/api.ts";
import { may } from "../../base/may.ts";
import { ageText, commonNameOf } from "../../base/text.ts";
import { repeat } from "../../base/work.ts";
import type { Action } from "../../parts/action-model.ts";
import { Loading, State } from "../../parts/notices.tsx";
import {
  isConnected,
  look,
  nodeName,
  type Part,
  partsOf,
  type Refused,
  reachOf,
  type Seen,
} from "./check-model.ts";

const lookEveryMs = 3000;

/** Asks every node, again and again, whether vCenter connects, and says what is missing. */
export function LiveCheck({
  instance,
  begin,
}: {
  instance: string;
  begin: (action: Action) => void;
}) {
  const seen = useSignal<readonly Seen[] | undefined>(undefined);
  const asksRefused = may("listRefused");
  useEffect(
    () =>
      repeat(lookEveryMs, async () => {
        const all = nodes.peek();
        seen.value = await Promise.all(all.map((node) => look(node, instance, asksRefused)));
      }),
    [instance, asksRefused],
  );
  if (seen.value === undefined) return <Loading />;
  const parts = partsOf(seen.value);
  return (
    <section aria-label="Live check">
      <p role="status" class="verdict">
        {verdictOf(parts, seen.value)}
      </p>
      {parts.map((part) => (
        <p key={part.title} data-part={part.title}>
          <State of={part.state} /> <b>{part.title}.</b> <span class="text">{part.text}</span>{" "}
          <span>{part.mend}</span>
        </p>
      ))}
      <Admissions seen={seen.value} instance={instance} begin={begin} />
      {asksRefused ? null : (
        <p>Your token may not read the refused clients: if one is refused, ask an operator why.</p>
      )}
      {seen.value.length > 1 ? null : (
        <p>
          Only this node is asked. The setting admin.console.nodes names the others; vCenter may
          have connected to one of them.
        </p>
      )}
      <Nodes seen={seen.value} />
    </section>
  );
}

/** One sentence that changes only with the state: it is read out. */
function verdictOf(parts: readonly Part[], seen: readonly Seen[]): string {
  const missing = parts.filter(({ state }) => state !== "ok");
  const { connected, others } = reachOf(seen);
  if (missing.length > 0) {
    const what = missing.map(({ title }) => title).join(", ");
    return `Still open: ${what}. This page looks every three seconds.`;
  }
  if (connected.length > 0 && others.length > 0) {
    return `Connected at ${connected.join(", ")} in the last hour, not at ${others.join(", ")}. vCenter uses the addresses in turn: press Refresh there until each node is reached.`;
  }
  return "Connected: vCenter connects, trusts this server, and is trusted, at each node that is asked.";
}

/** Admits a client that was refused, into this instance. */
function Admissions({
  seen,
  instance,
  begin,
}: {
  seen: readonly Seen[];
  instance: string;
  begin: (action: Action) => void;
}) {
  if (!may("adoptCertificate")) return null;
  const refused = new Map<string, Refused>();
  for (const one of seen.flatMap((each) => each.refused))
    if (one.adoptable) refused.set(one.fingerprint, one);
  return (
    <>
      {[...refused.values()].map(({ fingerprint, subject }) => (
        <p key={fingerprint}>
          Is <b class="text">{subject}</b> your vCenter? Compare the fingerprint with vCenter's
          first: <code>{fingerprint}</code>{" "}
          <button
            type="button"
            class="btn btn-sm"
            onClick={() =>
              begin({
                name: "adoptCertificate",
                params: { instance },
                target: instance,
                given: { fingerprint, name: commonNameOf(subject) },
              })
            }
          >
            Admit {commonNameOf(subject)}
          </button>
        </p>
      ))}
    </>
  );
}

/** vCenter uses the addresses in turn, so each node has its own answer. */
function Nodes({ seen }: { seen: readonly Seen[] }) {
  return (
    <details open>
      <summary>Node by node</summary>
      <div class="scrolled">
        <table class="table table-compact">
          <thead>
            <tr>
              <th scope="col">Node</th>
              <th scope="col">Connected in the last hour</th>
              <th scope="col">Last connection</th>
              <th scope="col">Refused since</th>
            </tr>
          </thead>
          <tbody>
            {seen.map((one) => (
              <tr key={`${one.region} ${one.node}`}>
                <td>{nodeName(one)}</td>
                <td>
                  <State of={isConnected(one) ? "ok" : "pending"} />
                </td>
                <td class="text">{one.silent ?? lastOf(one)}</td>
                <td class="text">{refusedText(one)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </details>
  );
}

function lastOf({ by, nowMs }: Seen): string {
  if (by?.lastConnection === undefined) return "none since it started";
  return `${by.name}, ${ageText(by.lastConnection.time, nowMs)}`;
}

const refusedMax = 5;

/** The clients that a node has refused, the newest first. */
function refusedText({ refused, nowMs }: Seen): string {
  if (refused.length === 0) return "nobody";
  const shown = refused.slice(0, refusedMax).map(({ subject, remote, reason, time }) => {
    return `${subject || remote}: ${reason}, ${ageText(time, nowMs)}`;
  });
  const more = refused.length > refusedMax ? [`and ${refused.length - refusedMax} more`] : [];
  return [...shown, ...more].join("; ");
}
