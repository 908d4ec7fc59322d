import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type Block, blocksOf, pages } from "./blocks.ts";
import { wrongIn } from "./command-check.ts";
import { pagesThatRun } from "./pages-that-run.ts";
import { holdfastCommands } from "./shell.ts";

const root = join(import.meta.dirname, "..", "..");
const languages = new Set([
  "",
  "sh",
  "powershell",
  "text",
  "yaml",
  "json",
  "js",
  "go",
  "dockerfile",
]);
const shells = new Set(["", "sh"]);
const programs =
  /^\s*(\$ )?(sudo |npx )?(holdfast|npm|npx|curl|jq|ibmcloud|docker|openssl|git|kubectl)\s/m;
const blocks = pages.flatMap((page) => blocksOf(page));

/** What is wrong with a block; undefined if a test runs it, or if it says why not. */
function unseen({ page, line, language, text, mark }: Block): string | undefined {
  const at = `${page}:${line}`;
  if (!languages.has(language)) return `${at}: no known kind of block: ${language}`;
  if (!shells.has(language) && language !== "powershell") {
    return programs.test(text) && language === "text"
      ? `${at}: has commands, and is text`
      : undefined;
  }
  const [, reason] = /^not run: ?(.*)$/.exec(mark) ?? [];
  if (reason !== undefined) return reason.length < 10 ? `${at}: no reason why not` : undefined;
  if (language === "powershell") return `${at}: cannot be run, and does not say so`;
  return pagesThatRun.includes(page) ? undefined : `${at}: is not run, and does not say why`;
}

test("a test runs every block of commands, or the block says why not", () => {
  expect(blocks.length).toBeGreaterThan(60);
  expect(blocks.flatMap((block) => unseen(block) ?? [])).toEqual([]);
});

describe("this check", () => {
  const page = "docs/quick-start.md";
  test.each<[string, string, RegExp | undefined]>([
    ["a page that a test runs", "```\nholdfast whoami\n```", undefined],
    ["a reason", "<!-- not run: needs a vCenter -->\n```powershell\nGet-VM\n```", undefined],
    ["no reason", "<!-- not run: -->\n```\nls\n```", /no reason/],
    ["PowerShell without a mark", "```powershell\nGet-VM\n```", /does not say so/],
    ["commands in a block of text", "```text\nholdfast whoami\n```", /is text/],
    ["an unknown kind", "```bahs\nls\n```", /no known kind/],
  ])("gives the right result for %s", (_, text, said) => {
    const [block] = blocksOf(page, text);
    const found = block === undefined ? "no block" : unseen(block);
    if (said === undefined) expect(found).toBeUndefined();
    else expect(found).toMatch(said);
  });

  test("wants a reason from a page that no test runs", () => {
    const [block] = blocksOf("docs/other.md", "```\nls\n```");
    expect(block && unseen(block)).toMatch(/does not say why/);
  });

  test.each<[string, RegExp | undefined]>([
    ["holdfast key list kmip-prod --state Active", undefined],
    ["holdfast key list kmip-prod --state Lively", /--state is never Lively/],
    ["holdfast key list kmip-prod --colour red", /no option --colour/],
    ["holdfast key lits kmip-prod", /no command lits/],
    ["holdfast key revoke kmip-prod ID", /--reason is needed/],
    ["holdfast key show kmip-prod", /at least 2/],
    ["npx holdfast config check --config a.yaml", undefined],
    ["npx holdfast backup create --config a.yaml", /at least 1/],
    ["sudo holdfast store inti --config a.yaml", /no command inti/],
    ["cat x | jq -r .a > y && holdfast whoami extra", /1 arguments, of at most 0/],
  ])(
    "gives the right result for: %s",
    (line, said) => {
      const [words = []] = holdfastCommands(line);
      const found = wrongIn(words, { sketch: false });
      if (said === undefined) expect(found).toBeUndefined();
      else expect(found).toMatch(said);
    },
    60_000,
  );
});

test("every holdfast command of a block exists, and so do its options", () => {
  const wrong = blocks
    .filter(({ language }) => shells.has(language))
    .flatMap(({ page, line, text }) =>
      holdfastCommands(text).flatMap((words) => {
        const found = wrongIn(words, { sketch: false });
        return found === undefined ? [] : [`${page}:${line}: ${found}`];
      }),
    );
  expect(wrong).toEqual([]);
}, 120_000);

// In code an unescaped backtick is inside quotes or a comment, or else it begins a template.
const inPage = /`((?:npx )?holdfast [a-z][^`\n\\]*)/g;
const inCode = /(?:\\|^[^\n`]*(?:"|\*|\/\/)[^\n`]*)`((?:npx )?holdfast [a-z][^`\n\\]*)/gm;

/** The `holdfast` commands in a page's text outside of blocks, or in a source file's texts. */
function named(path: string): readonly string[] {
  const text = readFileSync(join(root, path), "utf8").replace(/^ *```[\s\S]*?^ *```$/gm, "");
  return [...text.matchAll(path.endsWith(".ts") ? inCode : inPage)].map(([, line = ""]) => line);
}

test("every command in running text, and in the program's own messages, exists too", () => {
  const sources = globSync("packages/*/src/**/*.ts", { cwd: root }).filter(
    (path) => !path.endsWith(".test.ts"),
  );
  const all = [...pages, ...sources].flatMap((path) => named(path).map((line) => ({ path, line })));
  expect(all.length).toBeGreaterThan(150);
  const wrong = all.flatMap(({ path, line }) => {
    const plain = line.replace(/(\$\{|…|\[arguments).*/, "").replace(/[[\]]/g, "");
    return holdfastCommands(plain.replaceAll("\\|", "|")).flatMap((words) => {
      const found = wrongIn(words, { sketch: true });
      return found === undefined ? [] : [`${path}: ${line}: ${found}`];
    });
  });
  expect(wrong).toEqual([]);
}, 120_000);
