import { type RegionalParts, serving } from "@holdfast/regions";
import { Violation } from "../checker.ts";
import { ServingRules } from "./serving-rules.ts";

/** What must hold in every step of one process, whatever clients see of it. */
export class NodeRules {
  readonly #serving: ServingRules;

  constructor(node: string, failed: (error: Violation) => void) {
    const broken = (what: string): void => failed(new Violation(`${node} ${what}`));
    this.#serving = new ServingRules(broken);
  }

  parts({ decide = serving, ...rest }: Partial<RegionalParts>) {
    return { ...rest, decide: this.#serving.watched(decide) };
  }
}
