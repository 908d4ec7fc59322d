import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";

/** The entries of the server and of the development cluster: the command line starts them and does not import them. */
const packages = join(import.meta.dirname, "..", "..");
const serverEntry = join(packages, "server", "src", "main.ts");
const devEntry = join(packages, "workbench", "src", "main.ts");

/** Commands that the server's entry carries out, with what each does. */
export const serverCommands: readonly (readonly [command: string, what: string])[] = [
  ["serve", "run a node: serve --config FILE"],
  ["config", "check a node's configuration: config check --config FILE"],
  [
    "store",
    "store init --config FILE [--member ADDRESS...] marks a new store; store replicas --config FILE [--forget ADDRESS]",
  ],
  [
    "region",
    "region status --config FILE tells of both regions; region retire, region rejoin when one is lost and returns",
  ],
  [
    "root",
    "root init --config FILE makes the local root key, root pkcs11-init the one in a token; root rotate adds a version",
  ],
  [
    "sealing-key",
    "sealing-key init, rotate, check --config FILE: the key of this region's own secrets",
  ],
  [
    "backup",
    "backup create, verify, restore FILE --config FILE; backup key init, rotate --config FILE",
  ],
  [
    "audit",
    "audit verify --config FILE checks the evidence in the store, --file FILE... what the file sink wrote",
  ],
  ["hash-password", "hash a user's password for the configuration"],
  [
    "dev",
    "try Holdfast on this machine: dev start, stop, status, reset, kill, freeze, thaw, cut, heal, pki",
  ],
];

/** Whether the server's entry is to carry out a command line. */
export function isServerCommand([name]: readonly string[]): boolean {
  return serverCommands.some(([command]) => command === name);
}

/** Becomes the server's entry, so that signals, output and exit code need no relay. */
export async function becomeServer(args: readonly string[]): Promise<void> {
  const entry = args[0] === "dev" ? devEntry : serverEntry;
  if (!existsSync(entry)) {
    process.stderr.write(
      `holdfast: ${args[0]} is not in this installation: run holdfast from a checkout\n`,
    );
    process.exitCode = 1;
    return;
  }
  const { execPath } = process;
  const line = [execPath, entry, ...args];
  if (process.execve !== undefined) process.execve(execPath, line, process.env);
  const child = spawn(execPath, line.slice(1), { stdio: "inherit" });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    // A terminal sends SIGINT to the child as well.
    process.on(signal, () => (signal === "SIGINT" && process.stdin.isTTY) || child.kill(signal));
  }
  process.exitCode = await new Promise((resolve) => {
    child.once("exit", (code) => resolve(code ?? 1));
  });
}
