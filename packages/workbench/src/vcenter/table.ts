import type { StepOutcome } from "./vcenter.ts";

const widths = { step: 30, node: 6, region: 8, ms: 8 };

/** The heading of the table of steps. */
export function tableHead(): string {
  return row("step", "node", "region", "ms", "result");
}

/** One step as a row of the table. */
export function tableRow({ step, node, region, result, ok, next, ms }: StepOutcome): string {
  const missed = next === undefined ? `FAILED: ${result}` : `no answer, next is ${next}: ${result}`;
  return row(step, node, region, ms.toFixed(1), ok ? result : missed);
}

function row(step: string, node: string, region: string, ms: string, result: string): string {
  const cells = [
    step.padEnd(widths.step),
    node.padEnd(widths.node),
    region.padEnd(widths.region),
    ms.padStart(widths.ms),
  ];
  return `  ${cells.join("")}  ${result}`;
}
