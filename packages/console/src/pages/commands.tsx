import { commandLine } from "../base/command-line.ts";
import { type OperationName, operations } from "../base/contract.ts";
import { may } from "../base/may.ts";
import { Copied } from "../parts/copy.tsx";
import type { Params } from "./resource-model.ts";

/** Commands that show or do the same as a page. */
export function Commands({ texts }: { texts: readonly string[] }) {
  return (
    <details>
      <summary>The same on the command line</summary>
      {texts.map((text) => (
        <Copied key={text} text={text} what={text} block />
      ))}
    </details>
  );
}

/** The commands of what a page reads, as far as the person may call it. */
export function ReadBy({
  names,
  params = {},
}: {
  names: readonly OperationName[];
  params?: Params;
}) {
  const texts = names.filter(may).map((name) => commandLine(operations[name], { params }));
  return texts.length === 0 ? null : <Commands texts={texts} />;
}
