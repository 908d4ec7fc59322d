import { becomeServer, isServerCommand } from "./server-entry.ts";

const args = process.argv.slice(2);

if (isServerCommand(args)) await becomeServer(args);
// Loaded here, since the server's commands need none of it.
else process.exitCode = await (await import("./program.ts")).run(args);
