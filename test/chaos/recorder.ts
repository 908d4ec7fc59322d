import type { Response, ResponseItem } from "@holdfast/kmip";
import {
  type ClientHistory,
  isChange,
  type Operation,
  type StoreEvent,
} from "../linearizability/operation.ts";
import { hexOf, type Look, stateIn } from "../support/keys.ts";
import { type RegionName, regionNames } from "../support/two-regions.ts";
import { valuesIn } from "./attributes.ts";
import { digestOf, type Endpoint, isRefused, type Outcome, reasonOf } from "./clients.ts";
import type { Circumstances } from "./history.ts";
import { began, type Moment } from "./moment.ts";
import type { Service } from "./serving-log.ts";

/** What is known of a request only when the run is over, or follows from who asked when. */
type Later = "object" | "client" | "node" | "region" | "store" | "call" | "return" | "acknowledged";
type Without<One, Names extends PropertyKey> = One extends unknown ? Omit<One, Names> : never;
type Content = Without<Operation, Later>;
/** What is asked, without what came of it. */
export type Asked = Without<Content, "outcome" | "reason">;

/** Who asks, and where. */
export interface Asker {
  readonly client: string;
  readonly endpoint: Endpoint;
}

/** Notes every request of the clients, for the check that some order explains all answers. */
export class Recorder {
  readonly #operations: Operation[] = [];
  readonly #converged: { readonly sinceMs: number; readonly atMs: number }[] = [];

  /** Notes one request and what came of it. */
  note(client: string, object: string, moment: Moment, content: Content): void {
    const { node, region, beganMs, endedMs } = moment;
    const who = { object, client, node, region, call: beganMs, return: endedMs };
    this.#operations.push({ ...content, ...who } as Operation);
  }

  /** Notes a task that is one request. */
  outcome(client: string, object: string, asked: Asked, outcome: Outcome<unknown>): void {
    const came = cameOf(outcome);
    this.note(client, object, outcome.moment, { ...asked, ...came } as Content);
  }

  /** Notes a Get of key bytes. */
  got(client: string, object: string, outcome: Outcome<string>): void {
    const shown = outcome.kind === "done" ? { digest: digestOf(outcome.answer) } : {};
    const content = { operation: "Get", ...cameOf(outcome), ...shown } as const;
    this.note(client, object, outcome.moment, content);
  }

  /** Carries out a request that is one of several of a task, and notes it. */
  async watch<Answer>(
    { client, endpoint }: Asker,
    object: string,
    asked: Asked,
    work: () => Promise<Answer>,
    shown: (answer: Answer) => object = () => ({}),
  ): Promise<Answer> {
    const ended = began(endpoint);
    const note = (content: object): void => {
      this.note(client, object, ended(), { ...asked, ...content } as Content);
    };
    try {
      const answer = await work();
      note({ outcome: "done", ...shown(answer) });
      return answer;
    } catch (error) {
      const reason = reasonOf(error);
      note(reason === undefined ? { outcome: "unknown" } : { outcome: "refused", reason });
      throw error;
    }
  }

  /** Notes what a look showed. */
  look(client: string, object: string, { state, key }: Look, moment: Moment): void {
    this.#item(client, object, moment, state, "GetAttributes", (payload) => {
      const shown = payload as Response<"GetAttributes">;
      return { state: stateIn(shown), attributes: valuesIn(shown) };
    });
    this.#item(client, object, moment, key, "Get", (payload) => ({
      digest: digestOf(hexOf(payload as Response<"Get">)),
    }));
  }

  /** The objects that a client has changed, or tried to, since a time. */
  changedSince(ms: number): ReadonlySet<string> {
    const from = this.#operations.findLastIndex((one) => (one.return ?? one.call) < ms) + 1;
    const since = this.#operations.slice(from);
    return new Set(since.filter(isChange).map(({ object }) => object));
  }

  /** Both regions have everything that either had acknowledged by `sinceMs`. */
  converged(sinceMs: number): void {
    this.#converged.push({ sinceMs, atMs: performance.now() });
  }

  /**
   * The history, when the circumstances of all of it are known. While it goes on, the results of all requests are known up
   * to `knownMs` only: what is answered later proves nothing, since it may show a change that is not noted yet.
   */
  history(circumstances: Circumstances, knownMs = Number.POSITIVE_INFINITY): ClientHistory {
    const doubtful = new Set<string>();
    const agreed = new Set<string>();
    const operations = this.#operations
      .flatMap((one) => knownBy(one, knownMs))
      .toSorted((one, other) => one.call - other.call)
      .map((one): Operation => {
        if (one.operation === "Destroy") agreed.add(one.object);
        const found = withStores(one, circumstances, {
          isDoubtful: doubtful.has(one.object),
          isAgreed: agreed.has(one.object),
        });
        // One that finds it done already says as much as the one that did it, which may have been alone.
        if (one.operation === "Activate" && one.outcome === "unknown") doubtful.add(one.object);
        return found;
      });
    const converged = this.#converged.map(
      ({ sinceMs: since, atMs: at }): StoreEvent => ({ event: "converged", at, since }),
    );
    const levels = circumstances.levels.map(
      ({ region, sinceMs: since, atMs: at }): StoreEvent => ({
        ...{ event: "converged", region, at, since },
      }),
    );
    const lost = regionNames.flatMap((region) =>
      // It is not served from before it is level: the other region is in reach.
      circumstances.emptied[region].map(
        (at): StoreEvent => ({ event: "storeLost", region, at, levelAt: at }),
      ),
    );
    return { regions: regionNames, operations, events: [...converged, ...levels, ...lost] };
  }

  #item(
    client: string,
    object: string,
    moment: Moment,
    item: ResponseItem,
    operation: "GetAttributes" | "Get",
    shown: (payload: unknown) => object,
  ): void {
    if (isRefused(item)) return;
    const { status, reason = "none", payload } = item;
    const came =
      status === "Success"
        ? { outcome: "done", ...shown(payload) }
        : { outcome: "refused", reason };
    this.note(client, object, moment, { operation, ...came } as Content);
  }
}

/** A request as it was known at a time. Of one that was answered later, only a change counts, as one that may have been made. */
function knownBy(one: Operation, knownMs: number): readonly Operation[] {
  const { return: returned = 0, ...asked } = one;
  if (returned <= knownMs) return [one];
  return isChange(one) ? [{ ...asked, outcome: "unknown" } as Operation] : [];
}

function cameOf(outcome: Outcome<unknown>): Pick<Operation, "outcome" | "reason"> {
  if (outcome.kind === "done") return { outcome: "done" };
  if (outcome.kind === "failed") return { outcome: "unknown" };
  if (outcome.kind === "denied") return { outcome: "refused", reason: outcome.reason };
  return { outcome: "refused", reason: "ItemNotFound" };
}

/** An operation with the store that served it, and the regions that acknowledged it, as far as they are certain. */
function withStores(
  one: Operation,
  { disturbed, served, shared }: Circumstances,
  { isDoubtful, isAgreed }: { readonly isDoubtful: boolean; readonly isAgreed: boolean },
): Operation {
  const { call, node, return: returned = call } = one;
  const region = regionNames.find((name) => name === one.region);
  if (region === undefined) return one;
  const service = served({ node, region, beganMs: call, endedMs: returned });
  const isCalm = !disturbed[region].touches(call, returned);
  // While an agreed operation is under way, reads show what either copy has.
  const isOwn = (isCalm || service === "own") && (isChange(one) || !isAgreed);
  const store = isOwn ? { store: region } : {};
  if (!isChange(one) || one.outcome !== "done") return { ...one, ...store };
  const isShared = shared(call, returned) && !(one.operation === "Activate" && isDoubtful);
  // Destroy is done in both regions, or not at all.
  const acknowledged =
    isShared || one.operation === "Destroy" ? [...regionNames] : madeIn(region, service, isCalm);
  // Where a fault may have made a node try again, it may have been made twice.
  const isOnce = isOwn || service === "own" || service === "through";
  const tries = one.operation === "SetAttribute" && !isOnce ? { tries: 2 } : {};
  return { ...one, ...store, acknowledged, ...tries };
}

/** The regions that have a change of a node of this region, as far as they are certain. */
function madeIn(region: RegionName, service: Service | undefined, isCalm: boolean): RegionName[] {
  if (isCalm || service === "own" || service === "through") return [region];
  return service === "remote" ? regionNames.filter((one) => one !== region) : [];
}
