import type { Command } from "commander";
import { readGiven } from "../terminal/failure.ts";

/** The approvals that are given to a command at a node. */
export interface ApprovalOptions {
  readonly approval?: string;
  readonly signatures?: string;
  readonly documentOut?: string;
}

/** Adds the options of a command that may need approvals. */
export function withApprovals(command: Command): Command {
  return command
    .option("--approval <id>", "the approved request, if the approval policy asks for one")
    .option("--signatures <file>", "with --approval: its signatures, unless they were handed in")
    .option("--document-out <file>", "where to write what approvers sign, if a request is made");
}

/** The approvals themselves. */
export function approvalsOf({ approval, signatures, documentOut }: ApprovalOptions) {
  return {
    approval,
    documentOut,
    signatures:
      signatures === undefined ? undefined : readGiven("--signatures", signatures).toString("utf8"),
  };
}
