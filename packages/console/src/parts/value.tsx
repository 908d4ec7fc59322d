import { signal } from "@preact/signals";
import { ageText, isTime, timeText, valueText, words } from "../base/text.ts";
import { State } from "./notices.tsx";

type Item = Readonly<Record<string, unknown>>;

/** Names of fields whose values are states. */
const stateFields = /^(state|status|outcome|expiry|severity)$/;

/** One value on a line: a state as a label, a time with its age. */
export function Cell({ value, name }: { value: unknown; name: string }) {
  if (isNothing(value)) return <span class="none">none</span>;
  if (stateFields.test(name) && typeof value === "string") return <State of={value} />;
  if (isTime(value)) return <Time of={value} />;
  return <span class="text">{valueText(value)}</span>;
}

function isNothing(value: unknown): boolean {
  if (typeof value === "object" && value !== null) return Object.keys(value).length === 0;
  return value === undefined || value === null || value === "";
}

/** One value in full: a list or an object as a table of its own. */
function Value({ value, name }: { value: unknown; name: string }) {
  if (typeof value === "string" && value.includes("\n")) return <pre class="block">{value}</pre>;
  if (isNothing(value) || typeof value !== "object") return <Cell value={value} name={name} />;
  if (!Array.isArray(value)) return <Fields of={value as Item} name={name} />;
  const isPlain = value.every((each) => typeof each !== "object");
  return isPlain ? <Cell value={value} name={name} /> : <Items of={value} />;
}

/** When ages were shown last, milliseconds since the epoch: with a new value they are shown anew. */
export const agesMs = signal(Date.now());

/** A point in time: how long ago it was, and when. */
function Time({ of }: { of: string }) {
  return (
    <time dateTime={of} title={timeText(of)}>
      {ageText(of, Math.max(agesMs.value, Date.now()))} <span class="exact">{timeText(of)}</span>
    </time>
  );
}

/** Names of fields whose values have names of their own: of regions, states, labels. */
const named = /^(regions|keys|states|labels|pending|versions)$/;

/** An object as a table of names and values; with a name it is part of another one. */
export function Fields({ of, name: outer }: { of: Item; name?: string }) {
  const isNamed = outer !== undefined && named.test(outer);
  return (
    <table class={outer === undefined ? "table table-vertical" : "inner"}>
      <tbody>
        {Object.entries(of).map(([name, value]) => (
          <tr key={name}>
            <th scope="row">{isNamed ? name : words(name)}</th>
            <td>
              <Value value={value} name={name} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** A list of objects as a table. */
function Items({ of }: { of: readonly unknown[] }) {
  const items = of as readonly Item[];
  const names = [...new Set(items.flatMap((item) => Object.keys(item)))];
  return (
    <table class="table table-compact">
      <thead>
        <tr>
          {names.map((name) => (
            <th key={name} scope="col">
              {words(name)}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {items.map((item, at) => (
          <tr key={at}>
            {names.map((name) => (
              <td key={name}>
                <Cell value={item[name]} name={name} />
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}
