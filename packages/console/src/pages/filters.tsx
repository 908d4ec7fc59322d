import { useSignal } from "@preact/signals";
import { useLayoutEffect } from "preact/hooks";
import type { Schema } from "../base/contract.ts";
import { go, link } from "../base/router.ts";
import { words } from "../base/text.ts";
import type { Suggestions } from "./extras/suggestions.ts";

/** The fields of a query that filter its list. */
function filtersOf(schema: Schema | undefined): readonly (readonly [string, Schema])[] {
  return Object.entries(schema?.properties ?? {}).filter(
    ([name]) => name !== "cursor" && name !== "limit",
  );
}

/** Whether the address filters the list of an operation with this query. */
export function isFiltered(
  schema: Schema | undefined,
  query: Readonly<Record<string, string>>,
): boolean {
  return filtersOf(schema).some(([name]) => (query[name] ?? "") !== "");
}

/** Filters of a list, as the operation's query has them; the address keeps them. */
export function Filters({
  schema,
  query,
  path,
  suggestions,
}: {
  schema: Schema | undefined;
  query: Readonly<Record<string, string>>;
  path: string;
  suggestions: Suggestions;
}) {
  const fields = filtersOf(schema);
  if (fields.length === 0) return null;
  return (
    <details class="filters" open={Object.keys(query).length > 0}>
      <summary>Filters</summary>
      <div class="fields">
        {fields.map(([name, field]) => (
          <Filter
            key={name}
            name={name}
            schema={field}
            value={query[name] ?? ""}
            suggested={suggestions[name] ?? []}
            set={(value) => go(link(path, {}, { ...query, [name]: value }))}
          />
        ))}
      </div>
    </details>
  );
}

function Filter({
  name,
  schema: { enum: choices, format, description },
  value,
  suggested,
  set,
}: {
  name: string;
  schema: Schema;
  value: string;
  suggested: Suggestions[string];
  set: (value: string) => void;
}) {
  const id = `filter-${name}`;
  const isTime = format === "date-time";
  const timeOf = (text: string) => (text === "" ? "" : `${text.padEnd(19, ":00")}Z`);
  const shown = isTime ? value.slice(0, 19) : value;
  // What is typed stays as it is, although the page is shown anew with every live event.
  const typed = useSignal(shown);
  useLayoutEffect(() => {
    typed.value = shown;
  }, [shown]);
  return (
    <div>
      <label for={id}>{isTime ? `${words(name)} (UTC)` : words(name)}</label>
      {choices === undefined ? (
        <input
          id={id}
          class="clr-input"
          list={suggested.length === 0 ? undefined : `${id}-list`}
          aria-describedby={description === undefined ? undefined : `${id}-help`}
          // Preact's types know one kind of input at a time.
          type={(isTime ? "datetime-local" : "text") as "text"}
          value={typed.value}
          onInput={(event) => {
            typed.value = event.currentTarget.value;
          }}
          onChange={(event) => {
            const text = event.currentTarget.value;
            set(isTime ? timeOf(text) : text);
          }}
        />
      ) : (
        <select
          id={id}
          class="clr-select"
          value={value}
          onChange={(event) => set(event.currentTarget.value)}
        >
          <option value="">any</option>
          {choices.map((each) => (
            <option key={each}>{each}</option>
          ))}
        </select>
      )}
      {suggested.length === 0 ? null : (
        <datalist id={`${id}-list`}>
          {suggested.map(([text, label]) => (
            <option key={text} value={text} label={label} />
          ))}
        </datalist>
      )}
      {description === undefined ? null : (
        <span class="clr-subtext" id={`${id}-help`}>
          {description}
        </span>
      )}
    </div>
  );
}
