// Runs all checks without the tests: format, lint, floating promises, types.

import { runChecks } from "./checks.mjs";

process.exitCode = (await runChecks()) === 0 ? 0 : 1;
