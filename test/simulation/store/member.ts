import type { Random } from "../random.ts";
import type { LuaMachine } from "../redis/lua-machine.ts";
import { RedisModel, type Session } from "../redis/redis-model.ts";
import { type Bytes, Failure, type Reply } from "../redis/reply.ts";
import type { Scheduler } from "../scheduler.ts";
import { MemberConnection } from "./member-connection.ts";
import type { Server, ServerConnection } from "./server.ts";

/** How long a primary's writes take to a replica's disk. */
const replicationMs = 1;
/** How often a replica acknowledges before it has flushed, and again only when it is asked. */
const earlyAnswer = 0.1;

/** Which members reach each other. */
export interface Neighbours {
  readonly open: (from: string, to: string) => boolean;
  /** Told that a replica repeated something. */
  readonly copied?: (from: string, to: string) => void;
  /** Told that a primary with data has named a replica. */
  readonly named?: (replica: Member) => void;
}

/** What a member of a store is made of. */
export interface MemberParts {
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly lua: LuaMachine;
  readonly wallMs: () => number;
  /** Where it is in the network. */
  readonly name: string;
  /** `host:port`. */
  readonly address: string;
  readonly neighbours?: Neighbours;
  /** What really runs in place of a script: a planted fault. */
  readonly edited?: ((source: string) => string) | undefined;
  /** Told what a script broke that must hold after each one. */
  readonly broken?: ((what: string) => void) | undefined;
}

/** What one command changed: a lost tail has all of it or nothing. */
type Entry = readonly (readonly Bytes[])[];

/** A member's log at some moment: an old copy of its data. */
export type Copy = readonly Entry[];

/** When a value was written: the number of the log's entry, and what says that another one is newer. */
interface Write {
  readonly offset: number;
  readonly value: Bytes;
  readonly version: Bytes;
}

/** Of one key, earlier writes are not remembered. */
const writesMax = 30;

/** A WAITAOF that waits. */
interface Waiting {
  readonly offset: number;
  readonly local: number;
  readonly replicas: number;
  readonly end: () => void;
}

const refusedOnReplica = new Failure(
  "ERR WAITAOF cannot be used with replica instances. Please also note that writes to replicas are just local and are not propagated.",
);

/** A Redis process of a store: its data, the log of its changes, and the part of the log that is on its disk. */
export class Member implements Server {
  readonly name: string;
  readonly address: string;
  readonly redis: RedisModel;
  state: "up" | "frozen" | "down" = "up";
  /** The primary whose changes a replica repeats. */
  source: Member | undefined;
  /** The identity of the history that is counted: new after each promotion and each restart of a primary. */
  replicationId = "";
  /** Since when it is a primary. */
  primarySinceMs = 0;
  /** How long its disk takes. */
  fsyncMs = 0;
  readonly #scheduler: Scheduler;
  readonly #random: Random;
  readonly #neighbours: Neighbours;
  readonly #replicas = new Set<Member>();
  readonly #connections = new Set<MemberConnection>();
  #log: Entry[] = [];
  /** Key → its last writes. */
  #writes = new Map<Bytes, readonly Write[]>();
  /** How many entries are on its disk for sure. */
  #durable = 0;
  /** How many entries it has told its primary to be on its disk. */
  #acknowledged = 0;
  /** What the command that runs has changed. */
  #changes: (readonly Bytes[])[] | undefined;
  #runs = 0;
  #feeding = false;
  #waiting: Waiting[] = [];
  /** What arrived while it was frozen. */
  #arrived: (() => void)[] = [];

  constructor(parts: MemberParts) {
    const { lua, wallMs, edited, broken } = parts;
    this.name = parts.name;
    this.address = parts.address;
    this.#scheduler = parts.scheduler;
    this.#random = parts.random;
    this.#neighbours = parts.neighbours ?? { open: () => true };
    const changed = (line: readonly Bytes[]): void => {
      if (this.#changes === undefined) this.#append([line]);
      else this.#changes.push(line);
    };
    this.redis = new RedisModel({ lua, wallMs, changed, edited, broken });
    this.#begin();
  }

  get listens(): boolean {
    return this.state !== "down";
  }

  get role(): "primary" | "replica" {
    return this.redis.role;
  }

  /** A name for this run of the process. */
  get runId(): string {
    return `${this.address}, run ${this.#runs}`;
  }

  /** How many commands have changed something, own and repeated. */
  get offset(): number {
    return this.#log.length;
  }

  /** Its data now, to be put back later. */
  get copy(): Copy {
    return [...this.#log];
  }

  /** The last write of a value: of a record's key its tag, of a reservation's (`key/identifier`) the operation. */
  writeOf(key: Bytes, value: Bytes): Write | undefined {
    return this.#writes.get(key)?.findLast((write) => write.value === value);
  }

  /** Whether what was written, or something newer, is on its disk. */
  keeps(key: Bytes, { value, version }: Write): boolean {
    const writes = this.#writes.get(key) ?? [];
    return writes.some(
      (write) =>
        write.offset <= this.#durable && (write.value === value || write.version > version),
    );
  }

  /** Becomes a replica, with a copy of the primary's data. */
  follow(primary: Member): void {
    this.#leave();
    this.redis.role = "replica";
    this.source = primary;
    this.replicationId = primary.replicationId;
    this.#hangUp();
    this.redis.data.copy(primary.redis.data);
    this.#log = [...primary.#log];
    this.#writes = new Map(primary.#writes);
    this.#durable = this.#log.length;
    this.#acknowledged = this.#log.length;
    primary.#replicas.add(this);
    primary.#settle();
  }

  /** Becomes the primary; its replicas have to follow it anew. */
  promote(): void {
    this.#leave();
    this.redis.role = "primary";
    this.source = undefined;
    this.#rename();
    this.#hangUp();
  }

  freeze(): void {
    if (this.state === "up") this.state = "frozen";
  }

  thaw(): void {
    if (this.state !== "frozen") return;
    this.state = "up";
    const arrived = this.#arrived;
    this.#arrived = [];
    for (const next of arrived) next();
    this.#feed();
  }

  /** Ends the process; with `forget`, changes that no barrier made durable may be missing on its disk. */
  kill(forget: boolean): void {
    this.state = "down";
    this.#arrived = [];
    this.#hangUp();
    this.redis.forgetScripts();
    if (!forget) return;
    const kept = this.#durable + this.#random.below(this.#log.length - this.#durable + 1);
    if (kept < this.#log.length) this.#replay(this.#log.slice(0, kept));
  }

  /** Starts it with the data of its disk. */
  restart(): void {
    if (this.state !== "down") return;
    this.state = "up";
    this.#begin();
  }

  /** Starts it as a primary with other data. */
  restore(copy: Copy): void {
    this.#leave();
    this.source = undefined;
    this.redis.role = "primary";
    this.#replay(copy);
    this.restart();
  }

  /** Repeats its primary's new changes. */
  pull(): void {
    const { source } = this;
    if (source === undefined || this.state !== "up" || source.state !== "up") return;
    if (this.replicationId !== source.replicationId) return;
    if (!this.#neighbours.open(source.name, this.name)) return;
    const fresh = source.#log.slice(this.offset);
    if (fresh.length > 0) this.#neighbours.copied?.(source.name, this.name);
    for (const entry of fresh) this.#repeat(entry);
    this.#durable = this.#log.length;
    if (!this.#random.chance(earlyAnswer)) this.#acknowledged = this.#log.length;
    source.#settle();
  }

  /** Does something now, or once it is thawed; never if it ends before. */
  receive(what: () => void): void {
    if (this.state === "frozen") this.#arrived.push(what);
    else if (this.state === "up") what();
  }

  connect(ended: () => void): ServerConnection {
    const connection = new MemberConnection(this, ended);
    this.#connections.add(connection);
    return connection;
  }

  /** A client has closed its connection. */
  forget(connection: MemberConnection): void {
    this.#connections.delete(connection);
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

  /**
   * Answers how many disks have the first `offset` changes: once the own one (where `local` is 1) and `replicas` others
   * do, or after `waitMs` (0: never).
   */
  waitAof(
    [local = 0, replicas = 0, waitMs = 0]: readonly number[],
    offset: number,
    answer: (reply: Reply) => void,
  ): void {
    if (this.role === "replica") {
      answer(refusedOnReplica);
      return;
    }
    const waiting = {
      offset,
      local,
      replicas,
      end: (): void => {
        if (!this.#waiting.includes(waiting)) return;
        this.#waiting = this.#waiting.filter((other) => other !== waiting);
        callOff();
        answer(this.#counts(offset));
      },
    };
    this.#waiting.push(waiting);
    const callOff =
      waitMs === 0
        ? () => undefined
        : this.#scheduler.after(waitMs, () => this.receive(waiting.end));
    this.#flush(offset);
    this.#scheduler.after(replicationMs, () => this.#askReplicas());
    this.#settle();
  }

  info(): Bytes {
    const fields = {
      redis_version: "8.0.2",
      run_id: this.runId,
      role: this.role === "primary" ? "master" : "slave",
      aof_enabled: "1",
      maxmemory_policy: "noeviction",
      db0: `keys=${this.redis.data.size}`,
    };
    return Object.entries(fields)
      .map(([name, value]) => `${name}:${value}\r\n`)
      .join("");
  }

  roleReply(): Reply {
    if (this.role === "replica") {
      const [host = "", port = ""] = this.source?.address.split(":") ?? [];
      return ["slave", host, Number(port), "connected", this.offset];
    }
    const replicas = this.#connected().map((replica) => {
      // Nodes do not use an empty store, and do not keep what they hear from it.
      if (this.redis.data.size > 0) this.#neighbours.named?.(replica);
      const { address, offset } = replica;
      const [host = "", port = ""] = address.split(":");
      return [host, port, String(offset)];
    });
    return ["master", this.offset, replicas];
  }

  #leave(): void {
    if (this.source !== undefined) this.source.#replicas.delete(this);
  }

  #begin(): void {
    this.#runs += 1;
    this.redis.data.seed = this.runId;
    this.#durable = this.#log.length;
    if (this.role === "primary") this.#rename();
  }

  #rename(): void {
    this.primarySinceMs = this.#scheduler.nowMs;
    this.replicationId = `${this.name}/${this.#random.bits().toString(16)}`;
    this.#replicas.clear();
    this.#waiting = [];
  }

  /** Closes every connection. */
  #hangUp(): void {
    this.#waiting = [];
    const connections = [...this.#connections];
    this.#connections.clear();
    for (const connection of connections) connection.end();
  }

  #append(entry: Entry): void {
    this.#log.push(entry);
    for (const line of entry) this.#noteWrite(line);
    this.#feed();
  }

  /** Of a record, its tag and version; of a reservation, the operation. */
  #noteWrite([name, key = "", ...args]: readonly Bytes[]): void {
    const isRecord = name === "SET" && key.includes(":o:");
    if (!isRecord && !(name === "HSET" && key.endsWith(":reserved"))) return;
    const [first = "", hold = ""] = args;
    // A copy that the other region sent is answered before it is on every disk: the other region has it.
    if (isRecord && first.slice(33, 38) !== first.slice(45, 50)) return;
    const what = isRecord ? key : `${key}/${first}`;
    const value = isRecord ? first.slice(0, 16) : hold.slice(8, 8 + hold.charCodeAt(7));
    const version = isRecord ? first.slice(50, 55) : "";
    const write = { offset: this.#log.length, value, version };
    this.#writes.set(what, [...(this.#writes.get(what) ?? []).slice(1 - writesMax), write]);
  }

  /** Takes the data that a log leaves. */
  #replay(log: Copy): void {
    this.#log = [];
    this.#writes.clear();
    this.redis.data.clear();
    for (const entry of log) this.#repeat(entry);
    this.#durable = this.#log.length;
  }

  #feed(): void {
    if (this.#feeding || this.#replicas.size === 0) return;
    this.#feeding = true;
    this.#scheduler.after(replicationMs, () => {
      this.#feeding = false;
      for (const replica of this.#replicas) replica.pull();
    });
  }

  #repeat(entry: Entry): void {
    for (const [name = "", ...args] of entry) {
      this.#changes = [];
      this.redis.perform(name, args);
    }
    this.#changes = undefined;
    this.#append(entry);
  }

  #flush(offset: number): void {
    const runId = this.runId;
    const done = (): void => {
      if (runId !== this.runId || this.state === "down") return;
      this.#durable = Math.max(this.#durable, Math.min(offset, this.#log.length));
      this.#settle();
    };
    if (this.fsyncMs === 0) done();
    else this.#scheduler.after(this.fsyncMs, done);
  }

  #askReplicas(): void {
    for (const replica of this.#replicas) {
      if (replica.state !== "up" || !this.#neighbours.open(this.name, replica.name)) continue;
      replica.#acknowledged = replica.#durable;
    }
    this.#settle();
  }

  #settle(): void {
    if (this.state !== "up") return;
    for (const waiting of [...this.#waiting]) {
      const [local, replicas] = this.#counts(waiting.offset);
      if (local >= waiting.local && replicas >= waiting.replicas) waiting.end();
    }
  }

  #counts(offset: number): readonly [local: number, replicas: number] {
    const have = this.#connected().filter((replica) => replica.#acknowledged >= offset);
    return [this.#durable >= offset ? 1 : 0, have.length];
  }

  #connected(): readonly Member[] {
    return [...this.#replicas].filter(
      (replica) => replica.state !== "down" && replica.replicationId === this.replicationId,
    );
  }
}
