import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { Instance } from "../base/find-key.ts";
import { place } from "../base/router.ts";
import { timeText, valueText } from "../base/text.ts";
import { Loading, messageOf, Notice, State } from "../parts/notices.tsx";
import { client, refreshed } from "./client.ts";
import { places } from "./manifest.ts";
import { type ObjectKeys, readObjectKeys, readService, type Service } from "./object-keys.ts";
import { type Locale, localeOf, type Say, sayIn } from "./texts.ts";

/** The page inside the vSphere Client: it shows, and changes nothing. */
export function Plugin() {
  const told = client.value;
  const say = sayIn(told?.locale ?? localeOf(navigator.language));
  return (
    <main class="plugin">
      {told === undefined ? <Loading text={say("loading")} /> : null}
      {told === null ? <Notice tone="warning">{say("outside")}</Notice> : null}
      {told ? <View say={say} {...told} /> : null}
    </main>
  );
}

interface Spoken {
  readonly say: Say;
  readonly locale: Locale;
}

function View({ object, ...spoken }: Spoken & { readonly object: string | undefined }) {
  const { say } = spoken;
  if (object === undefined) {
    return (
      <Loaded say={say} title={say("name")} load={readService}>
        {(service) => <Overview {...spoken} service={service} />}
      </Loaded>
    );
  }
  const isCard = place.value.path === places.summary;
  return (
    <Loaded
      key={object}
      say={say}
      title={isCard ? "" : say("keys")}
      load={() => readObjectKeys(object)}
    >
      {(found) =>
        isCard ? <Card {...spoken} found={found} /> : <List {...spoken} found={found} />
      }
    </Loaded>
  );
}

/** Shows what it loads, or why it could not; again when the person asks the client for it. */
function Loaded<Value>({
  say,
  title,
  load,
  children,
}: {
  say: Say;
  /** The heading while there is nothing else. */
  title: string;
  load: () => Promise<Value>;
  children: (value: Value) => ComponentChildren;
}) {
  const value = useSignal<Value | undefined>(undefined);
  const error = useSignal<unknown>(undefined);
  const loads = useRef(0);
  const again = async () => {
    loads.current += 1;
    const own = loads.current;
    const [found] = await Promise.allSettled([load()]);
    // An answer that comes after that to a later question is an old one.
    if (own !== loads.current) return;
    if (found.status === "fulfilled") value.value = found.value;
    error.value = found.status === "fulfilled" ? undefined : found.reason;
  };
  const turn = refreshed.value;
  useEffect(() => void again(), [turn]);
  if (error.value === undefined && value.value !== undefined) return <>{children(value.value)}</>;
  return (
    <>
      {title === "" ? null : <h1>{title}</h1>}
      {error.value === undefined ? (
        <Loading text={say("loading")} />
      ) : (
        <Notice tone="danger">
          {say("failed")} {messageOf(error.value)}{" "}
          <button type="button" class="btn btn-sm btn-primary" onClick={() => void again()}>
            {say("again")}
          </button>
        </Notice>
      )}
    </>
  );
}

/** The card in the summary of an object. */
function Card({ say, locale, found }: Spoken & { readonly found: ObjectKeys }) {
  const states = found.keys.flatMap(({ held }) => held?.key.state ?? []);
  const [newest] = found.keys
    .flatMap(({ held }) => held?.key.createdAt ?? [])
    .toSorted()
    .toReversed();
  return (
    <>
      <Unread say={say} found={found} />
      {found.keys.length === 0 ? <p class="empty">{say("none")}</p> : null}
      {states.length === 0 ? null : (
        <table class="table table-vertical">
          <tbody>
            <tr>
              <th scope="row">{say("number")}</th>
              <td>{states.length}</td>
            </tr>
            <tr>
              <th scope="row">{say("state")}</th>
              <td>
                {[...new Set(states)].map((state) => (
                  <State key={state} of={state} />
                ))}
              </td>
            </tr>
            <tr>
              <th scope="row">{say("made")}</th>
              <td>{newest === undefined ? null : <Age of={newest} locale={locale} />}</td>
            </tr>
            {found.instances.map((instance) => (
              <tr key={instance.id}>
                <th scope="row">{say("instance")}</th>
                <td>
                  <span class="text">{instance.name}</span> <State of={instance.status} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      <Elsewhere say={say} found={found} />
    </>
  );
}

/** The list under Monitor: every key of the object, and the state of the key provider. */
function List({ say, locale, found }: Spoken & { readonly found: ObjectKeys }) {
  const held = found.keys.flatMap((row) =>
    row.held === undefined ? [] : [{ ...row, ...row.held }],
  );
  const headings = (["key", "state", "use", "made", "instance"] as const).map((name) => say(name));
  return (
    <>
      <h1>{say("keysOf", { name: found.name })}</h1>
      <Unread say={say} found={found} />
      {found.keys.length === 0 ? <p class="empty">{say("none")}</p> : null}
      {held.length === 0 ? null : (
        <Table
          headings={headings}
          rows={held.map(({ id, key, instance, uses }) => [
            <code key="key">{id}</code>,
            <State key="state" of={key.state} />,
            uses.length === 0 ? say("unused") : usesText(uses, say),
            key.createdAt === undefined ? (
              ""
            ) : (
              <Age key="made" of={key.createdAt} locale={locale} />
            ),
            <span key="instance" class="text">
              {instance.name}
            </span>,
          ])}
        />
      )}
      <Elsewhere say={say} found={found} />
      {found.instances.length === 0 ? null : (
        <>
          <h2>{say("instances")}</h2>
          <Instances say={say} instances={found.instances} />
        </>
      )}
      <p>{say("changes")}</p>
    </>
  );
}

/** The page of no object: the instances, and what the node sees of the regions. */
function Overview({ say, service }: Spoken & { readonly service: Service }) {
  const { instances, status } = service;
  return (
    <>
      <h1>{say("name")}</h1>
      {status === undefined ? null : (
        <p>
          {say("node", { node: status.node, region: status.region, serving: status.serving })}{" "}
          {status.peers.map(({ region, state }) => (
            <State
              key={region}
              of={state === "up" ? "up" : "down"}
              text={say(state === "up" ? "up" : "down", { region })}
            />
          ))}
        </p>
      )}
      <h2>{say("instances")}</h2>
      {instances.length === 0 ? <p class="empty">{say("noInstances")}</p> : null}
      {instances.length === 0 ? null : <Instances say={say} instances={instances} />}
      <p>{say("changes")}</p>
    </>
  );
}

/** Instances, which are key providers to vCenter, and their state in each region. */
function Instances({ say, instances }: { say: Say; instances: readonly Instance[] }) {
  return (
    <Table
      headings={[say("instance"), say("state"), say("regions"), say("number")]}
      rows={instances.map(({ name, status, reason, regions, keys }) => [
        <span key="name" class="text">
          {name}
        </span>,
        <span key="state">
          <State of={status} /> {reason}
        </span>,
        valueText(regions),
        valueText(keys),
      ])}
    />
  );
}

/** Keys that vCenter uses, and that Holdfast does not have: of another key provider, or of another's instance. */
function Elsewhere({ say, found }: { say: Say; found: ObjectKeys }) {
  const rows = found.keys.filter(({ held }) => held === undefined);
  if (rows.length === 0) return null;
  return (
    <Notice tone="warning">
      <ul class="list-unstyled">
        {rows.map(({ id, uses }) => (
          <li key={id}>
            <code>{id}</code> ({usesText(uses, say)}):{" "}
            {say("elsewhere", { provider: uses[0]?.provider || say("unnamed") })}
          </li>
        ))}
      </ul>
    </Notice>
  );
}

function Unread({ say, found }: { say: Say; found: ObjectKeys }) {
  if (found.unread.length === 0) return null;
  return <Notice tone="warning">{say("unread", { what: found.unread.join(", ") })}</Notice>;
}

/** A table; on a narrow screen each row becomes a card. */
function Table({
  headings,
  rows,
}: {
  headings: readonly string[];
  rows: readonly (readonly ComponentChildren[])[];
}) {
  return (
    <div class="scrolled">
      <table class="table rows">
        <thead>
          <tr>
            {headings.map((heading) => (
              <th key={heading} scope="col">
                {heading}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((cells, row) => (
            <tr key={row}>
              {cells.map((cell, at) => (
                <td key={headings[at]} data-heading={headings[at]}>
                  {cell}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function usesText(uses: ObjectKeys["keys"][number]["uses"], say: Say): string {
  return uses.map(({ use, of }) => (of === "" ? say(use) : `${say(use)}: ${of}`)).join(", ");
}

const units = [
  ["year", 31_536_000],
  ["month", 2_592_000],
  ["day", 86_400],
  ["hour", 3600],
  ["minute", 60],
] as const;

/** How long ago a time is, in the client's language, and when it was. */
function Age({ of, locale }: { of: string; locale: Locale }) {
  const seconds = Math.round((Date.now() - Date.parse(of)) / 1000);
  const [unit, size] = units.find(([, each]) => seconds >= each) ?? (["second", 1] as const);
  const format = new Intl.RelativeTimeFormat(locale, { numeric: "auto" });
  return (
    <time dateTime={of} title={timeText(of)}>
      {format.format(-Math.floor(seconds / size), unit)}
    </time>
  );
}
