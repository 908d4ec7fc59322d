import { useEffect } from "preact/hooks";
import type { AnswerOf } from "../../base/contract.ts";
import { timeText } from "../../base/text.ts";
import { repeat, restMs } from "../../base/work.ts";
import { State } from "../../parts/notices.tsx";
import type { ResourceModel } from "../resource-model.ts";

type Work = AnswerOf<"runBackup">;

const lookEveryMs = 1000;

const titles: Readonly<Record<Work["what"], string>> = {
  create: "Backup",
  verify: "Verification",
  plan: "Restore plan",
};

/**
 * What was ordered with backups: how far it is, and what came of it. The service keeps it, so a reload loses nothing, nor
 * does an answer that fails.
 */
export function BackupWork({ model }: { model: ResourceModel }) {
  const { beside } = model;
  const { work = [] } = beside.value as { readonly work?: readonly Work[] };
  const runs = work.some(({ state }) => state === "waiting" || state === "running");
  useEffect(() => repeat(runs ? lookEveryMs : restMs, () => model.load()), [model, runs]);
  if (work.length === 0) return null;
  return (
    <section aria-label="Ordered work" aria-live="polite">
      {work.map((one) => (
        <One key={one.id} work={one} />
      ))}
    </section>
  );
}

function One({ work }: { work: Work }) {
  const { region, what, backup, state, orderedAt, orderedBy, node, step, done, of, lines } = work;
  const title = `${titles[what]} of ${backup === "" ? `region ${region}` : backup}`;
  return (
    <section aria-label={title} data-state={state}>
      <h3>
        {title} <State of={state} />
      </h3>
      <p>
        Ordered by {orderedBy}, {timeText(orderedAt)}
        {node === undefined ? ". The region's leader begins within seconds." : `, at node ${node}.`}
      </p>
      {state === "running" ? (
        <p>
          {step}{" "}
          {of === 0 ? null : (
            <progress value={done} max={of} aria-label={title}>
              {done} of {of}
            </progress>
          )}
        </p>
      ) : null}
      {lines.length === 0 ? null : (
        <ul>
          {lines.map((line) => (
            <li key={line}>{line}</li>
          ))}
        </ul>
      )}
    </section>
  );
}
