import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { call, nodes } from "../../base/api.ts";
import type { AnswerOf } from "../../base/contract.ts";
import { link } from "../../base/router.ts";
import { ageText, valueText } from "../../base/text.ts";
import { Failure, Loading, Notice } from "../../parts/notices.tsx";
import { connectedMs, look, nodeName, type Seen } from "../connect/check-model.ts";

type Keys = AnswerOf<"listKeys">;

/** What is known of an instance before its keys are lost. */
interface Known {
  readonly states: Readonly<Record<string, number>>;
  readonly active: Keys;
  /** Destroyed keys that can be restored. */
  readonly restorable: Keys;
  /** What each node has seen of its clients since it started. */
  readonly seen: readonly Seen[];
}

const namedMax = 50;

/** What becomes unreadable, and the order of steps in which a mistake can still be noticed. */
export function Loss({ instance, isDeletion }: { instance: string; isDeletion: boolean }) {
  const known = useSignal<Known | undefined>(undefined);
  const error = useSignal<unknown>(undefined);
  const load = async () => {
    error.value = undefined;
    try {
      known.value = await knownOf(instance);
    } catch (reason) {
      error.value = reason;
    }
  };
  useEffect(() => void load(), [instance]);
  return (
    <section aria-label="What becomes unreadable" class="loss">
      {isDeletion ? <SafeOrder instance={instance} /> : null}
      {error.value === undefined ? null : <Failure error={error.value} again={() => void load()} />}
      {known.value === undefined ? (
        error.value === undefined ? (
          <Loading />
        ) : null
      ) : (
        <Lost known={known.value} isDeletion={isDeletion} />
      )}
    </section>
  );
}

/** Each step can be taken back, but for the last one. */
function SafeOrder({ instance }: { instance: string }) {
  const to = (path: string) => link(`/instances/{instance}${path}`, { instance });
  return (
    <>
      <p>In this order, nothing is lost by mistake:</p>
      <ol>
        <li>
          In every vCenter, re-key what uses this provider to another one (docs/re-keying.md).
        </li>
        <li>
          <a href={to("/keys")}>Find unused keys</a> with the list of the keys in use: every key
          must be unused.
        </li>
        <li>Make a backup and verify it: it is the only way back.</li>
        <li>
          <a href={to("/certificates")}>Delete the certificates</a>: clients lose their access and
          no key is lost. Wait, and see whether something misses its key.
        </li>
        <li>Delete the instance here.</li>
      </ol>
    </>
  );
}

function Lost({
  known: { states, active, restorable, seen },
  isDeletion,
}: {
  known: Known;
  isDeletion: boolean;
}) {
  const readable = Object.entries(states).filter(
    ([state, count]) => count > 0 && !state.startsWith("Destroyed"),
  );
  const names = active.items.map(({ xName, names: [name], xIdentifier, id }) => {
    return xName ?? name ?? xIdentifier ?? id;
  });
  const until = isDeletion ? "for ever" : "until a manager revalidates the root of trust";
  const mayRestore = restorable.items.length > 0 || restorable.next !== undefined;
  const isQuiet = seen.every(({ silent, by }) => silent === undefined && by === undefined);
  const isSafe = readable.length === 0 && !mayRestore && isQuiet;
  return (
    <Notice tone={isSafe ? "success" : "warning"}>
      <Uses seen={seen} />
      {readable.length === 0 ? (
        <p>No key of this instance is readable now.</p>
      ) : (
        <p>
          What these keys encrypt cannot be read {until}:{" "}
          <b data-lost>{valueText(Object.fromEntries(readable))}</b>.
        </p>
      )}
      {mayRestore ? (
        <p data-restorable>
          Destroyed keys that can still be restored: {countText(restorable)}. They cannot be
          restored {isDeletion ? "after this" : until}.
        </p>
      ) : null}
      {names.length === 0 ? null : (
        <details>
          <summary>Active keys, by the names that vCenter gave them</summary>
          <ul>
            {names.map((name) => (
              <li key={name} class="text">
                {name}
              </li>
            ))}
          </ul>
          {active.next === undefined ? null : <p>And more: the page Keys has all of them.</p>}
        </details>
      )}
    </Notice>
  );
}

/** How many a page has; a page may be short although more follow. */
function countText({ items, next }: Keys): string {
  return next === undefined ? String(items.length) : `${items.length} or more`;
}

/** Whether clients still use the instance, as far as the nodes say it. */
function Uses({ seen }: { seen: readonly Seen[] }) {
  const [last] = seen
    .filter(({ by }) => by?.lastConnection !== undefined)
    .toSorted((one, other) => connectedMs(one) - connectedMs(other));
  const at = last?.by?.lastConnection;
  const silent = seen.filter((one) => one.silent !== undefined).map(nodeName);
  const none = seen.filter((one) => one.silent === undefined && one.by === undefined).map(nodeName);
  return (
    <>
      {last === undefined || at === undefined ? null : (
        <p>
          <b>
            A client connected {ageText(at.time, last.nowMs)} to {at.node}.
          </b>{" "}
          Something still uses this instance.
        </p>
      )}
      {none.length === 0 ? null : (
        <p data-unused>
          No client has connected to {none.join(", ")} since the node started; it does not know what
          was before.
        </p>
      )}
      {silent.length === 0 ? null : (
        <p data-silent>
          <b>No answer from {silent.join(", ")}:</b> clients may use this instance there.
        </p>
      )}
    </>
  );
}

async function knownOf(instance: string): Promise<Known> {
  const params = { instance };
  const query = { state: "Active", limit: namedMax } as const;
  const [{ states }, active, restorable, ...seen] = await Promise.all([
    call("countKeys", { params }),
    call<"listKeys">("listKeys", { params, query }),
    call<"listKeys">("listKeys", { params, query: { restorable: "true", limit: namedMax } }),
    ...nodes.peek().map((node) => look(node, instance, false)),
  ]);
  return { states, active, restorable, seen };
}
