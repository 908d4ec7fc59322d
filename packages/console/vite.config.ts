import { brotliCompressSync, constants } from "node:zlib";
import { PurgeCSS } from "purgecss";
import { defineConfig, type Plugin } from "vite";
import { operationsOf } from "./src/base/contract-data.ts";
import { manifest } from "./src/plugin/manifest.ts";

const contractModule = "virtual:contract";

/** Gives the console the operations of the contract as data: it loads no validation library. */
const operations: Plugin = {
  name: "operations",
  resolveId: (id) => (id === contractModule ? `\0${contractModule}` : undefined),
  load: (id) =>
    id === `\0${contractModule}`
      ? `export const operations = ${JSON.stringify(operationsOf())};`
      : undefined,
};

/** The manifest of the plug-in that the vSphere Client reads; its page and its icons are in `public`. */
const pluginManifest: Plugin = {
  name: "plugin-manifest",
  generateBundle() {
    const source = JSON.stringify(manifest());
    this.emitFile({ type: "asset", fileName: "plugin.json", source });
  },
};

/** Leaves out the rules of Clarity that no part of the console uses, and its fonts. */
const usedStyles: Plugin = {
  name: "used-styles",
  async generateBundle(_, bundle) {
    const files = Object.values(bundle);
    const code = files.map((file) => (file.type === "chunk" ? file.code : "")).join("\n");
    for (const file of files) {
      if (file.type === "chunk" || !file.fileName.endsWith(".css")) continue;
      const [used] = await new PurgeCSS().purge({
        content: [{ raw: code, extension: "js" }],
        css: [{ raw: String(file.source) }],
        variables: true,
        keyframes: true,
        safelist: {
          standard: ["html", "body", "cds-theme", "dark"],
          // Names that the code puts together.
          greedy: [/^(alert|label)-(danger|warning|success|info)$/],
        },
      });
      file.source = (used?.css ?? "").replaceAll(/@font-face\s*\{[^}]*\}/g, "");
    }
  },
};

/** Writes each file a second time, compressed: no node does that for each request. */
const compressed: Plugin = {
  name: "compressed",
  enforce: "post",
  generateBundle(_, bundle) {
    for (const file of Object.values(bundle)) {
      if (file.fileName.endsWith(".map")) continue;
      const source = Buffer.from(file.type === "chunk" ? file.code : file.source);
      const params = { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY };
      const fileName = `${file.fileName}.br`;
      this.emitFile({ type: "asset", fileName, source: brotliCompressSync(source, { params }) });
    }
  },
};

export default defineConfig({
  base: "./",
  plugins: [operations, pluginManifest, usedStyles, compressed],
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    target: "es2023",
    modulePreload: false,
    assetsInlineLimit: 0,
    // Names the packages inside, for the list of a release.
    sourcemap: "hidden",
    rolldownOptions: {
      output: {
        entryFileNames: "console.js",
        // Names stay the same: a browser asks by ETag, so that nodes of two releases can serve one page.
        assetFileNames: "console[extname]",
        codeSplitting: false,
        sourcemapExcludeSources: true,
      },
    },
  },
});
