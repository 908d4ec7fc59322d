import { type Levels, type PeerCursor, StoreUnavailable, sysPartition } from "@holdfast/engine";
import type { Argument } from "../connection/command-line.ts";
import { partitionKeys, sysKeys } from "../connection/keys.ts";
import type { Reply } from "../connection/replies.ts";
import type { ScriptName } from "../connection/scripts.ts";
import { Answers, refuseDeposed } from "../session/answers.ts";
import type { StoreContext } from "../session/primary-session.ts";
import type { PrimarySessions } from "../session/primary-sessions.ts";

const head = partitionKeys(sysPartition).head;

/** What a region's leader keeps in the store: cursors, levels, its epoch. */
export class LeaderRecords {
  readonly #context: StoreContext;
  readonly #sessions: PrimarySessions;
  readonly #answers: Answers;
  /** The store in which the epoch of this node's leader was made. */
  #epochOf: string | undefined;

  constructor(context: StoreContext, sessions: PrimarySessions) {
    this.#context = context;
    this.#sessions = sessions;
    this.#answers = new Answers(context, sessions);
  }

  /** See `OwnStore.cursor`. */
  readonly cursor = async (partition: number, peer: string): Promise<PeerCursor | undefined> => {
    const { head, cursors } = partitionKeys(partition);
    const { session, rest } = await this.#answers.ask("cursor", [head, cursors], [peer]);
    await this.#answers.coverAll(session);
    const text = String(rest[0]);
    if (text === "") return undefined;
    const [, number, replicationId] = /^(\d+) (.*)$/s.exec(text) ?? [];
    if (number === undefined || replicationId === undefined) {
      throw new StoreUnavailable("badReply", "malformed cursor of another region's changes");
    }
    return { number: Number(number), replicationId };
  };

  /** See `OwnStore.setCursor`. */
  readonly setCursor = async (
    partition: number,
    peer: string,
    { number, replicationId }: PeerCursor,
    epoch: number,
  ): Promise<void> => {
    const { head, cursors } = partitionKeys(partition);
    const keys = [head, sysKeys.epoch, cursors];
    const args = [String(epoch), peer, `${number} ${replicationId}`];
    await this.#fenced("set-cursor", partition, keys, args, epoch);
  };

  /** See `OwnStore.requestResync`. */
  readonly requestResync = (): Promise<number> => {
    return this.#wishLevel("0");
  };

  /** See `OwnStore.loseLevel`. */
  readonly loseLevel = async (): Promise<void> => {
    await this.#wishLevel("1");
  };

  /** See `OwnStore.levels`. */
  readonly levels = async (): Promise<Levels> => {
    const { session, rest } = await this.#answers.ask("levels", [head, sysKeys.levels], []);
    await this.#answers.coverAll(session);
    return { asked: Number(rest[0]), reached: Number(rest[1]), lost: Number(rest[2]) };
  };

  /** See `OwnStore.setLevel`. */
  readonly setLevel = async (reached: number, epoch: number): Promise<void> => {
    const keys = [head, sysKeys.epoch, sysKeys.levels];
    const args = [String(epoch), String(reached)];
    await this.#fenced("set-level", sysPartition, keys, args, epoch);
  };

  /** See `RedisStore.requireFormat`. */
  readonly requireFormat = async (format: number, epoch: number): Promise<boolean> => {
    this.assertEpoch(epoch);
    const { keys, args } = this.#context.formats.requiring(format, epoch);
    const { result } = await this.#write("require-format", sysPartition, keys, args);
    refuseDeposed(result, epoch);
    return result === "committed";
  };

  /** See `OwnStore.newEpoch`. */
  readonly newEpoch = async (): Promise<number> => {
    const { storeId } = this.#sessions;
    const { rest } = await this.#write("new-epoch", sysPartition, [head, sysKeys.epoch], []);
    this.#epochOf = storeId;
    return Number(rest[0]);
  };

  /** An epoch of another store is not comparable, even if its number is higher. */
  assertEpoch(epoch: number): void {
    if (this.#epochOf === undefined || this.#epochOf === this.#sessions.storeId) return;
    throw new StoreUnavailable("deposed", `epoch ${epoch} is another store's`);
  }

  async #wishLevel(lost: "0" | "1"): Promise<number> {
    const { rest } = await this.#write("ask-level", sysPartition, [head, sysKeys.levels], [lost]);
    return Number(rest[0]);
  }

  async #fenced(
    name: ScriptName,
    partition: number,
    keys: readonly Argument[],
    args: readonly Argument[],
    epoch: number,
  ): Promise<void> {
    this.assertEpoch(epoch);
    const { result } = await this.#write(name, partition, keys, args);
    refuseDeposed(result, epoch);
  }

  async #write(
    name: ScriptName,
    partition: number,
    keys: readonly Argument[],
    args: readonly Argument[],
  ): Promise<Reply> {
    const session = this.#sessions.now("write") ?? (await this.#sessions.require("write"));
    return session.groupCommit.submit(this.#context.scripts[name], partition, keys, args);
  }
}
