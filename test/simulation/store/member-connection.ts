import { small } from "../redis/numbers.ts";
import type { Session } from "../redis/redis-model.ts";
import type { Bytes, Reply } from "../redis/reply.ts";
import type { Member } from "./member.ts";
import type { ServerConnection } from "./server.ts";

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
export class MemberConnection implements ServerConnection {
  readonly #member: Member;
  readonly #session: Session;
  readonly #ended: () => void;
  readonly #asked: Asked[] = [];
  #open = true;
  #busy = false;
  #lastChange = 0;

  constructor(member: Member, ended: () => void) {
    this.#member = member;
    this.#session = member.redis.connect();
    this.#ended = ended;
  }

  ask(line: readonly Bytes[], answer: (reply: Reply) => void): void {
    if (!this.#open) return;
    this.#asked.push({ line, answer });
    this.#member.receive(() => this.#next());
  }

  /** What the client has sent before is carried out first, also by a member that is frozen until then. */
  close(): void {
    this.#member.receive(() => {
      this.#open = false;
      this.#member.forget(this);
    });
  }

  /** The member closes it. */
  end(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#ended();
  }

  #next(): void {
    if (this.#busy || !this.#open) return;
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
    const member = this.#member;
    switch (name.toUpperCase()) {
      case "INFO":
        answer(member.info());
        return;
      case "ROLE":
        answer(member.roleReply());
        return;
      case "CONFIG":
        answer(args.slice(1).flatMap((setting) => [setting, settings[setting] ?? ""]));
        return;
      case "WAITAOF":
        member.waitAof(args.map(small), this.#lastChange, answer);
        return;
      default: {
        const before = member.offset;
        const reply = member.execute(this.#session, line);
        if (member.offset > before) this.#lastChange = member.offset;
        answer(reply);
      }
    }
  }
}
