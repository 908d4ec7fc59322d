import { setTimeout as sleep } from "node:timers/promises";
import { ConnectionError, type KmipClient, KmipClientError } from "@holdfast/client";
import type { Response } from "@holdfast/kmip";
import { until } from "@holdfast/testing";
import type { Item } from "@holdfast/ttlv";
import { expect, test } from "vitest";
import { judge } from "../linearizability/judge.ts";
import { seeded } from "../support/random.ts";
import { type RegionName, regionNames } from "../support/two-regions.ts";
import { calm } from "./calm.ts";
import type { Clients, Endpoint, Outcome } from "./clients.ts";
import { Duels } from "./duels.ts";
import { History } from "./history.ts";
import { lookAnswer } from "./look-answer.ts";
import { began } from "./moment.ts";

/** A promise that two regions break. */
type Flaw = "both succeed" | "one region later" | "one value of several";
/** A promise that they do not make: an Activate without an answer was alone, and the next one finds it done. */
type Limit = "alone at first";

interface Kept {
  state: "PreActive" | "Active" | "Destroyed";
  readonly groups: Set<string>;
  /** Since when it has this state. */
  sinceMs: number;
  /** The region that alone has its activation at first. */
  aloneIn?: RegionName;
}

/** So long that most of the other changes come meanwhile. */
const stepMs = 100;

/** Two regions in memory, over connections that lose some answers, done or not. */
class Flaky {
  readonly objects = new Map<string, Kept>();
  readonly #flaw: Flaw | Limit | undefined;
  readonly #random = seeded(3);

  constructor(flaw?: Flaw | Limit) {
    this.#flaw = flaw;
  }

  async #ask<Answer>(work: () => Promise<Answer> | Answer): Promise<Answer> {
    const dice = this.#random();
    if (dice < 0.03) throw new ConnectionError("lost", "no answer");
    const answer = await work();
    if (dice > 0.97) throw new ConnectionError("lost", "no answer");
    return answer;
  }

  #of({ uniqueIdentifier }: { readonly uniqueIdentifier: string }): Kept {
    const found = this.objects.get(uniqueIdentifier);
    if (found === undefined) throw new Error(`no ${uniqueIdentifier}`);
    return found;
  }

  async #destroy(kept: Kept): Promise<void> {
    const isActive = kept.state === "Active";
    await sleep(stepMs);
    const isRefused = this.#flaw === "both succeed" ? isActive : kept.state === "Active";
    if (isRefused || kept.state === "Destroyed") throw denied("Destroy");
    kept.sinceMs = performance.now();
    kept.state = "Destroyed";
  }

  /** Without an answer, the first time: the other region has it later. */
  #activate(kept: Kept, region: RegionName): void {
    if (kept.state === "Destroyed") throw denied("Activate");
    if (this.#flaw === "alone at first" && kept.state === "PreActive") {
      kept.aloneIn = region;
      kept.sinceMs = performance.now();
      kept.state = "Active";
      throw new ConnectionError("lost", "no answer");
    }
    kept.state = "Active";
  }

  #shown({ state, groups, sinceMs, aloneIn }: Kept, region: RegionName) {
    const isLate = this.#flaw === "one region later" && state === "Destroyed" && region === "b";
    const isAlone = aloneIn !== undefined && aloneIn !== region;
    const isHidden = (isLate || isAlone) && performance.now() - sinceMs < 3 * stepMs;
    return { state: isHidden ? ("PreActive" as const) : state, groups, note: undefined };
  }

  client(region: RegionName): KmipClient {
    type Asked = { readonly uniqueIdentifier: string };
    const client = {
      version: "1.4",
      create: () =>
        this.#ask(() => {
          const uniqueIdentifier = `key ${this.objects.size}`;
          const kept: Kept = { state: "PreActive", groups: new Set(), sinceMs: 0 };
          this.objects.set(uniqueIdentifier, kept);
          return { uniqueIdentifier } as Response<"Create">;
        }),
      destroy: (asked: Asked) => this.#ask(() => this.#destroy(this.#of(asked))),
      activate: (asked: Asked) => this.#ask(() => this.#activate(this.#of(asked), region)),
      addAttribute: ({ newAttribute, ...asked }: Asked & { newAttribute: { item: Item } }) =>
        this.#ask(() => {
          const { groups } = this.#of(asked);
          const isLost = this.#flaw === "one value of several" && groups.size === 1;
          if (!isLost) groups.add(String(newAttribute.item.value));
        }),
      request: (_: string, items: readonly { operation: string; payload: Asked }[]) =>
        this.#ask(() => ({
          items: items.map(({ operation, payload }) =>
            lookAnswer(operation, this.#shown(this.#of(payload), region)),
          ),
        })),
    };
    return client as unknown as KmipClient;
  }
}

function denied(operation: "Destroy" | "Activate"): KmipClientError {
  const failed = { status: "OperationFailed", reason: "PermissionDenied", message: "" } as const;
  return new KmipClientError({ operation, ...failed });
}

/** Clients of the regions in memory; all that duels need of them. */
function clientsOf(server: Flaky): Clients {
  const endpoints = regionNames.map(
    (region): Endpoint => ({ node: `${region}1`, region, target: { host: "", port: 0 } as never }),
  );
  const steady = async <Answer>(
    _: string,
    endpoint: Endpoint,
    work: (client: KmipClient) => Promise<Answer>,
  ): Promise<Outcome<Answer>> => {
    const moment = began(endpoint);
    try {
      const answer = await work(server.client(endpoint.region));
      return { kind: "done", answer, moment: moment() };
    } catch (error) {
      return error instanceof KmipClientError
        ? { kind: "denied", moment: moment(), reason: error.reason ?? "" }
        : { kind: "failed", moment: moment() };
    }
  };
  return { endpoints, next: () => endpoints[0], steady } as unknown as Clients;
}

/** Lets clients fight for some keys, and decides what they noted. */
async function judged(server: Flaky) {
  const history = new History();
  const duels = new Duels(clientsOf(server), history, { count: 6, seed: 1 });
  const operations = () => history.recorder.history(calm).operations;
  await until("every way in which a duel ends", () => {
    const done = (name: string, outcome: string) =>
      operations().filter((one) => one.operation === name && one.outcome === outcome).length >= 8;
    const names = ["Destroy", "Activate", "AddAttribute"];
    return names.every((name) => done(name, "done")) && done("Activate", "refused");
  });
  await duels.stop();
  const { violations, undecided } = judge(history.recorder.history(calm));
  const told = history.judge(calm).map(({ kind, text }) => `${kind}: ${text}`);
  return [...violations, ...undecided, ...told];
}

test("what clients note of two regions that keep their promises is linearizable", async () => {
  expect(await judged(new Flaky())).toEqual([]);
});

test("what a try without an answer may have done alone is not taken for shared", async () => {
  expect(await judged(new Flaky("alone at first"))).toEqual([]);
});

test.each<readonly [Flaw, RegExp]>([
  ["both succeed", /no order explains (Destroy|Activate|GetAttributes)/],
  ["one region later", /no order explains GetAttributes/],
  ["one value of several", /no order explains GetAttributes/],
])("of regions where %s, it is not", async (flaw, found) => {
  expect((await judged(new Flaky(flaw))).join("\n")).toMatch(found);
});
