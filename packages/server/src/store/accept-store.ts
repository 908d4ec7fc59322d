import type { MemorySurvey } from "@holdfast/redis";
import { type GivenApprovals, withLocalApprovals } from "../approvals/local-approvals.ts";
import { OperatorError } from "../base/operator-error.ts";
import type { Machine } from "../base/system.ts";
import { loadConfig } from "../config/config.ts";
import { appendTo, withEvidence } from "./operator-evidence.ts";
import { atRegions, met, type OpenedRegions } from "./region-commands.ts";

/** What an operator accepts, and how the command asks. */
export interface AcceptWish {
  /** The record whose state in the store counts, also that there is none; the whole store unless given. */
  readonly record?: string | undefined;
  readonly approvals?: GivenApprovals;
  readonly say: (line: string) => void;
  /** Returns if the operator confirms that this counts; else throws. */
  readonly confirm: (what: string) => Promise<void>;
}

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * Lets what is genuine in this region's store count, although its nodes remember more: shows what this node's memory has and
 * the store has not, and asks first. Every node of the region then begins its memory anew, of the store or of the record.
 */
export async function acceptStore(
  configFile: string,
  machine: Machine,
  { record, approvals = {}, say, confirm }: AcceptWish,
): Promise<string> {
  const { store, region } = loadConfig(configFile);
  if (store.memoryFile === undefined) {
    throw new OperatorError(
      "store.memoryFile: is not set: this node remembers nothing; run this at a node that does",
    );
  }
  if (record !== undefined && !uuid.test(record)) {
    throw new OperatorError(`--record ${record}: is not an identifier of a record (a UUID)`);
  }
  return await atRegions(configFile, machine, async (opened) => {
    const { own, node } = opened;
    const survey = await own.surveyMemory(record);
    if (survey.records === 0) {
      throw new OperatorError(
        `store.memoryFile: ${store.memoryFile} has nothing about this store; run this at a node that remembers it`,
      );
    }
    const what = record === undefined ? `the store of region ${region}` : `record ${record}`;
    if (survey.older + survey.missing === 0) {
      return `this node remembers nothing newer of ${what} than the store has (nothing to do)`;
    }
    for (const line of shown(survey)) say(line);
    await sayWhoServes(opened, say);
    await confirm(record ?? region);
    const { older, missing, lost } = survey;
    const target = record ?? region;
    const act = { action: "store.accept", target, detail: { older, missing, ...lost } } as const;
    const call = record === undefined ? {} : { record };
    const guarded = { operation: "store accept", target, call } as const;
    await withLocalApprovals({ own, region, node, machine }, guarded, approvals, () =>
      withEvidence(appendTo(own), machine, act, () => own.accept(record)),
    );
    return `${what} is accepted as it is: each node of region ${region} begins its memory of it anew within seconds, and one that is down when it starts`;
  });
}

/** What this node remembers and the store has not. */
function shown({ records, older, missing, lost, ids }: MemorySurvey): readonly string[] {
  const facts = [
    [lost.destroyed, "destructions: those keys are back"],
    [lost.compromised, "revocations"],
    [lost.deactivated, "deactivations"],
  ] as const;
  return [
    `of ${records} records that this node remembers, ${older} are older in the store, and ${missing} are missing`,
    ...facts.flatMap(([count, what]) => (count === 0 ? [] : [`lost with them: ${count} ${what}`])),
    `among them: ${ids.join(", ")}`,
    "clients, tokens and denials that were removed or added since then are as they were before",
  ];
}

/** Another region that serves has what this store lacks, and the leader fetches it. */
async function sayWhoServes(
  { peer, timers }: OpenedRegions,
  say: (line: string) => void,
): Promise<void> {
  if (peer === undefined) return;
  await met(peer, timers);
  if (peer.state() !== "up" || peer.lastHello?.hello.serving !== true) return;
  say(
    `region ${peer.region} serves, and this store is filled from it: wait for that, unless these records stay older for more than a few minutes`,
  );
}
