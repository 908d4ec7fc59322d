import type { AuditLog, AuditStanding, SinkPoint } from "@holdfast/engine";
import { sameHash } from "@holdfast/regions";
import { Findings, partitionName, type Verdict } from "./findings.ts";
import { LiveFiles } from "./live-files.ts";
import { readShippedLine, type ShippedLine } from "./shipped-line.ts";
import { ShippedTrail } from "./shipped-trail.ts";

/** What a check of files found, and how much it looked at. */
export interface FilesVerdict extends Verdict {
  readonly files: number;
  readonly events: number;
}

/** The store to compare the files with, if it can be read. */
export interface Against {
  readonly log: AuditLog;
  readonly region: string;
  readonly account: string;
}

/** What the store knew when the check began. */
interface Stored {
  readonly log: AuditLog;
  readonly standings: readonly AuditStanding[];
  readonly sink: ReadonlyMap<number, SinkPoint>;
}

interface Origin {
  readonly region: string;
  readonly account: string;
}

/** Checks files that the file sink wrote, of one node or of several, rotated files included. */
export async function verifyFiles(
  paths: readonly string[],
  against?: Against,
): Promise<FilesVerdict> {
  const check = new FilesCheck(against);
  await check.begin();
  await using files = new LiveFiles(paths, (...line) => check.line(...line));
  await files.read();
  return { ...(await check.end()), files: files.count };
}

class FilesCheck {
  readonly #findings = new Findings();
  readonly #against: Against | undefined;
  readonly #origins = new Map<string, Origin>();
  /** By store and partition. */
  readonly #trails = new Map<string, ShippedTrail>();
  #stored: Stored | undefined;
  #events = 0;

  constructor(against: Against | undefined) {
    this.#against = against;
    const { log, region, account } = against ?? {};
    const storeId = log?.storeId;
    if (storeId === undefined || region === undefined || account === undefined) return;
    this.#origins.set(storeId, { region, account });
  }

  /** Before files are read: they must have all that was shipped until now, and may have more. */
  async begin(): Promise<void> {
    const log = this.#against?.log;
    if (log === undefined) return;
    const standings = await log.standings();
    this.#stored = { log, standings, sink: await log.sinkPoints("file") };
  }

  line(text: string, where: string, file: string): void {
    this.#events += 1;
    const line = readShippedLine(text);
    if (typeof line === "string") {
      this.#findings.add(`${where}: ${line}`);
      return;
    }
    this.#origin(line, where);
    this.#trail(line).take(line, where, file);
  }

  async end(): Promise<Omit<FilesVerdict, "files">> {
    const notes: string[] = [];
    const dropped = [...this.#trails.values()].flatMap((trail) => trail.givenUp());
    for (const trail of this.#trails.values()) notes.push(...trail.end(dropped));
    if (this.#stored !== undefined) await this.#compare(this.#stored);
    return { findings: this.#findings.lines, notes, events: this.#events };
  }

  /** Region and account are not part of the entry; they are the same in all of a store's lines. */
  #origin({ store, region, account }: ShippedLine, where: string): void {
    const known = this.#origins.get(store) ?? { region, account };
    this.#origins.set(store, known);
    if (known.region !== region) {
      this.#findings.add(`${where}: says region ${region}, and its store is of ${known.region}`);
    }
    if (known.account !== account) {
      this.#findings.add(`${where}: says account ${account}, and others ${known.account}`);
    }
  }

  #trail({ store, partition }: ShippedLine): ShippedTrail {
    const key = `${store}/${partition}`;
    const trail = this.#trails.get(key) ?? new ShippedTrail(store, partition, this.#findings);
    this.#trails.set(key, trail);
    return trail;
  }

  /** Finds what files alone cannot show: that all were rewritten, or that their end is missing. */
  async #compare({ log, standings, sink }: Stored): Promise<void> {
    for (const [partition, { base, head }] of standings.entries()) {
      const trail = this.#trails.get(`${log.storeId}/${partition}`);
      const name = partitionName(partition);
      const shipped = sink.get(partition);
      const last = trail?.last ?? 0;
      if (shipped !== undefined && shipped.number > last) {
        this.#findings.add(
          `${name}: entries after ${last} up to ${shipped.number} are in no file: removed`,
        );
      }
      if (trail === undefined) continue;
      const points = await log.points(partition, trail.checkpoints());
      for (const point of [base, ...points, shipped, head]) {
        const hash = point && trail.hashAt(point.number);
        if (hash === undefined || point === undefined || sameHash(hash, point.hash)) continue;
        this.#findings.add(
          `${name}: number ${point.number}: the files have another chain than the store`,
        );
        break;
      }
    }
  }
}
