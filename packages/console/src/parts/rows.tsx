import type { ComponentChildren } from "preact";
import { formatted, headingText, valueAt } from "../base/text.ts";
import { Cell } from "./value.tsx";

type Item = Readonly<Record<string, unknown>>;

/** A column of a list: its heading, the path of its value in a row, and how that is shown. */
export interface Column {
  readonly heading: string;
  readonly path: string;
  readonly format?: string | undefined;
}

/** Reads a column of the contract: `HEADING=path|format`. */
export function columnOf(text: string): Column {
  const [heading = "", rest = ""] = text.split("=");
  const [path = "", format] = rest.split("|");
  return { heading, path, format };
}

/** A list as a table; on a narrow screen each row becomes a card. */
export function Rows({
  items,
  columns,
  href,
  actionsOf,
}: {
  items: readonly Item[];
  columns: readonly Column[];
  /** Where a row leads. */
  href: (item: Item) => string | undefined;
  actionsOf?: ((item: Item) => ComponentChildren) | undefined;
}) {
  return (
    <div class="scrolled">
      <table class="table rows">
        <thead>
          <tr>
            {columns.map(({ heading }) => (
              <th key={heading} scope="col">
                {headingText(heading)}
              </th>
            ))}
            {actionsOf === undefined ? null : <th scope="col">Actions</th>}
          </tr>
        </thead>
        <tbody>
          {items.map((item, row) => (
            <tr key={String(item["id"] ?? row)}>
              {columns.map((column, at) => (
                <RowCell
                  key={column.heading}
                  item={item}
                  column={column}
                  href={at === 0 ? href(item) : undefined}
                />
              ))}
              {actionsOf === undefined ? null : <td>{actionsOf(item)}</td>}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function RowCell({
  item,
  column: { heading, path, format },
  href,
}: {
  item: Item;
  column: Column;
  href: string | undefined;
}) {
  const value = <Cell value={formatted(valueAt(item, path), format)} name={path} />;
  return (
    <td data-heading={headingText(heading)}>
      {href === undefined ? value : <a href={href}>{value}</a>}
    </td>
  );
}
