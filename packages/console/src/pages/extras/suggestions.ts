import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { call } from "../../base/api.ts";
import { regions } from "../../base/known-regions.ts";
import { may } from "../../base/may.ts";
import type { Page } from "../pages.ts";
import { eventActions } from "./event-actions.ts";

type Item = Readonly<Record<string, unknown>>;

/** Values that a filter may have, by its name: the text, and what it means. */
export type Suggestions = Readonly<Record<string, readonly (readonly [string, string])[]>>;

const none: Suggestions = {};

/** What the filters of a page suggest: names that exist, and values that are on the page. */
export function useSuggestions(
  { reads }: Page,
  params: Readonly<Record<string, string>>,
  items: readonly Item[] | undefined,
): Suggestions {
  const read = useSignal<Suggestions>(none);
  const { instance = "" } = params;
  useEffect(() => {
    const ask =
      reads === "listEvents" ? ofEvents() : reads === "listKeys" ? ofKeys(instance) : none;
    // Without suggestions a filter works all the same.
    void Promise.resolve(ask).then(
      (found) => {
        read.value = found;
      },
      () => undefined,
    );
  }, [reads, instance]);
  if (reads === "listKeys") {
    return { ...read.value, type: seen(items, "type"), algorithm: seen(items, "algorithm") };
  }
  if (reads !== "listEvents") return none;
  const who = items?.map((item) => item["initiator"] as Item);
  const targets = items?.map((item) => item["target"] as Item);
  return {
    ...read.value,
    action: eventActions,
    region: regions.value.map((name) => [name, ""] as const),
    initiator: seen(who, "name"),
    target: seen(targets, "name"),
  };
}

async function ofEvents(): Promise<Suggestions> {
  if (!may("listInstances")) return none;
  const { items } = await call("listInstances", { query: { limit: 200 } });
  return { instance: items.map(({ name, id }) => [name, id] as const) };
}

/** The certificates that may have made keys. */
async function ofKeys(instance: string): Promise<Suggestions> {
  const request = { params: { instance }, query: { limit: 200 } };
  const { items } = await call("listCertificates", request);
  return { createdBy: items.map(({ fingerprint, name }) => [fingerprint, name] as const) };
}

/** The values of a field that are on the page. */
function seen(items: readonly Item[] | undefined, field: string): Suggestions[string] {
  const texts = (items ?? []).map((item) => String(item?.[field] ?? ""));
  return [...new Set(texts)].filter((text) => text !== "").map((text) => [text, ""] as const);
}
