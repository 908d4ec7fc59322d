import type { StepOutcome } from "./vcenter.ts";

const widths = { step: 30, node: 6, ms: 8 };

/** The heading of the table of steps. */
export function tableHead(): string {
  return row("step", "node", "ms", "result");
}

/** One step as a row of the table. */
export function tableRow({ step, node, result, ok, ms }: StepOutcome): string {
  return row(step, node, ms.toFixed(1), ok ? result : `FAILED: ${result}`);
}

function row(step: string, node: string, ms: string, result: string): string {
  const { step: stepWidth, node: nodeWidth, ms: msWidth } = widths;
  return `  ${step.padEnd(stepWidth)}${node.padEnd(nodeWidth)}${ms.padStart(msWidth)}  ${result}`;
}
