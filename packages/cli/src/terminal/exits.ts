import { OperatorError } from "@holdfast/server/operator-error";
import { CommanderError } from "commander";
import { Failure } from "./failure.ts";

/** Exit codes and what they mean; docs/cli.md is made from these rows. */
export const exitCodes = {
  done: { code: 0, means: "done" },
  failed: {
    code: 1,
    means:
      "failed, or a check found something to fix (`doctor`) or could not read everything (`vcenter audit`)",
  },
  wrong: { code: 2, means: "the command line, a file that it names or the request is wrong" },
  again: {
    code: 3,
    means: "the service cannot be reached, or cannot promise anything now: try again",
  },
  denied: {
    code: 4,
    means: "the token, client certificate or password is not valid, or does not allow this",
  },
  missing: { code: 5, means: "not found" },
  conflicting: {
    code: 6,
    means: "it is in another state, its name is taken, or another change was faster",
  },
} as const;

/** One of the exit codes by its name. */
export type Exit = keyof typeof exitCodes;

/** How a command that threw this ends; undefined for refusals of a service and for bugs. */
export function ownExitOf(error: unknown): Exit | undefined {
  if (error instanceof CommanderError) return error.exitCode === 0 ? "done" : "wrong";
  if (error instanceof Failure) return "wrong";
  return error instanceof OperatorError ? error.exit : undefined;
}
