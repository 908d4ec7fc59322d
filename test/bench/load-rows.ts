import type { LoadFigures } from "./figures.ts";
import type { LoadGenerator } from "./load-generator.ts";
import type { Exchange, LoadResult, Message } from "./load-plan.ts";
import { create, discoverVersions, newKey } from "./messages.ts";
import type { Extent, Part } from "./options.ts";
import type { Side } from "./sides.ts";

/** A side, with the keys that clients ask it for. */
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
    // PyKMIP supports neither Add Attribute nor attributes that begin with x-.
    operations: ({ name }) => (name === "pykmip" ? undefined : [newKey]),
  },
];

/** Measures one row at each number of connections: the sides take turns, so that noise hits all of them. */
export async function measureRow(
  row: LoadRow,
  sides: readonly LoadSide[],
  generator: LoadGenerator,
  extent: Extent,
  report: (figures: LoadFigures) => void,
): Promise<LoadFigures[]> {
  const { rounds, warmUpMs, warmMs, measureMs } = extent;
  const able = sides.flatMap((side) => {
    const operations = row.operations(side);
    return operations === undefined ? [] : [{ side, operations }];
  });
  const load = ({ side, operations }: (typeof able)[number], connections: number, ms: number) => {
    const { targets, pids } = side;
    const { persistent } = row;
    const shared = { targets, persistent, operations, pids: pids(), warmMs };
    return generator.load({ ...shared, connections, measureMs: ms });
  };
  for (const one of able) await load(one, Math.max(...row.connections), warmUpMs);
  const all: LoadFigures[] = [];
  for (const connections of row.connections) {
    const found: Partial<Record<Side["name"], LoadResult[]>> = {};
    for (let round = 0; round < rounds; round++) {
      for (const one of able) {
        const results = found[one.side.name] ?? [];
        results.push(await load(one, connections, measureMs));
        found[one.side.name] = results;
      }
    }
    const figures = { name: row.name, title: row.title, connections, sides: found };
    report(figures);
    all.push(figures);
  }
  return all;
}
