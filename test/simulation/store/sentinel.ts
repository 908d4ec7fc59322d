import { type Bytes, Failure, type Reply } from "../redis/reply.ts";
import type { Scheduler } from "../scheduler.ts";
import type { Member } from "./member.ts";
import type { Server, ServerConnection } from "./server.ts";

/** The time without an answer after which a Sentinel calls the primary down: longer than the store's lease. */
export const downAfterMs = 1_500;

/** What surrounds a Sentinel. */
export interface SentinelParts {
  readonly scheduler: Scheduler;
  readonly name: string;
  readonly address: string;
  readonly members: readonly Member[];
  readonly quorum: number;
  readonly sentinels: number;
  readonly open: (from: string, to: string) => boolean;
}

/** A Sentinel: which member it calls the primary, in which epoch, and when it last heard each. */
export class Sentinel implements Server {
  readonly name: string;
  readonly address: string;
  readonly listens = true;
  /** The primary that it names, and the epoch of the failover that made it so. */
  named: Member;
  epoch = 0;
  readonly #parts: SentinelParts;
  readonly #heardMs = new Map<Member, number>();

  constructor(parts: SentinelParts, named: Member) {
    this.#parts = parts;
    this.name = parts.name;
    this.address = parts.address;
    this.named = named;
  }

  /** Pings every member. */
  ping(): void {
    const { members, scheduler } = this.#parts;
    for (const member of members) {
      if (this.hears(member)) this.#heardMs.set(member, scheduler.nowMs);
    }
  }

  hears({ name, state }: Member): boolean {
    const { open } = this.#parts;
    return state === "up" && open(this.name, name) && open(name, this.name);
  }

  /** How long it has not heard the primary. */
  get silentMs(): number {
    return this.#sinceMs(this.named);
  }

  /** Takes over the primary of a later failover. */
  take(named: Member, epoch: number): void {
    this.named = named;
    this.epoch = epoch;
    this.#heardMs.set(named, this.#parts.scheduler.nowMs);
  }

  connect(): ServerConnection {
    return {
      ask: ([name = "", what = ""], answer) =>
        answer(this.#answer(name.toUpperCase(), what.toUpperCase())),
      close: () => undefined,
    };
  }

  #sinceMs(member: Member): number {
    return this.#parts.scheduler.nowMs - (this.#heardMs.get(member) ?? 0);
  }

  #answer(name: Bytes, what: Bytes): Reply {
    if (name === "INFO") return `redis_version:8.0.2\r\nrun_id:${this.name}\r\n`;
    if (name !== "SENTINEL") return new Failure(`ERR unknown command '${name}'`);
    const [host = "", port = ""] = this.named.address.split(":");
    switch (what) {
      case "GET-MASTER-ADDR-BY-NAME":
        return [host, port];
      case "MASTER":
        return this.#fieldsOf(this.named);
      case "REPLICAS":
        return this.#parts.members
          .filter((member) => member !== this.named)
          .map((member) => this.#fieldsOf(member));
      default:
        return new Failure(`ERR unknown subcommand '${what}'`);
    }
  }

  #fieldsOf(member: Member): Reply {
    const { quorum, sentinels } = this.#parts;
    const [ip = "", port = ""] = member.address.split(":");
    const sinceMs = String(Math.round(this.#sinceMs(member)));
    const others = String(sentinels - 1);
    return [
      "ip",
      ip,
      "port",
      port,
      "last-ok-ping-reply",
      sinceMs,
      "down-after-milliseconds",
      String(downAfterMs),
      "num-other-sentinels",
      others,
      "quorum",
      String(quorum),
    ];
  }
}
