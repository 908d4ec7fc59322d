/** Spaces between two columns. */
export const gap = 2;
/** A column of text is never made narrower than this; it is left out instead. */
const narrowest = 12;

/** The width of a column's widest cell, and whether the column must stay whole. */
export interface Wish {
  readonly width: number;
  readonly whole: boolean;
}

/**
 * The widths of the columns that fit into a line; the most important column comes first. The widest
 * text is cut first; if that is not enough, columns are left out from the end.
 */
export function fitted(wishes: readonly Wish[], room: number): readonly number[] {
  const least = ({ width, whole }: Wish) => (whole ? width : Math.min(width, narrowest));
  let shown = wishes;
  while (shown.length > 1 && total(shown.map(least)) > room) shown = shown.slice(0, -1);
  const widths = shown.map(({ width }) => width);
  for (let over = total(widths) - room; over > 0; over -= 1) {
    const spare = widths.map((width, at) => {
      const wish = shown[at];
      return wish !== undefined && width > least(wish) ? width : 0;
    });
    const widest = Math.max(...spare);
    if (widest === 0) break;
    const at = spare.lastIndexOf(widest);
    widths[at] = widest - 1;
  }
  return widths;
}

/** Whether all columns fit into a line without being cut. */
export function fits(wishes: readonly Wish[], room: number): boolean {
  return total(wishes.map(({ width }) => width)) <= room;
}

/** How wide a line of columns is. */
function total(widths: readonly number[]): number {
  return widths.reduce((sum, width) => sum + width, 0) + gap * Math.max(0, widths.length - 1);
}

const ascii = /^[\x20-\x7e]*$/;
const twice =
  /^[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Emoji_Presentation}\u3000-\u303f\uff01-\uff60\uffe0-\uffe6]/u;
const segmenter = new Intl.Segmenter();

/** How many columns of a terminal a text takes: characters of some scripts take two. */
export function widthOf(text: string): number {
  if (ascii.test(text)) return text.length;
  return [...segmenter.segment(text)].reduce((sum, { segment }) => sum + unitWidth(segment), 0);
}

function unitWidth(segment: string): number {
  return twice.test(segment) ? 2 : 1;
}

/** The beginning of a text that takes at most `width` columns; empty if its first character is wider. */
function start(text: string, width: number): string {
  let used = 0;
  for (const { segment, index } of segmenter.segment(text)) {
    used += unitWidth(segment);
    if (used > width) return text.slice(0, index);
  }
  return text;
}

/** A text that takes exactly `width` columns; "…" shows that it was cut. */
export function padded(text: string, width: number): string {
  const own = widthOf(text);
  if (own <= width) return text + " ".repeat(width - own);
  const line = start(text, width - 1);
  return `${line}…${" ".repeat(Math.max(0, width - 1 - widthOf(line)))}`;
}

/** A text as lines of at most `width` columns, broken between words if possible. */
export function wrapped(text: string, width: number): readonly string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    const joined = line === "" ? word : `${line} ${word}`;
    if (widthOf(joined) <= width) {
      line = joined;
      continue;
    }
    if (line !== "") lines.push(line);
    line = word;
    for (let part = start(line, width); part !== "" && part !== line; part = start(line, width)) {
      lines.push(part);
      line = line.slice(part.length);
    }
  }
  return line === "" && lines.length > 0 ? lines : [...lines, line];
}
