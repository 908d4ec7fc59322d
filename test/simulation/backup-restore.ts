import { isDestroyed } from "@holdfast/engine";
import type { RedisStore } from "@holdfast/redis";
import {
  isRetiredIn,
  type Peer,
  RegionRefused,
  type RegionTools,
  rejoinRegion,
  retireRegion,
} from "@holdfast/regions";
import type { ArchiveFiles } from "../../packages/server/src/backup/archive/archive-files.ts";
import {
  ArchiveFault,
  type BackupKey,
} from "../../packages/server/src/backup/archive/archive-format.ts";
import { ArchiveReader } from "../../packages/server/src/backup/archive/archive-reader.ts";
import { scanArchive } from "../../packages/server/src/backup/archive/scan.ts";
import { createBackup } from "../../packages/server/src/backup/create.ts";
import { restoreArchive } from "../../packages/server/src/backup/restore/restore.ts";
import { Violation } from "./checker.ts";
import { ask, instance } from "./client.ts";
import { type Acknowledged, contains } from "./ledger.ts";
import { contentOf } from "./look.ts";
import type { SimNode } from "./node.ts";
import { atRegion, isRefusal } from "./operator.ts";
import type { Order } from "./order.ts";
import type { Random } from "./random.ts";
import type { World } from "./world.ts";

const file = "today.backup";
const againMs = 500;
const askMaxMs = 6_000;
const handOutTries = 10;

type Tools = RegionTools & { readonly own: RedisStore };

/**
 * An operator makes a backup of a region, and restores it later. The store may have been lost meanwhile. In some
 * histories both regions lose everything at the end, and get it back from the backup as `docs/backup.md` says.
 */
export class BackupRestore implements Order {
  readonly #world: World;
  readonly #random: Random;
  readonly #atMs: number;
  readonly #laterMs: number;
  readonly #losesAll: boolean;
  readonly #region: string;
  readonly #key: BackupKey;
  readonly #files = new Map<string, Buffer>();
  #phase: "waits" | "makes a backup" | "waits to restore it" | "restores a backup" | "over" =
    "waits";
  /** What the backup must have; undefined if the store may have lacked some of it. */
  #expected: readonly Acknowledged[] | undefined;
  #lossesAtRestore = 0;
  /** What a store had lost may be back. */
  hasRevived = false;

  constructor(world: World, random: Random, atMs: number) {
    this.#world = world;
    this.#random = random;
    this.#atMs = atMs;
    this.#laterMs = random.between(200, 6_000);
    this.#losesAll = random.chance(0.4);
    this.#region = random.pick(world.groups).region;
    this.#key = { version: 1, key: Buffer.from(random.bytes(32)) };
  }

  async prepare(): Promise<void> {}

  begin(): void {
    this.#run().catch((error: unknown) => this.#world.crashed(error));
  }

  end(): void {}

  get open(): string | undefined {
    return this.#phase === "waits" || this.#phase === "over"
      ? undefined
      : `an operator ${this.#phase}`;
  }

  async check(): Promise<void> {
    // What was restored may be lost again.
    if (this.#lossesAtRestore === this.#losses()) this.#requireExpected();
    const { retirement, checker } = this.#world;
    if (this.#losesAll && retirement === undefined && !checker.excusesLost) await this.#loseAll();
  }

  async #run(): Promise<void> {
    const world = this.#world;
    await world.sleep(this.#atMs);
    this.#phase = "makes a backup";
    await this.#backUp();
    this.#phase = "waits to restore it";
    await world.sleep(this.#laterMs);
    this.#phase = "restores a backup";
    const restore = async (tools: Tools): Promise<void> => {
      this.#lossesAtRestore = this.#losses();
      await this.#restore(tools);
    };
    await this.#again(this.#region, restore, "restores a backup");
    this.hasRevived = this.#losses() > 0;
    this.#phase = "over";
  }

  async #backUp(): Promise<void> {
    const world = this.#world;
    const group = world.group(this.#region);
    const begun = { expected: [] as readonly Acknowledged[], damaged: 0 };
    await this.#again(
      this.#region,
      async ({ own, peers, region, timers, ids }) => {
        begun.expected = world.checker.kept.filter(
          ({ shared, regions }) => shared || regions.has(region),
        );
        const read = world.flaws.backedUp(own);
        const others = async () => {
          for (const peer of peers) {
            if (await isRetiredIn(own, peer.region)) continue;
            return peer.state() === "up" ? "up" : "down";
          }
          return "absent";
        };
        const { trailer } = await createBackup(
          file,
          { own: read, others, statuses: own, region, holdfast: "simulated" },
          { key: this.#key, ids, clock: timers, files: this.#kept, turn: () => timers.sleep(0) },
        );
        // It leaves out what does not decode at that moment, and says so.
        begun.damaged = trailer.damaged;
      },
      "makes a backup",
    );
    // A store that was lost, retired or confused with another one may lack what it acknowledged.
    const { checker, retirement } = world;
    const isKept = group.losses === 0 && retirement === undefined && !checker.excusesLost;
    const isWhole = isKept && begun.damaged === 0;
    this.#expected = isWhole ? begun.expected : undefined;
  }

  async #restore({ own, peers, timers, observe }: Tools): Promise<void> {
    const asked: Peer[] = [];
    for (const peer of peers) {
      if (await isRetiredIn(own, peer.region)) continue;
      if (peer.state() !== "up") throw new RegionRefused(`region ${peer.region} does not answer`);
      asked.push(peer);
    }
    await using reader = await ArchiveReader.open(file, [this.#key], this.#kept);
    const scanned = this.#world.flaws.scanned(await scanArchive(reader));
    const target = { own, peers: asked, timers, observe };
    const { left } = await restoreArchive(reader, scanned, target, { apply: true });
    if (left > 0) throw new RegionRefused(`${left} records were held or refused`);
  }

  /** How often a store was lost. */
  #losses(): number {
    return this.#world.groups.reduce((sum, { losses }) => sum + losses, 0);
  }

  /** Runs a command until it succeeds. */
  async #again(
    region: string,
    work: (tools: Tools) => Promise<unknown>,
    what: string,
  ): Promise<void> {
    const world = this.#world;
    while (world.failure === undefined) {
      try {
        await atRegion(world, region, this.#random, work);
        world.trace.line("operator", `${what} in ${region}`);
        return;
      } catch (error) {
        const passes =
          isRefusal(error) || (error instanceof ArchiveFault && !this.#files.has(file));
        if (!passes) throw error;
        world.trace.line("operator", `${what} in ${region}: ${error.message}`);
        await world.sleep(againMs);
      }
    }
  }

  /** Where the operator keeps the backup. */
  get #kept(): ArchiveFiles {
    const files = this.#files;
    return {
      create: async (name) => {
        const parts: Buffer[] = [];
        return {
          write: async (bytes) => void parts.push(Buffer.from(bytes)),
          finish: async () => void files.set(name, Buffer.concat(parts)),
          [Symbol.asyncDispose]: async () => undefined,
        };
      },
      open: async (name) => {
        const bytes = files.get(name);
        if (bytes === undefined) throw new ArchiveFault(`${name}: no such file`);
        return {
          size: bytes.length,
          read: async (position, length) => bytes.subarray(position, position + length),
          [Symbol.asyncDispose]: async () => undefined,
        };
      },
    };
  }

  /** Everything that was acknowledged before the backup, and that its region had, is in both regions. */
  #requireExpected(): void {
    const { groups, record } = this.#world;
    for (const change of this.#expected ?? []) {
      for (const { region } of groups) {
        if (contains(record(region, change.id), change)) continue;
        throw new Violation(
          `the ${change.kind} of ${change.id} at ${Math.round(change.atMs)} ms is in the backup, and not in ${region} at the end`,
        );
      }
    }
  }

  async #loseAll(): Promise<void> {
    const world = this.#world;
    const nodes = world.nodes.filter(({ stopped }) => !stopped);
    const [other] = world.groups.filter(({ region }) => region !== this.#region);
    if (other === undefined) return;
    for (const node of nodes) {
      node.away = true;
      node.kill();
    }
    for (const group of world.groups) {
      world.formats.lost(group.region);
      world.archives.get(group.region)?.forget();
      group.replaceData([]);
      world.initialise(group);
    }
    const retire = (tools: Tools) => retireRegion(other.region, { endpointsAreOff: true }, tools);
    await this.#again(this.#region, retire, "retires the other region");
    await this.#again(this.#region, (tools) => this.#restore(tools), "restores everything");
    const start = async (region: string): Promise<void> => {
      for (const node of nodes.filter((each) => each.region === region)) {
        node.away = false;
        node.start();
      }
    };
    await start(this.#region);
    await this.#untilServing(nodes.filter(({ region }) => region === this.#region));
    await start(other.region);
    const rejoin = ({ peers: [survivor], ...tools }: Tools) =>
      rejoinRegion(survivor as Peer, { ...tools, peers: [survivor as Peer] });
    await this.#again(other.region, rejoin, "lets the region rejoin");
    await this.#untilServing(nodes);
    while (this.#differ()) await world.sleep(againMs);
    this.#requireExpected();
    for (const node of nodes) await this.#requireHandedOut(node);
  }

  #differ(): boolean {
    const [one, two] = this.#world.groups.map(({ primary }) => contentOf(primary, instance));
    return one !== two;
  }

  async #untilServing(nodes: readonly SimNode[]): Promise<void> {
    for (const node of nodes) {
      while (node.store?.serving().from !== "local") await this.#world.sleep(againMs);
    }
  }

  async #requireHandedOut(node: SimNode): Promise<void> {
    const world = this.#world;
    const made = (this.#expected ?? []).filter(({ kind }) => kind === "create");
    for (const { id } of made) {
      for (let tries = 0; !isDestroyed(world.record(node.region, id)?.facts ?? {}); tries += 1) {
        const { client } = node;
        const work = async () => client && (await ask(client, { kind: "get", id }));
        const reply = await world.within(node, work, askMaxMs);
        if (reply?.answer.kind === "material") break;
        if (tries === handOutTries) {
          const answer = JSON.stringify(reply?.answer);
          throw new Violation(
            `restored ${id} is not handed out at ${node.machine.name}: ${answer}`,
          );
        }
        await world.sleep(againMs);
      }
    }
  }
}
