import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";
import { Failure } from "../failure.ts";

/** Whether somebody can be asked. */
export function canAsk(): boolean {
  return process.stdin.isTTY === true && process.stderr.isTTY === true;
}

/** Asks at the terminal, on standard error. */
export async function ask(question: string): Promise<string> {
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return (await lines.question(`${question} `)).trim();
  } finally {
    lines.close();
  }
}

/** Asks for a secret twice, without showing it. */
export async function askSecret(what: string): Promise<string> {
  const first = await hidden(`${what}: `);
  if ((await hidden(`${what}, again: `)) === first) return first;
  throw new Failure(`${what}: the two are not the same`);
}

async function hidden(question: string): Promise<string> {
  process.stderr.write(question);
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: process.stdin, output: nowhere, terminal: true });
  try {
    return await lines.question("");
  } finally {
    lines.close();
    process.stderr.write("\n");
  }
}
