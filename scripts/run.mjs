// `node scripts/run.mjs FILE [ARGS]` runs FILE with the pinned Node 24, with Redis on PATH.
// It replaces this process if possible, so that signals and the exit code need no relay.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { pathWithTools } from "./redis-path.mjs";
import { compileCache, root, say } from "./setup/common.mjs";
import { node24 } from "./setup/packages.mjs";

const [file = "", ...args] = process.argv.slice(2);
// Node 24 marks features that Holdfast uses as experimental; users of Holdfast can do nothing about it.
const flags = ["--disable-warning=ExperimentalWarning"];
const env = {
  ...compileCache,
  ...process.env,
  PATH: pathWithTools(),
};

if (!existsSync(join(root, file))) {
  say(`${file} is not in this checkout`);
  process.exit(1);
}
if (process.execve !== undefined) {
  process.execve(node24, [node24, ...flags, join(root, file), ...args], env);
}

const child = spawn(node24, [...flags, join(root, file), ...args], { env, stdio: "inherit" });
// A terminal sends SIGINT to the child too; a second SIGINT would mean "end at once".
process.on("SIGINT", () => process.stdin.isTTY || child.kill("SIGINT"));
process.on("SIGTERM", () => child.kill("SIGTERM"));
child.once("error", () => {
  say("Node 24 could not be started: run `npm test` or `npm start`, which install it");
  process.exitCode = 1;
});
child.once("exit", (code) => {
  process.exitCode = code ?? 1;
});
