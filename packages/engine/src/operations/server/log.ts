import type { Handler } from "../../ports/operation-context.ts";

/** Longer messages are cut: evidence has a limit. */
const messageLengthMax = 1024;

/** Keeps a client's message in the audit trail (KMIP 2.1, 6.1.29). */
export const log: Handler<"Log"> = ({ note }, { logMessage }) => {
  // Cut between code points, so that no surrogate pair is split.
  const start = [...logMessage.slice(0, 2 * messageLengthMax)];
  note({ message: start.slice(0, messageLengthMax).join("") });
  return {};
};
