import type { OwnStore } from "@holdfast/engine";
import { type RegionalParts, serving } from "@holdfast/regions";
import { Violation } from "../checker.ts";
import { givenEars } from "./given-rules.ts";
import { LevelRules } from "./level-rules.ts";
import { joinedEars, overheard } from "./overheard.ts";
import { type Broken, ServingRules } from "./serving-rules.ts";

/** What must hold in every step of one process, whatever clients see of it. */
export class NodeRules {
  readonly #broken: Broken;
  readonly #serving: ServingRules;
  readonly #levels: LevelRules;

  constructor(node: string, failed: (error: Violation) => void) {
    const broken = (what: string): void => failed(new Violation(`${node} ${what}`));
    this.#broken = broken;
    this.#serving = new ServingRules(broken);
    this.#levels = new LevelRules(this.#serving, broken);
  }

  /** The own store as it is used for the node's clients. */
  own(own: OwnStore): OwnStore {
    const { ears } = this.#levels;
    return overheard(own, joinedEars(ears, givenEars(this.#broken)));
  }

  parts({ decide = serving, ...rest }: Partial<RegionalParts>) {
    return { ...rest, decide: this.#serving.watched(decide) };
  }

  /** Call it four times a second in the process. */
  look(): void {
    this.#levels.look();
  }
}
