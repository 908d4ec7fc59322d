import { readFileSync } from "node:fs";
import { join } from "node:path";

/** A command that confirms an alert. */
interface Confirmation {
  /** The command as it is on the page, with `FILE` and `INSTANCE`. */
  readonly command: string;
  /** What it prints according to the page: the other words in backticks after it. */
  readonly shows: readonly string[];
}

/** An alert's section of the runbook. */
export interface AlertSection {
  readonly alert: string;
  readonly text: string;
  readonly confirmations: readonly Confirmation[];
}

/** The sections of docs/runbook.md that are named after alerts, in order. */
export function alertSections(): readonly AlertSection[] {
  const page = readFileSync(join(import.meta.dirname, "../../docs/runbook.md"), "utf8");
  const [alerts = ""] = page.split(/^# Planned work$/m);
  return [...alerts.matchAll(/^## (Holdfast\w+)\n((?:(?!## ).*\n)*)/gm)].map(
    ([, alert = "", text = ""]) => ({ alert, text, confirmations: confirmationsOf(text) }),
  );
}

function confirmationsOf(text: string): readonly Confirmation[] {
  const [, point = ""] = /^- Confirm: ((?:.+\n)(?: {2}.+\n)*)/m.exec(text) ?? [];
  return point.split(/(?=`holdfast )/).flatMap((part) => {
    const [command = "", ...shows] = [...part.matchAll(/`([^`]+)`/g)].map(([, code = ""]) => code);
    return command.startsWith("holdfast ") ? [{ command, shows }] : [];
  });
}
