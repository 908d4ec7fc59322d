import { randomUUID } from "node:crypto";
import { ConnectionError } from "@holdfast/client";
import { UnexpectedAnswer, VcenterSession } from "@holdfast/workbench";
import { expect, test } from "vitest";
import { say } from "../support/load.ts";
import { steadyStore } from "../support/region.ts";
import { startTwoRegions } from "../support/two-regions.ts";
import { credentialsOf } from "../support/two-regions-clients.ts";
import { allWell, vitalsOf } from "../support/vitals.ts";

const instance = "vcenter";
const flows = 2_000;
const together = 24;
const product = {
  "x-Product_Version": "7.0.3 build-19480866",
  "x-Vendor": "VMware, Inc.",
  "x-Product": "VMware vSphere",
};

/** Each vCenter task has its own connection, and the endpoints take turns. */
class Turns {
  readonly #endpoints: readonly string[];
  readonly #tls: ReturnType<typeof credentialsOf>;
  /** Begins at any endpoint, so that each step of a flow runs at each endpoint. */
  #turn: number;

  constructor(endpoints: readonly string[], tls: ReturnType<typeof credentialsOf>, first: number) {
    this.#endpoints = endpoints;
    this.#tls = tls;
    this.#turn = first;
  }

  async task<Answer>(work: (session: VcenterSession) => Promise<Answer>): Promise<Answer> {
    const endpoint = this.#endpoints[this.#turn % this.#endpoints.length] ?? "";
    this.#turn += 1;
    const options = { tls: this.#tls, answered: () => undefined };
    await using session = await VcenterSession.begin(endpoint, options);
    return await work(session);
  }
}

/** Makes a key and reads it again as vCenter does; throws if an answer lacks an earlier write. */
async function flow(turns: Turns): Promise<void> {
  const id = await turns.task((session) => session.create());
  await turns.task((session) => describeKey(session, id, product));
  const bytes = await turns.task(async (session) => {
    const seen = await session.get(id);
    const state = await session.state(id);
    if (state !== "PreActive") throw new Error(`the new key is ${state}`);
    await session.activate(id);
    return seen;
  });
  const machine = {
    "x-Identifier": randomUUID(),
    "x-Component": "Virtual Machine",
    "x-Name": "vm",
  };
  await turns.task((session) => describeKey(session, id, machine));
  await turns.task(async (session) => {
    if ((await session.get(id)) !== bytes) throw new Error("other bytes");
    const state = await session.state(id);
    if (state !== "Active") throw new Error(`activated, but ${state}`);
    for (const name of [...Object.keys(product), ...Object.keys(machine)]) {
      const count = await session.count(id, name);
      if (count !== 1) throw new Error(`${name} ${count} times`);
    }
  });
}

/** Whether there was no connection, or the answer was "cannot tell", which asks to try again. */
function isUnanswered(error: unknown): boolean {
  return (
    error instanceof ConnectionError ||
    (error instanceof UnexpectedAnswer && error.message.includes("GeneralFailure: cannot tell"))
  );
}

async function describeKey(
  session: VcenterSession,
  id: string,
  values: Readonly<Record<string, string>>,
): Promise<void> {
  for (const name of Object.keys(values)) {
    const count = await session.count(id, name);
    if (count !== 0) throw new Error(`${name} already there, ${count} times`);
  }
  await session.addAttributes(id, values);
}

test(`in ${flows} new-key flows over four endpoints, with 40 ms each way between the regions, each step sees the ones before`, async () => {
  // On a busy machine changes may be acknowledged alone; such changes need not be visible at once.
  const settings = { peer: { pushTimeoutMs: 5_000 }, store: steadyStore };
  const shape = { instances: [instance], replicas: 1, wanMs: 40, settings };
  await using both = await startTwoRegions(shape);
  await allWell(both);
  const tls = credentialsOf(both, instance);
  const violations: string[] = [];
  let begun = 0;
  let unanswered = 0;
  let waiting: Promise<void> | undefined;
  const ready = async () => {
    waiting ??= allWell(both).finally(() => {
      waiting = undefined;
    });
    await waiting;
  };
  const began = performance.now();
  const counted = async () => {
    const vitals = await Promise.all(both.nodes.map(vitalsOf));
    const sum = (what: "shared" | "alone") => vitals.reduce((all, one) => all + one[what], 0);
    return { shared: sum("shared"), alone: sum("alone") };
  };
  let knownAlone = 0;
  const worker = async () => {
    while (begun < flows) {
      const turns = new Turns(both.endpoints, tls, begun++);
      const before = knownAlone;
      try {
        await flow(turns);
      } catch (error) {
        let isExcused = isUnanswered(error);
        if (!isExcused) {
          knownAlone = (await counted()).alone;
          isExcused = knownAlone > before;
        }
        // A busy machine may not answer in time, or one region acknowledge a change alone. Such a flow proves nothing;
        // another replaces it.
        if (isExcused && unanswered++ < flows) {
          begun -= 1;
          await ready();
        } else {
          violations.push(String(error));
        }
      }
    }
  };
  await Promise.all(Array.from({ length: together }, worker));
  const seconds = (performance.now() - began) / 1000;
  const { shared, alone } = await counted();
  say(
    `${flows} flows in ${Math.round(seconds)} s, ${unanswered} more that prove nothing; ${shared} records shared, ${alone} alone`,
  );
  expect(violations.slice(0, 20)).toEqual([]);
});
