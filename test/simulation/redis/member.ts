import type { Scheduler } from "../scheduler.ts";
import type { LuaMachine } from "./lua-machine.ts";
import { small } from "./numbers.ts";
import { RedisModel, type Session } from "./redis-model.ts";
import type { Bytes, Reply } from "./reply.ts";

/** How long a primary's writes take to a replica's disk. */
const replicationMs = 1;

/** What a member of a store is made of. */
export interface MemberParts {
  readonly scheduler: Scheduler;
  readonly lua: LuaMachine;
  readonly wallMs: () => number;
  /** `host:port`. */
  readonly address: string;
  /** A name for this run of the process. */
  readonly runId: string;
}

/** A Redis process of a store: its data, the log of its changes, and the replicas that repeat them. */
export class Member {
  readonly address: string;
  readonly runId: string;
  readonly redis: RedisModel;
  readonly #scheduler: Scheduler;
  readonly #replicas: Member[] = [];
  readonly #log: (readonly Bytes[])[] = [];
  #feeding = false;
  #waiting: (() => void)[] = [];

  constructor({ scheduler, lua, wallMs, address, runId }: MemberParts) {
    this.#scheduler = scheduler;
    this.address = address;
    this.runId = runId;
    const changed = (line: readonly Bytes[]): void => {
      this.#log.push(line);
      this.#feed();
    };
    this.redis = new RedisModel({ lua, wallMs, changed });
  }

  /** The number of its changes, own and repeated. */
  get offset(): number {
    return this.#log.length;
  }

  /** Becomes a replica of an empty primary. */
  follow(primary: Member): void {
    this.redis.role = "replica";
    primary.#replicas.push(this);
  }

  connect(): MemberConnection {
    return new MemberConnection(this);
  }

  /**
   * Answers how many disks have the first `offset` changes: once `required` replicas do, or after `waitMs` (0: never).
   * Its own disk has every change before it is answered, as with `appendfsync always`.
   */
  waitAof(offset: number, required: number, waitMs: number, answer: (reply: Reply) => void): void {
    const count = (): number => this.#replicas.filter((replica) => replica.offset >= offset).length;
    let callOff = (): void => undefined;
    const end = (): void => {
      callOff();
      this.#waiting = this.#waiting.filter((other) => other !== check);
      answer([1, count()]);
    };
    const check = (): void => {
      if (count() >= required) end();
    };
    this.#waiting.push(check);
    if (waitMs > 0) callOff = this.#scheduler.after(waitMs, end);
    check();
  }

  info(): Bytes {
    const fields = {
      redis_version: "8.0.2",
      run_id: this.runId,
      role: this.redis.role === "primary" ? "master" : "slave",
      aof_enabled: "1",
      maxmemory_policy: "noeviction",
      db0: `keys=${this.redis.data.size}`,
    };
    return Object.entries(fields)
      .map(([name, value]) => `${name}:${value}\r\n`)
      .join("");
  }

  role(): Reply {
    if (this.redis.role === "replica") return ["slave"];
    const replicas = this.#replicas.map(({ address, offset }) => {
      const [host = "", port = ""] = address.split(":");
      return [host, port, String(offset)];
    });
    return ["master", this.offset, replicas];
  }

  #feed(): void {
    if (this.#feeding || this.#replicas.length === 0) return;
    this.#feeding = true;
    this.#scheduler.after(replicationMs, () => {
      this.#feeding = false;
      for (const replica of this.#replicas) replica.#repeat(this.#log);
      for (const check of [...this.#waiting]) check();
    });
  }

  #repeat(log: readonly (readonly Bytes[])[]): void {
    for (const [name = "", ...args] of log.slice(this.offset)) this.redis.perform(name, args);
  }
}

/** Settings that the store asks for. */
const settings: Readonly<Record<string, Bytes>> = {
  appendonly: "yes",
  appendfsync: "always",
  "maxmemory-policy": "noeviction",
};

interface Asked {
  readonly line: readonly Bytes[];
  readonly answer: (reply: Reply) => void;
}

/** A client's connection to a member: answers in order, and knows its last own change, for which WAITAOF waits. */
export class MemberConnection {
  readonly #member: Member;
  readonly #session: Session;
  readonly #asked: Asked[] = [];
  #busy = false;
  #lastChange = 0;

  constructor(member: Member) {
    this.#member = member;
    this.#session = member.redis.connect();
  }

  /** Answers a command after those that came before, which may wait. */
  ask(line: readonly Bytes[], answer: (reply: Reply) => void): void {
    this.#asked.push({ line, answer });
    this.#next();
  }

  #next(): void {
    if (this.#busy) return;
    const asked = this.#asked.shift();
    if (asked === undefined) return;
    this.#busy = true;
    this.#answer(asked.line, (reply) => {
      this.#busy = false;
      asked.answer(reply);
      this.#next();
    });
  }

  #answer(line: readonly Bytes[], answer: (reply: Reply) => void): void {
    const [name = "", ...args] = line;
    switch (name.toUpperCase()) {
      case "INFO":
        answer(this.#member.info());
        return;
      case "ROLE":
        answer(this.#member.role());
        return;
      case "CONFIG":
        answer(args.slice(1).flatMap((setting) => [setting, settings[setting] ?? ""]));
        return;
      case "WAITAOF": {
        const [, required = 0, waitMs = 0] = args.map(small);
        this.#member.waitAof(this.#lastChange, required, waitMs, answer);
        return;
      }
      default: {
        const before = this.#member.offset;
        const reply = this.#session.execute(line);
        if (this.#member.offset > before) this.#lastChange = this.#member.offset;
        answer(reply);
      }
    }
  }
}
