import { KmipClientError } from "@holdfast/client";
import { KmipError, type ObjectTypeName } from "@holdfast/kmip";
import { OperatorError } from "@holdfast/server/operator-error";
import { eachOf } from "../terminal/each.ts";
import { Failure, reasonOf } from "../terminal/failure.ts";
import { say } from "../terminal/lines.ts";
import {
  failedLines,
  type ReportFile,
  type ReportLine,
  type Subject,
} from "./files/report-file.ts";
import { countFault, neverSettled, passesMax } from "./inventory.ts";
import { digestOf, fetched, isSame, TransportKey, wipe } from "./material.ts";
import type { Surroundings } from "./patience.ts";
import type { Peer } from "./peer.ts";
import { firstOf, isNoLoss, standing } from "./plan-row.ts";
import { Pace, Progress } from "./progress.ts";
import { decisiveOf, type Given, missingOf, type Registered, Registrar } from "./registrar.ts";
import { serverName } from "./sides.ts";

/** What is exported. */
export interface Exporting {
  readonly source: Peer;
  readonly target: Peer;
  readonly report: Pick<ReportFile, "lines" | "add">;
  readonly transportKey: boolean;
  readonly pageSize: number;
  readonly rate: number | undefined;
  readonly dryRun: boolean;
  readonly around: Surroundings;
}

type Outcome = Omit<ReportLine, "id" | "at">;

const done: readonly string[] = ["Imported", "Registered", "AlreadyThere"];
/** Said before an object is given, so that a killed command looks for it before it gives it again. */
const begun = "Begun";
const atOnce = 4;

const exportFrom = "export from ";

/**
 * What the report of an export is about. It is the same export while it has one server in common with the first command at each
 * side: another order, a node more or less. `sameServers`: the servers are the same under other names.
 */
export function exportSubject(
  sources: readonly string[],
  targets: readonly string[],
  sameServers: boolean,
): Subject {
  return {
    of: `${exportFrom}${sources.join(",")}`,
    target: targets.join(","),
    includes: ({ of, target }) =>
      of.startsWith(exportFrom) &&
      (sameServers || (shares(of.slice(exportFrom.length), sources) && shares(target, targets))),
    otherwise: "--same-servers if the servers are the same under other names",
  };
}

function shares(known: string, given: readonly string[]): boolean {
  const names = new Set(known.split(",").map(serverName));
  return given.some((one) => names.has(serverName(one)));
}

/**
 * Gives every object of the source to the target, by Import or Register; the report maps identifiers. What is made at the source
 * meanwhile is given too: the list is read again until a reading finds nothing new.
 */
export async function exportAll(work: Exporting): Promise<void> {
  const { report, source } = work;
  const isOpen = (id: string) => !done.includes(report.lines.get(id)?.outcome ?? "");
  let found = await source.identifiers(work.pageSize);
  let open = found.ids.filter(isOpen);
  let before = found.ids.length - open.length;
  const keeps = await work.target.takesImport();
  say(
    `${found.ids.length} objects, ${before} of them in the report as done; ${keeps ? "the target keeps identifiers (Import)" : "the target gives each a new identifier (Register)"}`,
  );
  if (work.dryRun) return;
  using transport =
    work.transportKey && open.length > 0
      ? await TransportKey.register(source, work.around.newId)
      : undefined;
  const exporter = new Exporter(work, transport);
  const known = new Set([...found.ids, ...(transport === undefined ? [] : [transport.id])]);
  for (let pass = 1; open.length > 0 && pass <= passesMax; pass++) {
    await exporter.all(open);
    found = await source.identifiers(work.pageSize);
    const made = found.ids.filter((id) => !known.has(id));
    for (const id of made) known.add(id);
    open = made.filter(isOpen);
    before += made.length - open.length;
  }
  exporter.end(before);
  if (open.length > 0) throw neverSettled();
  const fault = countFault(found, source.who);
  if (fault !== undefined) throw new Failure(fault);
}

class Exporter {
  readonly #work: Exporting;
  readonly #transport: TransportKey | undefined;
  readonly #registrar: Registrar;
  readonly #pace: Pace;
  readonly #lines: ReportLine[] = [];

  constructor(work: Exporting, transport: TransportKey | undefined) {
    this.#work = work;
    this.#transport = transport;
    this.#registrar = new Registrar(work.target, work.around);
    this.#pace = new Pace(work.rate, work.around);
  }

  /** Exports these objects, a few at the same time. */
  async all(ids: readonly string[]): Promise<void> {
    const { around, report } = this.#work;
    using progress = new Progress("exported", ids.length, around);
    await eachOf(ids, atOnce, async (id) => {
      await this.#pace.turn();
      // A refusal is its line.
      const line = this.#line(id, await this.#outcome(id));
      this.#lines.push(line);
      report.add([line]);
      progress.add(1);
    });
  }

  async #outcome(id: string): Promise<Outcome> {
    const { source } = this.#work;
    const described = await source.describe(id);
    if ("refused" in described) return { outcome: "Refused", reason: described.refused };
    const { items, unread } = described;
    const why = standing(items, this.#transport !== undefined);
    if (why !== undefined) return { outcome: isNoLoss(why) ? "Left" : "Refused", reason: why };
    const type = firstOf(items, "ObjectType") as ObjectTypeName;
    const object = await fetched(source, id, type, this.#transport);
    try {
      if ("refused" in object) return { outcome: "Refused", reason: object.refused };
      return await this.#given({ id, type, items, object }, unread);
    } finally {
      wipe(object);
    }
  }

  async #given(given: Given, unread: readonly string[]): Promise<Outcome> {
    const { report, target } = this.#work;
    let registered: Registered;
    try {
      registered = await this.#registered(given);
    } catch (error) {
      const refusal = this.#refusal(error);
      // The next run must look for it again: it may be there.
      const wasBegun = report.lines.get(given.id)?.outcome === begun;
      return wasBegun || this.#registrar.isUnsure(given.id)
        ? { ...refusal, outcome: begun }
        : refusal;
    }
    const { id, outcome } = registered;
    const differs = await this.#settled(id, given);
    const shown = await target.describe(id);
    const missing = "refused" in shown ? [] : missingOf(given.items, shown.items);
    const left = [...new Set([...missing, ...unread])];
    const more = left.length === 0 ? {} : { left };
    if (differs !== undefined) {
      return { becomes: id, outcome: "StateDiffers", reason: differs, ...more };
    }
    if ("refused" in shown) {
      const reason = `the target does not show its attributes: ${shown.refused}`;
      return { becomes: id, outcome: "Differs", reason, ...more };
    }
    const decisive = decisiveOf(given.items, shown.items, target);
    if (decisive.length > 0) {
      const cure = decisive.includes("Cryptographic Usage Mask")
        ? "a usage mask cannot be changed: destroy the object there, and export with a new report"
        : "set it there, and give the command again";
      const reason = `the target does not have the same ${decisive.join(", ")}: ${cure}`;
      return { becomes: id, outcome: "Differs", reason, ...more };
    }
    const compared = await this.#compared(given, id, target);
    if (typeof compared === "string") {
      return { becomes: id, outcome: "Differs", reason: compared, ...more };
    }
    return { becomes: id, outcome, ...compared, ...more };
  }

  /** Why the object does not have the State of the source, if so. */
  async #settled(id: string, given: Given): Promise<string | undefined> {
    try {
      return await this.#registrar.settle(id, given);
    } catch (error) {
      return this.#refusal(error).reason;
    }
  }

  /** Gives an object, unless an earlier run did; the report says before and after it how far that is. */
  async #registered(given: Given): Promise<Registered> {
    const { report } = this.#work;
    const before = report.lines.get(given.id);
    if (before?.becomes !== undefined) {
      return { id: before.becomes, outcome: "AlreadyThere" };
    }
    report.add([this.#line(given.id, { outcome: begun })]);
    const made = await this.#registrar.give(given, before?.outcome === begun);
    report.add([this.#line(given.id, { outcome: begun, becomes: made.id })]);
    return made;
  }

  /** Reads the object at the target, and compares; a reason if they are not known to be the same. */
  async #compared({ type, object }: Given, id: string, target: Peer) {
    const there = await target.object(id, type);
    try {
      if ("refused" in there) return `the target does not give it: ${there.refused}`;
      const other = "the target has other material";
      const [source, own] = [digestOf(object), digestOf(there)];
      if (source !== undefined && own !== undefined) {
        return source === own ? { digests: { source, target: own } } : other;
      }
      return isSame(object, there) ? { compared: true as const } : other;
    } finally {
      wipe(there);
    }
  }

  /** A server's refusal concerns one object; a lost connection ends the command. */
  #refusal(error: unknown): Outcome {
    if (!(error instanceof KmipClientError || error instanceof KmipError)) throw error;
    return { outcome: "Refused", reason: reasonOf(error) };
  }

  #line(id: string, outcome: Outcome): ReportLine {
    return { id, ...outcome, at: this.#work.around.date().toISOString() };
  }

  /** Says what was exported and what was not. */
  end(before: number): void {
    const failed = this.#lines.filter(({ outcome }) => !done.includes(outcome));
    say(failedLines(failed));
    const count = this.#lines.length - failed.length;
    say(`${before + count} objects are at the target, ${count} of them since this command began`);
    if (failed.every(({ outcome }) => outcome === "Left")) return;
    throw new OperatorError(
      `${failed.length} objects were not exported (see above); give the same command again once the causes are gone`,
      "conflicting",
    );
  }
}
