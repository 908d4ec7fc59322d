import type { LoadFigures } from "./figures.ts";
import type { LoadGenerator } from "./load-generator.ts";
import type { Exchange, LoadPlan, LoadResult, Message } from "./load-plan.ts";
import { create, discoverVersions, newKey } from "./messages.ts";
import type { Extent, Part } from "./options.ts";
import type { Side } from "./sides.ts";

/** A side with the keys that it is asked for. */
export interface LoadSide extends Side {
  readonly gets: readonly Message[];
}

interface LoadRow {
  readonly name: Part;
  readonly title: string;
  readonly connections: readonly number[];
  readonly persistent: boolean;
  /** The operations of the workers; undefined where the side cannot do them. */
  readonly operations: (side: LoadSide) => readonly (readonly Exchange[])[] | undefined;
}

/** Every kind of load that is measured. */
export const loadRows: readonly LoadRow[] = [
  {
    name: "get",
    title: "Get",
    connections: [1, 8, 32, 64],
    persistent: true,
    operations: ({ gets }) => gets.map((message) => [[message]]),
  },
  {
    name: "create",
    title: "Create",
    connections: [1, 8, 32, 64],
    persistent: true,
    operations: () => [[[create]]],
  },
  {
    name: "connect",
    title: "new connection, Discover Versions, Get",
    connections: [1, 16],
    persistent: false,
    operations: ({ gets }) => gets.map((message) => [[discoverVersions, message]]),
  },
  {
    name: "new-key",
    title: "vCenter's new key, four connections",
    connections: [1, 8],
    persistent: false,
    // PyKMIP knows neither Add Attribute nor attributes that begin with x-.
    operations: ({ name }) => (name === "pykmip" ? undefined : [newKey]),
  },
];

/** Measures one row at one number of connections: the sides take turns, so that noise hits all of them. */
export async function measureLoad(
  row: LoadRow,
  connections: number,
  sides: readonly LoadSide[],
  generator: LoadGenerator,
  extent: Extent,
): Promise<LoadFigures> {
  const { name, title, persistent } = row;
  const able = sides.flatMap((side) => {
    const operations = row.operations(side);
    return operations === undefined ? [] : [{ side, operations }];
  });
  const found: Partial<Record<Side["name"], LoadResult[]>> = {};
  for (let round = 0; round < extent.rounds; round++) {
    for (const { side, operations } of able) {
      const { warmMs, measureMs } = extent;
      const shared = { connections, persistent, operations, warmMs, measureMs };
      const plan: LoadPlan = { ...shared, targets: side.targets, pids: side.pids() };
      const rounds = found[side.name] ?? [];
      rounds.push(await generator.load(plan));
      found[side.name] = rounds;
    }
  }
  return { name, title, connections, sides: found };
}
