import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { call } from "../../base/api.ts";
import { link } from "../../base/router.ts";
import { Failure, Loading, Notice } from "../../parts/notices.tsx";
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
  const load = async (cursor?: string) => {
    error.value = undefined;
    const from = cursor === undefined ? {} : { cursor };
    const query = { instance, target: key, limit: eventsMax, ...from };
    try {
      const page = await call<"listEvents">("listEvents", { query });
      items.value = cursor === undefined ? page.items : [...(items.peek() ?? []), ...page.items];
      next.value = page.next;
      missing.value = (page.missing ?? [])
        .map(({ region, reason }) => `The events of region ${region} are missing: ${reason}.`)
        .join(" ");
    } catch (reason) {
      error.value = reason;
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
        <button type="button" class="btn btn-sm" onClick={() => void load(next.value)}>
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
