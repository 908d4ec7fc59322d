import type { OwnStore } from "@holdfast/engine";
import type { Ears } from "./overheard.ts";
import type { Broken, ServingRules } from "./serving-rules.ts";

/** So many looks in a row, four a second, may pass without a question: a node asks five times a second. */
const silentMax = 8;

/** A node that takes its store for level asks the store again and again whether it still is: another one may have found it full. */
export class LevelRules {
  readonly #broken: Broken;
  readonly #serving: ServingRules;
  #begun = 0;
  #running = 0;
  #begunBefore = 0;
  /** Looks in a row since the last question. */
  #silent = 0;

  constructor(serving: ServingRules, broken: Broken) {
    this.#serving = serving;
    this.#broken = broken;
  }

  /** Hears what the node asks its store. */
  get ears(): Ears<OwnStore> {
    const over = (): void => {
      this.#running -= 1;
    };
    const asked = () => {
      this.#begun += 1;
      this.#running += 1;
      return { answered: over, failed: over };
    };
    return { levels: asked, requestResync: asked, loseLevel: asked };
  }

  /** Call it four times a second in the node's process: one that is frozen asks nothing. */
  look(): void {
    const { level, lease, others } = this.#serving.state;
    const isAsked = this.#running > 0 || this.#begun > this.#begunBefore;
    this.#begunBefore = this.#begun;
    const mustAsk = level && lease === "full" && others !== "absent";
    this.#silent = isAsked || !mustAsk ? 0 : this.#silent + 1;
    if (this.#silent < silentMax) return;
    this.#broken("takes its store for level, and has long not asked whether it still is");
  }
}
