import { createInterface, type Interface } from "node:readline/promises";
import { Writable } from "node:stream";
import { Failure } from "./failure.ts";

/** Whether a user can be asked: standard input and standard error are a terminal. */
export function canAsk(): boolean {
  return process.stdin.isTTY === true && process.stderr.isTTY === true;
}

/** Asks at the terminal, on standard error. */
export async function ask(question: string): Promise<string> {
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return (await answerOf(lines, `${question} `)).trim();
  } finally {
    lines.close();
  }
}

const interrupted = 130;

/** Reads one line. Ctrl-C ends the command; Ctrl-D is an empty line. */
async function answerOf(lines: Interface, question: string): Promise<string> {
  const closed = new Promise<string>((done) => lines.once("close", () => done("")));
  lines.once("SIGINT", () => {
    lines.close();
    process.stderr.write("\n");
    process.exit(interrupted);
  });
  return await Promise.race([lines.question(question), closed]);
}

/** Asks for a secret twice, without showing it. */
export async function askSecret(what: string): Promise<string> {
  const first = await hidden(`${what}: `);
  if ((await hidden(`${what}, again: `)) === first) return first;
  throw new Failure(`${what}: the two entries differ`);
}

/** Asks for a secret that exists already, without showing it. */
export async function askHidden(what: string): Promise<string> {
  return await hidden(`${what}: `);
}

async function hidden(question: string): Promise<string> {
  process.stderr.write(question);
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: process.stdin, output: nowhere, terminal: true });
  try {
    return await answerOf(lines, "");
  } finally {
    lines.close();
    process.stderr.write("\n");
  }
}
