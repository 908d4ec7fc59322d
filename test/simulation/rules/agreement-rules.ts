import type { AgreementSite } from "@holdfast/regions";
import { type Ears, overheard } from "./overheard.ts";
import type { Broken } from "./serving-rules.ts";

/** How the regions of an agreed operation are asked, under the name of each of its tries. */
export class AgreementRules {
  readonly #broken: Broken;
  /** Region and name of a try. */
  readonly #reserved = new Set<string>();
  readonly #released = new Set<string>();
  /** Of another operation there; then nothing was reserved. */
  readonly #held = new Set<string>();
  #writes = false;

  constructor(broken: Broken) {
    this.#broken = broken;
  }

  watched(sites: readonly AgreementSite[]): readonly AgreementSite[] {
    return sites.map((site) => overheard(site, this.#ears(site.region)));
  }

  #ears(region: string): Ears<AgreementSite> {
    return {
      reserve: (_instance, _ids, operation) => {
        const name = `${region} ${operation}`;
        if (this.#reserved.has(name)) {
          this.#broken(`reserves again in ${region} under a name that a request may still have`);
        }
        this.#reserved.add(name);
        return {
          answered: ({ kind }) => {
            if (kind === "held") this.#held.add(name);
          },
        };
      },
      write: () => {
        this.#writes = true;
        return undefined;
      },
      release: (_instance, operation) => {
        this.#released.add(`${region} ${operation}`);
        return undefined;
      },
    };
  }

  /** Once it is over: what may be reserved was released, unless it was decided. */
  over(): void {
    if (this.#writes) return;
    const left = [...this.#reserved].find(
      (name) => !this.#released.has(name) && !this.#held.has(name),
    );
    if (left === undefined) return;
    this.#broken(`has given up an agreed operation, and not released what it reserved: ${left}`);
  }
}
