#!/usr/bin/env node
// Runs the command line with Node 24, whichever Node was found first.
import { spawn } from "node:child_process";
import module from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const home = join(dirname(fileURLToPath(import.meta.url)), "..");
const main = join(home, "src", "main.ts");
// For the processes that this one starts: without the cache, half of a start is spent compiling the same code as the last time.
const compileCache = "NODE_COMPILE_CACHE";
process.env[compileCache] ??= join(home, "..", "..", ".holdfast", "compile-cache");

if (Number(process.versions.node.split(".")[0]) >= 24) {
  module.enableCompileCache(process.env[compileCache]);
  await import(main);
} else {
  runWith(pinnedNode());
}

/** The Node that the set-up installed, or undefined. */
function pinnedNode() {
  try {
    return module.createRequire(import.meta.url).resolve(`node-linux-${process.arch}/bin/node`);
  } catch {
    return undefined;
  }
}

/** @param {string | undefined} node */
function runWith(node) {
  if (node === undefined) {
    process.stderr.write("holdfast: Node 24 is not there: run `npm start` once in the checkout\n");
    process.exitCode = 1;
    return;
  }
  const child = spawn(node, [main, ...process.argv.slice(2)], { stdio: "inherit" });
  for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"])) {
    // A terminal sends SIGINT to the child as well.
    process.on(signal, () => (signal === "SIGINT" && process.stdin.isTTY) || child.kill(signal));
  }
  child.once("exit", (code) => {
    process.exitCode = code ?? 1;
  });
}
