import { type Levels, type PeerCursor, StoreUnavailable, sysPartition } from "@holdfast/engine";
import type { Argument } from "../connection/command-line.ts";
import { partitionKeys, sysKeys } from "../connection/keys.ts";
import type { Reply } from "../connection/replies.ts";
import type { ScriptName } from "../connection/scripts.ts";
import { Answers, refuseDeposed } from "../session/answers.ts";
import type { PrimarySession, StoreContext } from "../session/primary-session.ts";
import type { PrimarySessions } from "../session/primary-sessions.ts";
import type { StorageKeys } from "../storage-keys/storage-keys.ts";
import type { ValuePlace } from "../storage-keys/value-proof.ts";

const head = partitionKeys(sysPartition).head;
/** A script compares this number, so its proof is in a field beside it. */
export const reachedPlace: ValuePlace = { key: sysKeys.levels, field: "reached" };

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
    const place = { key: cursors, field: peer };
    const stored = this.#context.values.read(session.storageKeys, place, rest[0] as Buffer);
    if (stored === undefined) return undefined;
    const text = String(stored);
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
    const place = { key: cursors, field: peer };
    await this.#fenced("set-cursor", partition, keys, epoch, ({ newest }) => [
      peer,
      this.#context.values.withProof(newest, place, `${number} ${replicationId}`),
    ]);
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
    const { session, asked, reached, lost } = await this.#levels();
    await this.#answers.coverAll(session);
    return { asked, reached, lost };
  };

  /** See `OwnStore.setLevel`. */
  readonly setLevel = async (reached: number, epoch: number): Promise<void> => {
    const { unproven } = await this.#levels();
    const keys = [head, sysKeys.epoch, sysKeys.levels];
    const number = String(reached);
    await this.#fenced("set-level", sysPartition, keys, epoch, ({ newest }) => [
      number,
      this.#context.values.prove(newest, reachedPlace, number),
      unproven,
    ]);
  };

  /** See `RedisStore.requireFormat`. */
  readonly requireFormat = async (format: number, epoch: number): Promise<boolean> => {
    this.assertEpoch(epoch);
    const session = await this.#session();
    const { keys, args } = this.#context.formats.requiring(session.storageKeys, format, epoch);
    const { result } = await this.#write(session, "require-format", sysPartition, keys, args);
    refuseDeposed(result, epoch);
    return result === "committed";
  };

  /** See `OwnStore.newEpoch`. */
  readonly newEpoch = async (): Promise<number> => {
    const { storeId } = this.#sessions;
    const session = await this.#session();
    const { rest } = await this.#write(
      session,
      "new-epoch",
      sysPartition,
      [head, sysKeys.epoch],
      [],
    );
    this.#epochOf = storeId;
    return Number(rest[0]);
  };

  /** An epoch of another store is not comparable, even if its number is higher. */
  assertEpoch(epoch: number): void {
    if (this.#epochOf === undefined || this.#epochOf === this.#sessions.storeId) return;
    throw new StoreUnavailable("deposed", `epoch ${epoch} is another store's`);
  }

  async #wishLevel(lost: "0" | "1"): Promise<number> {
    const { reached } = await this.#levels();
    const session = await this.#session();
    const args = [Buffer.from(session.storeId, "hex"), lost, String(reached)];
    const keys = [head, sysKeys.levels];
    const { rest } = await this.#write(session, "ask-level", sysPartition, keys, args);
    return Number(rest[0]);
  }

  /** The levels; `unproven` is the reached one as read, if it does not prove itself and so counts as none. */
  async #levels() {
    const { session, rest } = await this.#answers.ask("levels", [head, sysKeys.levels], []);
    const [asked, lost, value, proof] = rest as readonly [number, number, Buffer, Buffer];
    const found = { value, proof };
    const isProven = this.#context.values.proves(session.storageKeys, reachedPlace, found);
    return {
      ...{ session, asked: Number(asked), lost: Number(lost) },
      ...(isProven
        ? { reached: Number(value), unproven: "" }
        : { reached: 0, unproven: value.toString("latin1") }),
    };
  }

  async #fenced(
    name: ScriptName,
    partition: number,
    keys: readonly Argument[],
    epoch: number,
    argsOf: (keys: StorageKeys) => readonly Argument[],
  ): Promise<void> {
    this.assertEpoch(epoch);
    const session = await this.#session();
    const fence = [String(epoch), session.storageKeys.stamp];
    const args = [...fence, ...argsOf(session.storageKeys)];
    const { result } = await this.#write(session, name, partition, keys, args);
    refuseDeposed(result, epoch);
  }

  async #session(): Promise<PrimarySession> {
    return this.#sessions.now("write") ?? (await this.#sessions.require("write"));
  }

  #write(
    session: PrimarySession,
    name: ScriptName,
    partition: number,
    keys: readonly Argument[],
    args: readonly Argument[],
  ): Promise<Reply> {
    return session.groupCommit.submit(this.#context.scripts[name], partition, keys, args);
  }
}
