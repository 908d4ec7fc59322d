import type { PlantedFault } from "../fault.ts";

const redis = "packages/redis/src";
const lua = `${redis}/connection/lua`;
const proof = `${redis}/proof/stored-values.ts`;
const values = "test/cluster/redis-values.test.ts";
const unit = `${redis}/proof/stored-values.test.ts`;
const promises = ["A cursor, a finished resync, a required record format"];

/** Faults in the proofs of values that are no records: cursors, levels, formats, positions of sinks, points of the chain. */
export const valueFaults: readonly PlantedFault[] = [
  {
    name: "value-without-a-place",
    kind: "protocol",
    file: proof,
    find: "mac.update(numbers).update(names[0]).update(names[1]).update(value)",
    replace: "mac.update(numbers.subarray(0, 2)).update(value)",
    rule: "a value counts only at the key and the field where it was written",
    promises,
    tests: [unit, values],
    simulated: false,
  },
  {
    name: "value-without-a-proof",
    kind: "protocol",
    file: proof,
    find: "if (!timingSafeEqual(mac, proof.subarray(2))) return false;",
    replace: "if (mac.length + 2 !== proof.length) return false;",
    rule: "a value counts only if it was made with the store's key",
    promises,
    tests: [unit, values],
    simulated: false,
  },
  {
    name: "asked-level-below-the-reached-one",
    kind: "script",
    file: `${lua}/ask-level.lua`,
    find: 'math.max(count(KEYS[2], "asked"), tonumber(ARGV[3])) + 1',
    replace: 'count(KEYS[2], "asked") + 1',
    rule: "a resync that is asked for was not reached yet, whatever somebody wrote",
    promises,
    tests: [values],
    simulated: false,
  },
  {
    name: "unproven-number-stays",
    kind: "script",
    file: `${lua}/shared/proven.lua`,
    find: "return stored and stored ~= unproven and tonumber(stored) or nil",
    replace: "return stored and tonumber(stored) or nil",
    rule: "a number that does not prove itself stands in the way of no proven one",
    promises,
    tests: [values],
    simulated: false,
  },
  {
    name: "unproven-format-stops-nodes",
    kind: "protocol",
    file: `${redis}/session/formats.ts`,
    find: "if (!this.#proves(keys, required, proof)) return;",
    replace: "",
    rule: "a required format that does not prove itself stops no node",
    promises,
    tests: [values],
    simulated: false,
  },
  {
    name: "unproven-point-passes-unseen",
    kind: "protocol",
    file: `${redis}/audit/audit-log.ts`,
    find: "this.#context.values.proves(storageKeys, place, found, event);",
    replace: "",
    rule: "a point of the audit chain that does not prove itself is reported",
    tests: [values],
    simulated: false,
  },
  {
    name: "late-cursor-of-another-store",
    kind: "script",
    file: `${lua}/set-cursor.lua`,
    find: "if not is_store(KEYS[1], ARGV[2]) then",
    replace: "if not initialised(KEYS[1]) then",
    rule: "a script of a session with another store writes nothing",
    tests: [values],
    simulated: false,
  },
];
