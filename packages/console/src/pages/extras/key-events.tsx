import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { call } from "../../base/api.ts";
import type { AnswerOf } from "../../base/contract.ts";
import { may } from "../../base/may.ts";
import { link } from "../../base/router.ts";
import { ageText, timeText, valueText } from "../../base/text.ts";
import { Failure, Loading, messageOf, Notice } from "../../parts/notices.tsx";
import { columnOf, Rows } from "../../parts/rows.tsx";
import type { Item, Params } from "../resource-model.ts";
import { useNamed } from "./event-names.ts";

const columns = ["TIME=eventTime", "OUTCOME=outcome", "ACTION=what", "WHO=by", "REGION=region"];
const none: readonly Item[] = [];
const eventsMax = 50;

/** Who did what with a key, by the audit trails of both regions. */
export function KeyEvents({ params }: { params: Params }) {
  const { instance = "", key = "" } = params;
  const items = useSignal<readonly Item[] | undefined>(undefined);
  const next = useSignal<string | undefined>(undefined);
  const missing = useSignal("");
  const error = useSignal<unknown>(undefined);
  const busy = useSignal(false);
  /** Counts readings: only the answer of the newest one is shown. */
  const turns = useRef(0);
  const load = async (cursor?: string) => {
    turns.current += 1;
    const turn = turns.current;
    busy.value = true;
    error.value = undefined;
    const from = cursor === undefined ? {} : { cursor };
    const query = { instance, target: key, limit: eventsMax, ...from };
    try {
      const page = await call<"listEvents">("listEvents", { query });
      if (turn !== turns.current) return;
      items.value = cursor === undefined ? page.items : [...(items.peek() ?? []), ...page.items];
      next.value = page.next;
      missing.value = missingText(page);
    } catch (reason) {
      if (turn === turns.current) error.value = reason;
    } finally {
      if (turn === turns.current) busy.value = false;
    }
  };
  useEffect(() => {
    items.value = undefined;
    void load();
  }, [instance, key]);
  const events = useNamed(items.value ?? none);
  return (
    <details open class="key-events">
      <summary>Events of this key in both regions</summary>
      {error.value === undefined ? null : <Failure error={error.value} again={() => void load()} />}
      {missing.value === "" ? null : <Notice tone="warning">{missing.value}</Notice>}
      {items.value === undefined && error.value === undefined ? <Loading /> : null}
      {items.value?.length === 0 && next.value === undefined ? (
        <p>The trails have no event of this key any more.</p>
      ) : null}
      {events.length === 0 ? null : (
        <Rows items={events} columns={columns.map(columnOf)} href={() => undefined} />
      )}
      {next.value === undefined ? null : (
        <button
          type="button"
          class="btn btn-sm"
          disabled={busy.value}
          onClick={() => void load(next.value)}
        >
          Earlier events
        </button>
      )}
      <p>
        <a class="btn btn-sm btn-link" href={link("/events", {}, { instance, target: key })}>
          Follow the events of this key
        </a>
      </p>
    </details>
  );
}

function missingText({ missing = [] }: AnswerOf<"listEvents">): string {
  return missing
    .map(({ region, reason }) => `The events of region ${region} are missing: ${reason}.`)
    .join(" ");
}

/** What a revoked or destroyed key means for who uses it, and who fetched it last. */
export function KeyUse({
  params,
  item,
  isRevocation,
}: {
  params: Params;
  item: Item;
  isRevocation: boolean;
}) {
  const madeFor = ["xName", "names", "xIdentifier"].map((name) => valueText(item[name]));
  const [name] = madeFor.filter((text) => text !== "");
  return (
    <Notice tone="warning">
      <p>
        {isRevocation
          ? "This cannot be undone: a revoked key never becomes Active again. vSphere refuses it: a host that has it in memory continues, and after that host's restart the machine does not start."
          : "Clients cannot fetch a destroyed key: what it encrypts cannot be read, unless the key is restored within the delay of the instance."}
      </p>
      {name === undefined ? null : (
        <p>
          It was made for <b class="text">{name}</b>.
        </p>
      )}
      {may("listEvents") ? <LastFetch params={params} /> : null}
    </Notice>
  );
}

/** Who fetched a key last, by the audit trails of both regions. */
function LastFetch({ params: { instance = "", key = "" } }: { params: Params }) {
  const items = useSignal<readonly Item[]>(none);
  const rest = useSignal("");
  useEffect(() => {
    const which = { instance, target: key, action: "kmip-key.read", outcome: "success" } as const;
    void call<"listEvents">("listEvents", { query: { ...which, limit: 1 } }).then(
      (page) => {
        items.value = page.items;
        const trails = page.next === undefined ? "The trails have" : "The newest events have";
        const none = `${trails} no fetch of it; hosts keep keys in memory. `;
        rest.value = `${page.items.length === 0 ? none : ""}${missingText(page)}`;
      },
      (reason: unknown) => {
        rest.value = `Who fetched it last is not known. ${messageOf(reason)}`;
      },
    );
  }, [instance, key]);
  const [last] = useNamed(items.value);
  const time = String(last?.["eventTime"]);
  return (
    <p class="text" data-fetched>
      {last === undefined
        ? ""
        : `Fetched last ${ageText(time, Date.now())}, ${timeText(time)}, by ${last["by"]}. `}
      {rest.value}
    </p>
  );
}
