import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { call, nodes } from "../../base/api.ts";
import type { AnswerOf } from "../../base/contract.ts";
import { link } from "../../base/router.ts";
import { ageText, valueText } from "../../base/text.ts";
import { Failure, Loading, Notice } from "../../parts/notices.tsx";
import { look } from "../connect/check-model.ts";

type Keys = AnswerOf<"listKeys">;

/** What is known of an instance before its keys are lost. */
interface Known {
  readonly states: Readonly<Record<string, number>>;
  readonly active: Keys;
  /** When a client connected last, in words; empty if none did. */
  readonly connected: string;
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
  known: { states, active, connected },
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
  if (readable.length === 0) {
    return <Notice tone="success">No key of this instance is readable now.</Notice>;
  }
  const until = isDeletion ? "for ever" : "until a manager revalidates the root of trust";
  return (
    <Notice tone="warning">
      {connected === "" ? null : (
        <p>
          <b>{connected}</b> Something still uses this instance.
        </p>
      )}
      <p>
        What these keys encrypt cannot be read {until}:{" "}
        <b data-lost>{valueText(Object.fromEntries(readable))}</b>.
      </p>
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

async function knownOf(instance: string): Promise<Known> {
  const params = { instance };
  const query = { state: "Active", limit: namedMax } as const;
  const [{ states }, active, ...seen] = await Promise.all([
    call("countKeys", { params }),
    call<"listKeys">("listKeys", { params, query }),
    ...nodes.peek().map((node) => look(node, instance, false, Date.now())),
  ]);
  const [last] = seen
    .flatMap(({ by }) => by?.lastConnection ?? [])
    .toSorted((one, other) => Date.parse(other.time) - Date.parse(one.time));
  const connected =
    last === undefined
      ? ""
      : `A client connected ${ageText(last.time, Date.now())} to ${last.node}.`;
  return { states, active, connected };
}
