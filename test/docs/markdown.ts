/** A table in Markdown; cells are escaped. */
export function table(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map(cell).join(" | ")} |`;
  return [line(heads), `|${" --- |".repeat(heads.length)}`, ...rows.map(line)].join("\n");
}

/** The comment at the top of a generated document, which says how it is made. */
export function madeFrom(source: string): string {
  return `<!-- Made from ${source} by \`npm run docs\`; a test compares them. -->`;
}

/** Text as code, empty when there is none. */
export function code(text: string): string {
  return text === "" ? "" : `\`${text}\``;
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("\n", " ");
}
