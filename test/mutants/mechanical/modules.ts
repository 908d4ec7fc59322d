/** A module whose mechanical mutants are made, and the unit tests that should find them. */
export interface MutatedModule {
  readonly name: string;
  readonly file: string;
  readonly tests: readonly string[];
}

const regions = "packages/regions/src";
const record = "packages/engine/src/record/lifecycle";
const session = "packages/redis/src/session/lease";

/** Every module that Stryker changes; the quickest first. */
export const mutatedModules: readonly MutatedModule[] = [
  { name: "lifecycle", file: `${record}.ts`, tests: [`${record}.test.ts`] },
  { name: "lease", file: `${session}.ts`, tests: [`${session}.test.ts`] },
  {
    name: "serving",
    file: `${regions}/serving/serving.ts`,
    tests: [`${regions}/serving/serving.test.ts`],
  },
  {
    name: "join",
    file: `${regions}/join/join.ts`,
    tests: [`${regions}/join/join.property.test.ts`, `${regions}/join/join-seals.test.ts`],
  },
  {
    name: "merge",
    file: `${regions}/join/merge.ts`,
    tests: ["merge", "merge-calls", "merge-proof", "heal"].map(
      (name) => `${regions}/join/${name}.test.ts`,
    ),
  },
  {
    name: "agreed",
    file: `${regions}/store/agreed.ts`,
    tests: ["agreed", "agreed-calls", "agreed-copies"].map(
      (name) => `${regions}/store/${name}.test.ts`,
    ),
  },
];
