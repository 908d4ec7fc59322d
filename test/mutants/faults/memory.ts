import type { PlantedFault } from "../fault.ts";

const redis = "packages/redis/src";
const memory = "test/cluster/redis-memory.test.ts";
const memoryUnits = `${redis}/memory/memory.test.ts`;

/** Faults in what a node remembers of its store. */
export const memoryFaults: readonly PlantedFault[] = [
  {
    name: "memory-before-the-barrier",
    kind: "protocol",
    file: `${redis}/memory/memory-feed.ts`,
    find: "      await session.groupCommit.barrier();\n",
    replace: "",
    rule: "the memory learns only what a full barrier covers",
    promises: ["A record that a node remembers"],
    tests: [memory],
  },
  {
    name: "older-records-believed",
    kind: "access",
    file: `${redis}/memory/memory-table.ts`,
    find: "(known.facts & ~met.facts & lastingFacts) !== 0 || met.version < known.version",
    replace: "met.version < known.version",
    rule: "a remembered fact is never missing, whatever the version",
    promises: ["A record that a node remembers"],
    tests: [memoryUnits, memory],
  },
  {
    name: "missing-record-believed",
    kind: "access",
    file: `${redis}/memory/memory-table.ts`,
    find: 'if (value === null) return known === undefined ? "same" : "older";',
    replace: 'if (value === null) return "same";',
    rule: "a record that is remembered is never not found",
    promises: ["A record that a node remembers"],
    tests: [memory],
  },
  {
    name: "no-answer-is-missing",
    kind: "access",
    file: `${redis}/memory/older.ts`,
    find: "answers.map((answer) => answerOf(answer, connection) as Buffer);",
    replace:
      'answers.map((answer) => ("error" in answer ? Buffer.alloc(0) : (answer.value as Buffer)));',
    rule: "a record that Redis did not answer is neither older nor missing",
    promises: ["A record that a node remembers"],
    tests: [`${redis}/memory/store-memory.test.ts`],
  },
  {
    name: "numbers-not-compared",
    kind: "access",
    file: `${redis}/memory/store-memory.ts`,
    find: "if (partition === -1 || !isCovered || this.#doubted) return;",
    replace: "if (partition >= -1 || !isCovered || this.#doubted) return;",
    rule: "a store whose change numbers are lower than covered ones is doubted",
    promises: ["A store that is older than a node remembers"],
    tests: [`${redis}/memory/store-memory.test.ts`, memory],
  },
  {
    name: "doubt-without-a-barrier",
    kind: "protocol",
    file: `${redis}/memory/store-memory.ts`,
    find: "this.#suspected = partition !== -1 && !isCovered;\n    if (partition === -1 || !isCovered || this.#doubted) return;",
    replace:
      "this.#suspected = partition !== -1 && !isCovered;\n    if (partition === -1 || this.#doubted) return;",
    rule: "what no full barrier covers makes no lasting doubt: a primary that was replaced is not held against its successor",
    promises: ["A store that is older than a node remembers"],
    tests: [`${redis}/memory/store-memory.test.ts`],
    simulated: false,
  },
  {
    name: "doubt-refuses-nothing",
    kind: "access",
    file: "packages/regions/src/store/while-doubted.ts",
    find: "if (own.doubted() && changes > 0) throw",
    replace: "if (own.doubted() && changes < 0) throw",
    rule: "nothing is changed in a store that is doubted",
    promises: ["A store that is older than a node remembers"],
    tests: ["packages/regions/src/store/while-doubted.test.ts"],
  },
  {
    name: "made-anew-below-the-memory",
    kind: "access",
    file: `${redis}/proof/stored-records.ts`,
    find: "const before = Math.max(stored, remembered);",
    replace: "const before = Math.max(stored, remembered && 0);",
    rule: "a record that is written is newer than what is remembered of it",
    promises: ["A record that a node remembers"],
    tests: [`${redis}/proof/stored-records.test.ts`],
  },
];
