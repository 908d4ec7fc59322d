import type { PlantedFault } from "../fault.ts";

const approvals = "packages/server/src/approvals";
const attacks = [`${approvals}/attacks.test.ts`];

/** What a compromised region could have the other one take with a request that was used. */
const common = {
  kind: "access",
  file: `${approvals}/join-rules.ts`,
  promises: ["Where an approval policy is in force, a region takes from the other one a change"],
  tests: [`${approvals}/join-rules.test.ts`],
} as const;

/** Faults by which a request for approvals works more than once, or the other region's requests stop this one. */
export const replayFaults: readonly PlantedFault[] = [
  {
    ...common,
    name: "join-destroys-again-after-a-restore",
    find: "if ((until + 1) * 1000 - lifeMs <= (need.sinceMs ?? 0)) return false;",
    replace: "",
    rule: "a request from before a restore does not destroy the key again",
  },
  {
    ...common,
    name: "join-after-the-use",
    find: "if (isUseOver(record, need)) return false;",
    replace: "",
    rule: "a request whose use has ended allows no later change",
  },
  {
    ...common,
    name: "join-moves-the-end-of-a-use",
    find: 'if (use?.state === "done" && !isDeepStrictEqual(use, after.use)) {',
    replace: 'if (use?.state === "done" && after.use?.state !== "done") {',
    rule: "the other region does not say that a use ended later",
  },
  {
    ...common,
    name: "join-shreds-again",
    file: `${approvals}/needed.ts`,
    find: "            made: order.id,\n",
    replace: "",
    rule: "one request makes one order to shred",
    tests: attacks,
  },
  {
    ...common,
    name: "shred-without-the-request",
    file: "packages/server/src/roots/root-handlers.ts",
    find: "const applied = await orders.shred(call, instance, call.newId);",
    replace: "const applied = await orders.shred(call, instance);",
    rule: "an order to shred has the identifier of its request",
    tests: ["packages/server/src/roots/root-handlers.test.ts"],
  },
  {
    ...common,
    name: "join-of-endless-requests",
    find: 'if (untilMs > nowMs + lifeMs + graceMs) return "it ends too late";',
    replace: "",
    rule: "a request of the other region ends after a day",
    tests: attacks,
  },
  {
    ...common,
    name: "join-in-the-name-of-this-region",
    find: "if (version !== undefined && isApproved(after, version)) return undefined;",
    replace: "if (version !== undefined) return undefined;",
    rule: "the other region makes no requests in the name of this one",
    tests: attacks,
  },
  {
    ...common,
    name: "other-region-fills-all-places",
    file: `${approvals}/requests.ts`,
    find: "const isHere = madeIn(view.record(record.id)) === region;",
    replace: 'const isHere = madeIn(view.record(record.id)) !== "";',
    rule: "requests of the other region fill no place here",
    tests: attacks,
  },
  {
    ...common,
    name: "end-of-a-use-not-tried-again",
    file: `${approvals}/requests.ts`,
    find: "if (isLate || (await this.#mark(id, use, events, endMs))) clearInterval(again);",
    replace: "if (isLate || again.hasRef()) clearInterval(again);",
    rule: "that a use is over is written as soon as it can be",
    promises: ["Where an approval policy is in force, a call that it names is carried out only"],
    tests: attacks,
  },
];
