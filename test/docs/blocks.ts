import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "..", "..");

/** A fenced block of a page. */
export interface Block {
  readonly page: string;
  /** The line of the opening fence, counted from 1. */
  readonly line: number;
  /** The text after the opening fence; may be empty. */
  readonly language: string;
  /** Without the fences, and without the indentation of the opening one. */
  readonly text: string;
  /** The comment in the line before the fence, without `<!--` and `-->`. */
  readonly mark: string;
}

/** Every page of the repository that people read, generated ones included. */
export const pages: readonly string[] = globSync(
  ["*.md", "docs/*.md", "deploy/*/README.md", "deploy/README.md"],
  { cwd: root },
).toSorted();

/** The fenced blocks of a page, in order. An unclosed fence is an error. */
export function blocksOf(page: string, text = readFileSync(join(root, page), "utf8")): Block[] {
  const lines = text.split("\n");
  const blocks: Block[] = [];
  for (let at = 0; at < lines.length; at += 1) {
    const [, indent = "", language = ""] = /^( *)```(.*)$/.exec(lines[at] ?? "") ?? [];
    if (!lines[at]?.startsWith(`${indent}\`\`\``)) continue;
    const end = lines.findIndex((line, index) => index > at && line.trim() === "```");
    if (end < 0) throw new Error(`${page}:${at + 1}: the block has no end`);
    const body = lines.slice(at + 1, end).map((line) => line.replace(indent, ""));
    const [, mark = ""] = /^ *<!-- (.*) -->$/.exec(lines[at - 1] ?? "") ?? [];
    blocks.push({ page, line: at + 1, language: language.trim(), text: body.join("\n"), mark });
    at = end;
  }
  return blocks;
}
