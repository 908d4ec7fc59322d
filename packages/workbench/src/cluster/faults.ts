import { OperatorError } from "@holdfast/server/base";
import type { Supervised } from "../processes/supervised.ts";
import type { Line } from "./line.ts";
import type { RunningRegion } from "./region.ts";

const faultNames = ["kill", "freeze", "thaw", "cut", "heal"] as const;
export type FaultName = (typeof faultNames)[number];

/** A fault to cause or repair in a running cluster. */
export interface FaultRequest {
  readonly fault: FaultName;
  /** Names of processes, or `region-a` for all of a region. */
  readonly parts: readonly string[];
  /** Whether a killed process stays down until it is healed. */
  readonly stay: boolean;
}

/** When a deliberately killed part is started again: late enough to see what happens without it. */
const restMs = 5000;

/** Breaks and repairs the parts of a running cluster. */
export class Faults {
  readonly #regions: readonly RunningRegion[];
  readonly #line: Line;

  constructor(regions: readonly RunningRegion[], line: Line) {
    this.#regions = regions;
    this.#line = line;
  }

  /** The names that can be used: nodes first, then the regions' Redis processes, then whole regions. */
  get names(): readonly string[] {
    const all = this.#regions.map(({ region, parts }) => {
      const nodes = region.nodes.map(({ name }) => name);
      return { nodes, redis: [...parts.keys()].filter((name) => !nodes.includes(name)) };
    });
    return [
      ...all.flatMap(({ nodes }) => nodes),
      ...all.flatMap(({ redis }) => redis.toReversed()),
      ...this.#regions.map(({ region }) => `region-${region.name}`),
    ];
  }

  /** Carries out a request and returns one line per part; throws an `OperatorError` if the request is not valid. */
  async carryOut({ fault, parts: names, stay }: FaultRequest): Promise<readonly string[]> {
    if (fault === "cut" || (fault === "heal" && names.length === 0)) {
      if (names.length > 0) {
        throw new OperatorError("cut is of the line between the regions, and takes no names");
      }
      return fault === "cut" ? this.#cut() : this.#healAll();
    }
    if (names.length === 0)
      throw new OperatorError(`${fault} needs a name: ${this.names.join(", ")}`);
    const parts = names.flatMap((name) => this.#named(name));
    const done = await Promise.all(parts.map((part) => this.#one(fault, part, stay)));
    return done;
  }

  #named(name: string): readonly (readonly [string, Supervised])[] {
    const region = this.#regions.find((one) => `region-${one.region.name}` === name);
    if (region !== undefined) return [...region.parts];
    const part = this.#regions.map(({ parts }) => parts.get(name)).find((one) => one !== undefined);
    if (part !== undefined) return [[name, part]];
    throw new OperatorError(`${name} is not part of this cluster: ${this.names.join(", ")}`);
  }

  async #one(
    fault: Exclude<FaultName, "cut">,
    [name, part]: readonly [string, Supervised],
    stay: boolean,
  ): Promise<string> {
    switch (fault) {
      case "kill":
        await part.kill(stay ? Number.POSITIVE_INFINITY : restMs);
        return `${name} is killed (SIGKILL) and ${stay ? `stays away until \`heal ${name}\`` : `comes back in ${restMs / 1000} s`}`;
      case "freeze":
        return part.freeze()
          ? `${name} is frozen (SIGSTOP) until \`thaw ${name}\``
          : `${name} is ${part.state} already`;
      case "thaw":
        return part.thaw() ? `${name} runs again (SIGCONT)` : `${name} was not frozen`;
      case "heal":
        return mend(name, part) ?? `${name} needs no repair`;
    }
  }

  #cut(): readonly string[] {
    if (this.#regions.length < 2)
      throw new OperatorError("there is one region only: nothing to cut");
    return [
      this.#line.cut(true)
        ? "the line between the regions is cut: nothing passes until `heal`"
        : "the line between the regions is cut already",
    ];
  }

  #healAll(): readonly string[] {
    const line = this.#line.cut(false) ? ["the line between the regions is whole again"] : [];
    const parts = this.#regions.flatMap((region) =>
      [...region.parts].flatMap(([name, part]) => mend(name, part) ?? []),
    );
    const done = [...line, ...parts];
    return done.length === 0 ? ["nothing was broken"] : done;
  }
}

/** Undoes a freeze and a kill; undefined if there was neither. */
function mend(name: string, part: Supervised): string | undefined {
  if (part.thaw()) return `${name} runs again (SIGCONT)`;
  return part.revive() ? `${name} is started again` : undefined;
}
