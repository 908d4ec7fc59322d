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
}

/** What one command changed: a lost tail has all of it or nothing. */
type Entry = readonly (readonly Bytes[])[];

/** A Redis process of a store: its data, the log of its changes, and the replicas that repeat them. */
export class Member {
  readonly address: string;
  readonly redis: RedisModel;
  readonly #scheduler: Scheduler;
  #replicas: Member[] = [];
  #log: Entry[] = [];
  /** How many entries are on its disk for sure, since a WAITAOF was answered. */
  #durable = 0;
  /** What the command that runs has changed. */
  #changes: (readonly Bytes[])[] | undefined;
  #runs = 1;
  /** Whether the process runs. */
  up = true;
  /** Whether, as a replica, it gets nothing from its primary, which has not noticed yet. */
  stalled = false;
  #feeding = false;
  #waiting: (() => void)[] = [];

  constructor({ scheduler, lua, wallMs, address }: MemberParts) {
    this.#scheduler = scheduler;
    this.address = address;
    const changed = (line: readonly Bytes[]): void => {
      if (this.#changes === undefined) this.#append([line]);
      else this.#changes.push(line);
    };
    this.redis = new RedisModel({ lua, wallMs, changed });
  }

  /** A name for this run of the process. */
  get runId(): string {
    return `${this.address}, run ${this.#runs}`;
  }

  /** How many commands have changed something, own and repeated. */
  get offset(): number {
    return this.#log.length;
  }

  /** Becomes a replica, with the primary's data. */
  follow(primary: Member): void {
    this.stalled = false;
    this.redis.role = "replica";
    this.#replay(primary.#log);
    primary.#replicas.push(this);
  }

  /** Becomes the primary; its replicas have to follow it anew. */
  promote(): void {
    this.redis.role = "primary";
    this.#replicas = [];
  }

  /** Ends the process, with its connections and scripts; its disk lacks the last `lost` entries. */
  kill(lost: number): void {
    this.up = false;
    this.#waiting = [];
    this.#replicas = [];
    this.redis.forgetScripts();
    this.#replay(this.#log.slice(0, Math.max(this.#durable, this.#log.length - lost)));
  }

  restart(): void {
    this.up = true;
    this.#runs += 1;
  }

  /** Runs a command; what it changes is one entry of the log. */
  execute(session: Session, line: readonly Bytes[]): Reply {
    const changes: (readonly Bytes[])[] = [];
    this.#changes = changes;
    try {
      return session.execute(line);
    } finally {
      this.#changes = undefined;
      if (changes.length > 0) this.#append(changes);
    }
  }

  connect(): MemberConnection {
    return new MemberConnection(this);
  }

  /**
   * Answers how many disks have the first `offset` changes: once `required` replicas do, or after `waitMs` (0: never).
   * Its own disk has them by then.
   */
  waitAof(offset: number, required: number, waitMs: number, answer: (reply: Reply) => void): void {
    const count = (): number => this.#replicas.filter((replica) => replica.offset >= offset).length;
    let callOff = (): void => undefined;
    const run = this.#runs;
    const end = (): void => {
      callOff();
      if (!this.up || run !== this.#runs) return;
      this.#durable = Math.max(this.#durable, offset);
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

  #append(entry: Entry): void {
    this.#log.push(entry);
    this.#feed();
  }

  /** Takes the data that a log leaves. */
  #replay(log: readonly Entry[]): void {
    const entries = [...log];
    this.#log = [];
    this.redis.data.clear();
    for (const entry of entries) this.#repeat(entry);
    this.#durable = this.#log.length;
  }

  #feed(): void {
    if (this.#feeding || this.#replicas.length === 0) return;
    this.#feeding = true;
    this.#scheduler.after(replicationMs, () => {
      this.#feeding = false;
      for (const replica of this.#replicas) replica.#pull(this.#log);
      for (const check of [...this.#waiting]) check();
    });
  }

  #pull(log: readonly Entry[]): void {
    if (!this.up || this.stalled) return;
    for (const entry of log.slice(this.offset)) this.#repeat(entry);
    this.#durable = this.#log.length;
  }

  #repeat(entry: Entry): void {
    const changes: (readonly Bytes[])[] = [];
    this.#changes = changes;
    for (const [name = "", ...args] of entry) this.redis.perform(name, args);
    this.#changes = undefined;
    this.#append(changes);
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
  readonly #runId: string;
  readonly #asked: Asked[] = [];
  #busy = false;
  #lastChange = 0;

  constructor(member: Member) {
    this.#member = member;
    this.#session = member.redis.connect();
    this.#runId = member.runId;
  }

  /** Whether the process that it leads to still runs. */
  get open(): boolean {
    return this.#member.up && this.#member.runId === this.#runId;
  }

  /** Answers a command after those that came before, which may wait. */
  ask(line: readonly Bytes[], answer: (reply: Reply) => void): void {
    this.#asked.push({ line, answer });
    this.#next();
  }

  #next(): void {
    if (this.#busy || !this.open) return;
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
        const reply = this.#member.execute(this.#session, line);
        if (this.#member.offset > before) this.#lastChange = this.#member.offset;
        answer(reply);
      }
    }
  }
}
