import type { Change, Event, ManagedObject } from "@holdfast/engine";
import type { MergeOptions } from "../join/merge.ts";
import { type AgreementOptions, agreedCommit } from "../store/agreed.ts";
import { type AgreementSite, ownSite } from "../store/agreement-site.ts";
import { instance } from "./test-keys.ts";
import type { TestRegion, TestRegions } from "./test-regions.ts";

const methods = ["reserve", "read", "write", "release", "merge"] as const;

interface Settings extends Partial<AgreementOptions> {
  /** What happens before a call is made, by the call's text. */
  readonly before?: Readonly<Record<string, () => unknown>>;
  /** How a region merges, by its name. */
  readonly merging?: Readonly<Record<string, Partial<MergeOptions>>>;
}

/** Agreements of two regions, whose calls are noted. */
export class TestAgreement {
  /** The method, the region, and the kinds of changes. */
  readonly calls: string[] = [];
  readonly events: Event[] = [];
  /** What each region was asked to merge. */
  readonly merged: Record<string, readonly ManagedObject[]> = {};
  readonly #regions: TestRegions;

  constructor(regions: TestRegions) {
    this.#regions = regions;
  }

  /** The outcome of an agreement of both regions, or why it failed. */
  readonly agree = async (
    changes: readonly Change[],
    { before = {}, merging = {}, ...given }: Settings = {},
  ): Promise<unknown> => {
    const { a, b, time } = this.#regions;
    const sites = [a, b].map((region) => this.#noted(region, before, merging[region.name]));
    const uuid = () => this.#regions.id();
    const ids = { uuid, randomBytes: (length: number) => new Uint8Array(length) };
    const observe = (event: Event): void => void this.events.push(event);
    const options = { timers: time, ids, observe, reservedMs: 0, ...given };
    try {
      return await time.until(agreedCommit(sites, { instance, changes, audit: [] }, options));
    } catch (error) {
      return error;
    }
  };

  /** A region's own store as a site whose calls are noted. */
  #noted(
    { name, own }: TestRegion,
    before: Settings["before"] = {},
    more: Partial<MergeOptions> = {},
  ): AgreementSite {
    const timers = this.#regions.time;
    const merging = { from: "test", timers, observe: () => undefined, ...more };
    const site = ownSite(name, own, { first: name === "a", given: [], merging });
    const wrapped = methods.map((method) => {
      const call = async (...given: unknown[]): Promise<unknown> => {
        const changes = method === "write" ? (given[1] as readonly Change[]) : [];
        this.calls.push(`${method} ${name}${changes.map(({ kind }) => ` ${kind}`).join("")}`);
        if (method === "merge") this.merged[name] = given[0] as readonly ManagedObject[];
        await before[`${method} ${name}`]?.();
        return await Reflect.apply(site[method] as (...all: unknown[]) => unknown, site, given);
      };
      return [method, call] as const;
    });
    return { region: name, ...Object.fromEntries(wrapped) } as AgreementSite;
  }
}
