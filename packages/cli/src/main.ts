import { becomeServer, isServerCommand } from "./server-entry.ts";

const args = process.argv.slice(2);

// Whoever reads may be gone (`| head`), and a disk full: neither is worth a stack trace.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  const gone = error.code === "EPIPE";
  if (!gone) process.stderr.write(`holdfast: standard output: ${error.message}\n`);
  process.exit(gone ? 0 : 1);
});

if (isServerCommand(args)) await becomeServer(args);
// Loaded here, since the server's commands need none of it.
else process.exitCode = await (await import("./program.ts")).run(args);
