import type { AdminClient } from "@holdfast/admin";
import { printable } from "@holdfast/admin/approval-text";
import type { ObjectTypeName } from "@holdfast/kmip";
import { attributes, attributeValue } from "@holdfast/kmip";
import { OperatorError } from "@holdfast/server/operator-error";
import type { Item } from "@holdfast/ttlv";
import { eachOf } from "../terminal/each.ts";
import { Failure, reasonOf } from "../terminal/failure.ts";
import { say } from "../terminal/lines.ts";
import { type Plan, type PlanRow, targetId } from "./files/plan-file.ts";
import { failedLines, type ReportFile, type ReportLine } from "./files/report-file.ts";
import { importAll, type Ready, type Result, readyOf, sentMax } from "./importer.ts";
import { digestOf, fetched, TransportKey, wipe } from "./material.ts";
import type { Patience, Surroundings } from "./patience.ts";
import type { Peer } from "./peer.ts";
import { isPlanned, standing } from "./plan-row.ts";
import { Pace, Progress } from "./progress.ts";

/** What a run needs; `patience` is that of the management API. */
export interface Run {
  readonly plan: Plan;
  readonly source: Peer;
  readonly admin: AdminClient;
  readonly patience: Patience;
  readonly report: ReportFile;
  readonly around: Surroundings;
  /** Keys in a second; no limit if undefined. */
  readonly rate: number | undefined;
}

/** How many objects are read at the same time, as many as the client has connections. */
const readsAtOnce = 4;
/** One part is read while another one is imported. */
const partsAtOnce = 2;
/** How often an object is sent again that the instance could not decide about. */
const undecidedMax = 5;
const undecidedWaitMs = 1_000;

/** Done for good; every other outcome is tried again by the next run. */
const finished: readonly string[] = ["Imported", "AlreadyThere"];

/** The objects of a plan that are still to be moved. */
export function openRows(
  rows: readonly PlanRow[],
  lines: ReadonlyMap<string, ReportLine>,
): readonly PlanRow[] {
  return rows.filter(({ id, comes }) => comes && !finished.includes(lines.get(id)?.outcome ?? ""));
}

/** Moves what the plan says and the report does not have yet. Each part is in the report before the next one begins. */
export async function run(work: Run): Promise<void> {
  const { plan, report, around, source } = work;
  const open = openRows(plan.rows, report.lines);
  const before = plan.rows.filter(({ comes }) => comes).length - open.length;
  if (before > 0) say(`${before} objects are there already, as the report says`);
  if (open.length === 0) return ended(work, []);
  using transport = plan.header.transportKey
    ? await TransportKey.register(source, around.newId)
    : undefined;
  if (transport !== undefined) {
    say(
      `the source wraps keys with the transport key ${printable(transport.id)}, which stays there: destroy it at the source when the move is done`,
    );
  }
  const mover = new Mover(work, transport);
  using progress = new Progress("moved", open.length, around);
  await eachOf(partsOf(open), partsAtOnce, async (part) => {
    report.add(await mover.move(part));
    progress.add(part.length);
  });
  progress[Symbol.dispose]();
  ended(work, mover.lines);
}

function partsOf(rows: readonly PlanRow[]): readonly (readonly PlanRow[])[] {
  const count = Math.ceil(rows.length / sentMax);
  return Array.from({ length: count }, (_, at) => rows.slice(at * sentMax, (at + 1) * sentMax));
}

class Mover {
  readonly #work: Run;
  readonly #transport: TransportKey | undefined;
  readonly #pace: Pace;
  readonly #becomes: ReadonlyMap<string, string>;
  /** Since when the instance has decided about no object of a part. */
  #undecidedMs: number | undefined;
  /** The lines of this run. */
  readonly lines: ReportLine[] = [];

  constructor(work: Run, transport: TransportKey | undefined) {
    this.#work = work;
    this.#transport = transport;
    this.#pace = new Pace(work.rate, work.around);
    this.#becomes = new Map(
      work.plan.rows.flatMap(({ id, becomes }) => (becomes === undefined ? [] : [[id, becomes]])),
    );
  }

  /** Moves a part; an object that fails is a line, and an error ends the run. */
  async move(rows: readonly PlanRow[]): Promise<readonly ReportLine[]> {
    const ready: Ready[] = [];
    const lines: ReportLine[] = [];
    await eachOf(rows, readsAtOnce, async (row) => {
      await this.#pace.turn();
      const read = await this.#read(row);
      if (typeof read === "string") lines.push(this.#line(row, { outcome: "Left", reason: read }));
      else ready.push(read);
    });
    lines.push(...(await this.#sent(ready)));
    this.lines.push(...lines);
    return lines;
  }

  async #sent(ready: readonly Ready[]): Promise<readonly ReportLine[]> {
    const { admin, around, patience, plan } = this.#work;
    const lines: ReportLine[] = [];
    let open = ready;
    for (let tries = 1; open.length > 0; tries++) {
      const results = await importAll(admin, plan.header.instance.id, open, patience);
      // Later tries have only what is undecided, which one broken record may be.
      if (tries === 1) this.#requireDecisions(results);
      const undecided: Ready[] = [];
      for (const [at, one] of open.entries()) {
        const result = results[at];
        if (result?.identifier !== one.sent.identifier) throw new Failure(mixed);
        if (result.outcome === "TryAgain" && tries < undecidedMax) undecided.push(one);
        else lines.push(this.#lineOf(one, result));
      }
      open = undecided;
      if (open.length > 0) await around.sleep(undecidedWaitMs * tries);
    }
    return lines;
  }

  /** Ends a run whose instance decides about nothing any more: it may be full, or a region is cut off. */
  #requireDecisions(results: readonly Result[]): void {
    const { around, patience, plan } = this.#work;
    const [first] = results;
    if (first === undefined || results.some(({ outcome }) => outcome !== "TryAgain")) {
      this.#undecidedMs = undefined;
      return;
    }
    this.#undecidedMs ??= around.now();
    if (around.now() - this.#undecidedMs < patience.ms) return;
    throw new OperatorError(
      `${plan.header.instance.name} takes nothing now: ${reasonOf(first.reason ?? "it gives no reason")}; give the same command again to continue`,
      "again",
    );
  }

  /** Reads an object as it is at the source now; the reason if it cannot be moved any more. */
  async #read(row: PlanRow): Promise<Ready | string> {
    const { source } = this.#work;
    const described = await source.describe(row.id);
    if ("refused" in described) {
      return described.gone
        ? "it is not at the source any more"
        : `the source does not show its attributes: ${described.refused}`;
    }
    const why = standing(described.items, this.#transport !== undefined);
    if (why !== undefined) return why;
    if (!isPlanned(described.items, row)) {
      return "the source has another object under this identifier: make a new plan";
    }
    const hidden = described.unread.filter((word) => row.unread?.includes(word) !== true);
    if (hidden.length > 0) {
      return `the source's ${hidden.join(", ")} cannot be read now, and could be read for the plan: give the same command again, or make a new plan`;
    }
    const object = await fetched(source, row.id, row.type as ObjectTypeName, this.#transport);
    try {
      if ("refused" in object) return `the source does not give it: ${object.refused}`;
      const digest = digestOf(object);
      if (contradicts(described.items, digest)) {
        return "the key is not the one whose Digest the source shows: the source is damaged";
      }
      return readyOf(row, described.items, object, digest, { becomes: this.#becomes });
    } finally {
      wipe(object);
    }
  }

  #lineOf({ row, left, digest }: Ready, result: Result): ReportLine {
    const isDone = finished.includes(result.outcome);
    if (isDone && digest !== undefined && result.digest !== undefined && digest !== result.digest) {
      const reason = "the two sides have different keys, although the instance says that it has it";
      return this.#line(row, { outcome: "Differs", reason });
    }
    const lost = [...new Set([...left, ...(result.left ?? []), ...(row.unread ?? [])])];
    return this.#line(row, {
      outcome: result.outcome,
      ...(result.reason === undefined ? {} : { reason: reasonOf(result.reason) }),
      ...(isDone && digest !== undefined && result.digest !== undefined
        ? { digests: { source: digest, target: result.digest } }
        : {}),
      // The instance compares by itself what has no digest that may be shown.
      ...(isDone && result.digest === undefined ? { compared: true as const } : {}),
      ...(lost.length === 0 ? {} : { left: lost }),
    });
  }

  #line(row: PlanRow, rest: Omit<ReportLine, "id" | "becomes" | "at">): ReportLine {
    return {
      id: row.id,
      becomes: targetId(row),
      ...rest,
      at: this.#work.around.date().toISOString(),
    };
  }
}

const mixed =
  "the instance answered for other objects than those that were sent: is every node of the same release?";

/** Whether the source's own Digest of the key, if it has one, is another one. */
function contradicts(items: readonly Item[], digest: string | undefined): boolean {
  if (digest === undefined) return false;
  const own = items
    .filter(({ tag }) => tag === attributes.Digest.tag)
    .map((item) => attributeValue("Digest", item))
    .filter(
      ({ hashingAlgorithm, keyFormatType, digestValue }) =>
        hashingAlgorithm === "SHA_256" && keyFormatType === "Raw" && digestValue !== undefined,
    );
  return own.some(({ digestValue }) => Buffer.from(digestValue ?? []).toString("hex") !== digest);
}

/** Says what was moved and what was not; ends with an error if something was not. */
function ended({ plan }: Run, lines: readonly ReportLine[]): void {
  const failed = lines.filter(({ outcome }) => !finished.includes(outcome));
  const all = plan.rows.filter(({ comes }) => comes).length;
  say(failedLines(failed));
  const count = (outcome: string) => lines.filter((one) => one.outcome === outcome).length;
  say(
    all === 0
      ? "the plan moves no objects: nothing to do"
      : `${all - failed.length} of ${all} objects are in ${plan.header.instance.name}: ${count("Imported")} imported now, ${count("AlreadyThere")} found there`,
  );
  if (failed.length === 0) return;
  const undecided = failed.every(({ outcome }) => outcome === "TryAgain");
  throw new OperatorError(
    `${failed.length} objects were not moved (see above): ${undecided ? "give the same command again" : "the reasons say what to change; then give the same command again"}`,
    undecided ? "again" : "conflicting",
  );
}
