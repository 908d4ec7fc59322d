import { sysPartition } from "@holdfast/engine";
import { partitionKeys, sysKeys } from "../connection/keys.ts";
import { Answers } from "../session/answers.ts";
import type { StoreContext } from "../session/primary-session.ts";
import type { PrimarySessions } from "../session/primary-sessions.ts";

/** Named values that a region's nodes share: no record, push, digest or archive has them. Each proves itself to its readers. */
export class LocalValues {
  readonly #context: StoreContext;
  readonly #sessions: PrimarySessions;
  readonly #answers: Answers;

  constructor(context: StoreContext, sessions: PrimarySessions) {
    this.#context = context;
    this.#sessions = sessions;
    this.#answers = new Answers(context, sessions);
  }

  /** See `RedisStore.localValue`. */
  readonly localValue = async (name: string): Promise<string> => {
    const keys = [partitionKeys(sysPartition).head, sysKeys.local];
    const { session, rest } = await this.#answers.ask("local-value", keys, [name]);
    await this.#answers.coverAll(session);
    return String(rest[0]);
  };

  /** See `RedisStore.setLocalValue`. */
  readonly setLocalValue = async (name: string, read: string, value: string): Promise<boolean> => {
    const keys = [partitionKeys(sysPartition).head, sysKeys.local];
    const session = this.#sessions.now("write") ?? (await this.#sessions.require("write"));
    const script = this.#context.scripts["set-local-value"];
    const args = [name, read, value];
    return (
      (await session.groupCommit.submit(script, sysPartition, keys, args)).result === "committed"
    );
  };
}
