import {
  type InstanceStatus,
  type InstanceStatuses,
  instanceStatuses,
  partitionOf,
  StoreUnavailable,
  systemInstance,
} from "@holdfast/engine";
import { instanceKeys, partitionKeys } from "../connection/keys.ts";
import { Answers } from "../session/answers.ts";
import type { StoreContext } from "../session/primary-session.ts";
import type { PrimarySessions } from "../session/primary-sessions.ts";

const statuses: readonly string[] = instanceStatuses;

/** Each instance's status, in its own partition. */
export class RedisStatuses implements InstanceStatuses {
  readonly #context: StoreContext;
  readonly #sessions: PrimarySessions;
  readonly #answers: Answers;

  constructor(context: StoreContext, sessions: PrimarySessions) {
    this.#context = context;
    this.#sessions = sessions;
    this.#answers = new Answers(context, sessions);
  }

  /** See `InstanceStatuses.install`. */
  readonly install = async (instance: string): Promise<InstanceStatus> => {
    const status = await this.move(instance, [undefined], "Installed");
    if (status === undefined) throw new RangeError("an instance has no status although it was set");
    return status;
  };

  /** See `InstanceStatuses.move`. */
  readonly move = async (
    instance: string,
    from: readonly (InstanceStatus | undefined)[],
    to: InstanceStatus,
  ): Promise<InstanceStatus | undefined> => {
    if (instance === systemInstance) throw new RangeError(`${instance} is not an instance`);
    const partition = partitionOf(instance);
    const { prefix, head, counters } = partitionKeys(partition);
    const keys = [head, counters, instanceKeys(prefix, instance).status];
    const { groupCommit } = this.#sessions.now("write") ?? (await this.#sessions.require("write"));
    const script = this.#context.scripts["set-status"];
    const args = [to, ...from.map((status) => status ?? "")];
    const { rest } = await groupCommit.submit(script, partition, keys, args);
    return String(rest[0]) === "" ? undefined : statusOf(rest[0]);
  };

  /** See `InstanceStatuses.status`. */
  readonly status = async (instance: string): Promise<InstanceStatus | undefined> => {
    const partition = partitionOf(instance);
    const { status } = instanceKeys(partitionKeys(partition).prefix, instance);
    const session = await this.#answers.session();
    const { head, values } = await session.reading((reader) => reader.read(partition, [status]));
    this.#answers.check(session, head);
    return values[0] ? statusOf(values[0]) : undefined;
  };
}

function statusOf(value: unknown): InstanceStatus {
  const status = String(value);
  if (statuses.includes(status)) return status as InstanceStatus;
  throw new StoreUnavailable("badReply", "unknown instance status");
}
