import type { CommandLine, Connection, Outcome } from "./connection.ts";
import { isReply } from "./failure.ts";

/** Fewer commands than this are not worth MULTI. */
const commandsMin = 4;
/** More would make every other client wait too long. */
const commandsMax = 128;

/**
 * Sends commands in one write, inside MULTI and EXEC. Redis flushes its AOF after every 16 KB of
 * commands it reads; in a transaction it flushes once. Each command succeeds or fails by itself, as
 * it does without a transaction.
 */
export async function sendTogether(
  connection: Connection,
  lines: readonly CommandLine[],
): Promise<readonly Outcome[]> {
  if (lines.length < commandsMin) return connection.batch(lines);
  const portions = Array.from({ length: Math.ceil(lines.length / commandsMax) }, (_, portion) =>
    lines.slice(portion * commandsMax, (portion + 1) * commandsMax),
  );
  const sent = portions.flatMap((portion): CommandLine[] => [["multi"], ...portion, ["exec"]]);
  const answers = await connection.batch(sent);
  const outcomes: (Outcome | undefined)[] = [];
  let at = 0;
  for (const portion of portions) {
    outcomes.push(
      ...read(answers.slice(at + 1, at + 1 + portion.length), answers[at + 1 + portion.length]),
    );
    at += portion.length + 2;
  }
  return resendAborted(connection, lines, outcomes);
}

/**
 * One transaction's outcomes; undefined for a command that did not run because Redis refused to
 * queue another one.
 */
function read(queued: readonly Outcome[], exec: Outcome | undefined): (Outcome | undefined)[] {
  if (exec !== undefined && "value" in exec && Array.isArray(exec.value)) {
    return exec.value.map((value) => (value instanceof Error ? { error: value } : { value }));
  }
  const error =
    exec !== undefined && "error" in exec ? exec.error : new Error("EXEC did not answer");
  const aborted = isReply(error) && String(error).includes("EXECABORT");
  return queued.map((outcome) => {
    if (!aborted) return { error };
    return "error" in outcome ? outcome : undefined;
  });
}

async function resendAborted(
  connection: Connection,
  lines: readonly CommandLine[],
  outcomes: readonly (Outcome | undefined)[],
): Promise<readonly Outcome[]> {
  const again = lines.filter((_, index) => outcomes[index] === undefined);
  const answers = again.length === 0 ? [] : await connection.batch(again);
  let next = 0;
  return outcomes.map((outcome) => outcome ?? answers[next++] ?? { error: new Error("no answer") });
}
