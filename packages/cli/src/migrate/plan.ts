import type { AdminClient } from "@holdfast/admin";
import { printable } from "@holdfast/admin/approval-text";
import { OperatorError } from "@holdfast/server/operator-error";
import { eachOf } from "../terminal/each.ts";
import { Failure } from "../terminal/failure.ts";
import { say } from "../terminal/lines.ts";
import { listLines } from "../terminal/print.ts";
import { type PlanRow, writePlan } from "./files/plan-file.ts";
import { countFault } from "./inventory.ts";
import { type Patience, patiently, type Surroundings } from "./patience.ts";
import type { Described, Peer, Refused } from "./peer.ts";
import {
  isSensitive,
  type Judge,
  newIdentifier,
  type Present,
  rowOf,
  shownRow,
} from "./plan-row.ts";
import { Progress } from "./progress.ts";

/** What a plan is made of. */
export interface Planning {
  readonly path: string;
  readonly source: Peer;
  readonly endpoints: readonly string[];
  readonly admin: AdminClient;
  /** That of the management API. */
  readonly patience: Patience;
  readonly instance: string;
  readonly transportKey: boolean;
  readonly newIdentifiers: boolean;
  readonly dropsNames: boolean;
  readonly pageSize: number;
  readonly around: Surroundings;
}

const columns = [
  ...["ID=id", "TYPE=type", "STATE=state", "ALGORITHM=algorithm", "BITS=length", "NAMES=names"],
  "COMES=comes",
];
const shownMax = 100;
const readsAtOnce = 4;

/** Reads everything but material at the source, and writes what will come and what will not, and why. */
export async function plan(wanted: Planning): Promise<void> {
  const { around, path, source } = wanted;
  const { id, name } = await installed(wanted.admin, wanted.instance, wanted.patience);
  const { vendor, version } = await source.about();
  say(
    `source: ${vendor === "" ? "a server that does not say what it is" : printable(vendor)}, KMIP ${version}`,
  );
  if (!wanted.transportKey) {
    say(
      "keys will be protected by TLS alone on their way; --transport-key has the source wrap them too",
    );
  }
  const found = await source.identifiers(wanted.pageSize);
  if (found.repeated > 0) say(`note: the source named ${found.repeated} objects twice`);
  const read = await described(source, found.ids, around);
  const present = await presentIn(wanted, id);
  const judge: Judge = {
    present,
    names: namesOf(present),
    wrapped: wanted.transportKey,
    newId: wanted.newIdentifiers ? (own) => newIdentifier(id, own) : undefined,
    dropsNames: wanted.dropsNames,
  };
  const rows = read.map((one) => rowOf(one, judge));
  const counted = found.counted === undefined ? {} : { counted: found.counted };
  writePlan(
    path,
    {
      madeAt: around.date().toISOString(),
      source: { endpoints: [...wanted.endpoints], version, vendor, ...counted },
      instance: { id, name },
      transportKey: wanted.transportKey,
    },
    rows,
  );
  say(linesOf(rows), `${path} has the plan`);
  const gone = found.ids.length - read.length;
  if (gone > 0) say(`note: ${gone} objects went while the plan was made`);
  const fault = countFault(found, source.who);
  if (fault !== undefined) throw new Failure(`${fault}; the plan has those that it lists`);
}

/** The instance, which must be ready for keys. */
export async function installed(admin: AdminClient, instance: string, patience: Patience) {
  const { id, name, status } = await patiently(patience, () =>
    admin.call("readInstance", { params: { instance } }),
  );
  if (status === "Installed") return { id, name };
  throw new OperatorError(
    `instance ${name} is ${status}: give the command again when it is Installed`,
    "conflicting",
  );
}

/** Every object with its attributes, in the order of the list; without those that went meanwhile. */
async function described(
  source: Peer,
  ids: readonly string[],
  around: Surroundings,
): Promise<readonly (Described | Refused)[]> {
  const read = new Map<string, Described | Refused>();
  using progress = new Progress("read", ids.length, around);
  await eachOf(ids, readsAtOnce, async (id) => {
    const one = await source.describe(id);
    progress.add(1);
    if (!("refused" in one && one.gone)) read.set(id, one);
  });
  return ids.flatMap((id) => read.get(id) ?? []);
}

async function presentIn(
  { admin, patience }: Planning,
  instance: string,
): Promise<Map<string, Present>> {
  const pageAfter = (cursor: string | undefined) =>
    patiently(patience, () =>
      admin.call("listKeys", {
        params: { instance },
        query: { limit: 1000, ...(cursor !== undefined && { cursor }) },
      }),
    );
  const present = new Map<string, Present>();
  let cursor: string | undefined;
  do {
    const { items, next } = await pageAfter(cursor);
    for (const key of items) present.set(key.id, key);
    cursor = next;
  } while (cursor !== undefined);
  return present;
}

/** Destroyed objects have given their names back. */
function namesOf(present: ReadonlyMap<string, Present>): Map<string, string> {
  const live = [...present.values()].filter(({ state }) => !state.startsWith("Destroyed"));
  return new Map(live.flatMap(({ id, names }) => names.map((name) => [name, id] as const)));
}

function linesOf(rows: readonly PlanRow[]): readonly string[] {
  // What does not come, or cannot be got then, is what a person has to read.
  const rank = (row: PlanRow) => Number(row.comes) * (isSensitive(row) ? 1 : 2);
  const sorted = rows.toSorted((one, other) => rank(one) - rank(other));
  const shown = sorted.slice(0, shownMax);
  const comes = rows.filter((one) => one.comes);
  const sensitive = comes.filter(isSensitive).length;
  return [
    ...listLines(shown.map(shownRow), { columns }).lines,
    ...(rows.length > shown.length
      ? [`… and ${rows.length - shown.length} more, which the plan has`]
      : []),
    rows.length === 0
      ? "the source has no objects: there is nothing to move"
      : `${rows.length} objects: ${comes.length} come, ${rows.length - comes.length} do not`,
    ...(sensitive > 0
      ? [
          `${sensitive} of those that come are sensitive: an instance gives them to no client, and verify will name them; re-key what uses them`,
        ]
      : []),
  ];
}
