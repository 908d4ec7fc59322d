import { type OperationName, type OperationRow, operations } from "@holdfast/kmip";
import type { CorpusFile } from "./corpus.ts";

/**
 * Files whose operations all exist but which need something else that is not there yet. A file that passes although
 * it stands here fails the run: take its row away.
 */
export const knownGaps: readonly { readonly file: RegExp; readonly lacks: string }[] = [];

/** What a file needs that the product does not have; undefined when it must pass. */
export function lackOf(file: CorpusFile): string | undefined {
  const missing = file.operations.filter((name) => {
    const row: OperationRow | undefined = operations[name as OperationName];
    return row?.request === undefined;
  });
  if (missing.length > 0) return `needs ${missing.join(", ")}`;
  return knownGaps.find((gap) => gap.file.test(file.path))?.lacks;
}
