import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import type { PageHistory } from "./page/history.ts";
import { promises } from "./promises.ts";
import type { Step } from "./recorder.ts";
import { chosen } from "./story.ts";

/** How many events the page lists before it is asked for details. */
const mainMax = 60;
const folder = join(import.meta.dirname, "page");

/** A page that plays a history: one file, without any request. */
export async function pageOf(title: string, steps: readonly Step[]): Promise<string> {
  const history = JSON.stringify(historyOf(title, steps)).replaceAll("<", "\\u003c");
  const script = (await bundled()).replaceAll("</script", "<\\/script");
  const style = readFileSync(join(folder, "page.css"), "utf8");
  const policy = [
    "default-src 'none'",
    `script-src ${hashOf(script)}`,
    `style-src ${hashOf(style)}`,
    "base-uri 'none'",
    "form-action 'none'",
  ].join("; ");
  const head = [
    `<meta http-equiv="Content-Security-Policy" content="${policy}">`,
    `<style>${style}</style>`,
  ];
  const body = [
    `<script type="application/json" id="history">${history}</script>`,
    `<script>${script}</script>`,
  ];
  return readFileSync(join(folder, "index.html"), "utf8")
    .replace(/(?=<title>)/, () => head.join("\n"))
    .replace(/(?=<\/body>)/, () => body.join("\n"));
}

function historyOf(title: string, steps: readonly Step[]): PageHistory {
  const main = new Set(chosen(steps, mainMax));
  return {
    title,
    promises: promises.map(({ id, counted, short }) => ({ id, counted, short })),
    steps: steps.map((step) => {
      const { atMs, who, what, why, tone, places, arrows, changed, ...rest } = step;
      const { key, acknowledged, breaks } = rest;
      const told = { who, what, why, tone, places, arrows, changed, key, acknowledged, breaks };
      return { atMs: Math.round(atMs * 10) / 10, main: main.has(step), ...told };
    }),
  };
}

async function bundled(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [join(folder, "main.ts")],
    bundle: true,
    write: false,
    format: "iife",
    platform: "browser",
    target: "es2023",
    minify: true,
    charset: "utf8",
    logLevel: "silent",
  });
  return outputFiles[0]?.text ?? "";
}

function hashOf(text: string): string {
  return `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
}
