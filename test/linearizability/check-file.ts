import { readHistory } from "./history-file.ts";
import { type Judgement, judge } from "./judge.ts";

const textsMax = 20;

/** Checks a history in a file and says what it found. The exit code: 1 if not every object is proven legal. */
export async function checkFile(path: string, say: (line: string) => void): Promise<number> {
  const history = await readHistory(path);
  // It would prove nothing, and pass.
  if (history.operations.length === 0) throw new RangeError(`${path}: has no operation`);
  const judgement = judge(history);
  for (const line of judgementLines(judgement)) say(line);
  const { violations, undecided } = judgement;
  return violations.length + undecided.length === 0 ? 0 : 1;
}

/** A judgement for a person. */
function judgementLines(judgement: Judgement): readonly string[] {
  const { objects, operations, violations, undecided } = judgement;
  const texts = [...violations, ...undecided];
  const more = texts.length > textsMax ? [`and ${texts.length - textsMax} more`] : [];
  return [
    `linearizability: ${objects} objects, ${operations} operations; violations ${violations.length}, undecided ${undecided.length}`,
    ...texts.slice(0, textsMax),
    ...more,
  ];
}
