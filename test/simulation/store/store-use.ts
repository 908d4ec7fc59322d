import type { StoreConnection, StoreConnections } from "@holdfast/redis";
import { Violation } from "../checker.ts";
import type { Life } from "../machine.ts";
import type { Member } from "./member.ts";

/** A connection of a node's process to a primary: the process there, and since when it is the primary. */
interface Use {
  readonly connection: StoreConnection;
  readonly member: Member;
  readonly sinceMs: number;
}

/** Node's process → its connections, by purpose. */
const uses = new WeakMap<Life, Map<string, readonly Use[]>>();

/** Connections that are noted as a process's own. */
export function noted(
  connections: StoreConnections,
  life: Life,
  memberAt: (address: string) => Member | undefined,
): StoreConnections {
  return {
    ...connections,
    toPrimary: async (settings, purpose, attempt) => {
      const connection = await connections.toPrimary(settings, purpose, attempt);
      const member = memberAt(connection.address);
      if (member === undefined) return connection;
      const of = uses.get(life) ?? new Map<string, readonly Use[]>();
      uses.set(life, of);
      const use = { connection, member, sinceMs: member.primarySinceMs };
      of.set(purpose, [...openOnes(of.get(purpose)), use]);
      return connection;
    },
  };
}

function openOnes(of: readonly Use[] = []): readonly Use[] {
  return of.filter(({ connection }) => connection.open);
}

/** What must be kept of an answer: the value of a key, as `Member.writeOf` describes it. */
interface Kept {
  readonly key: string;
  readonly value: string;
}

type Answered = (kept: readonly Kept[], isChange?: boolean) => void;
type Purpose = "commit" | "read";

/**
 * Checks what nodes use of one store: answers come from the primary that acknowledged changes last, and are on every disk
 * that counts.
 */
export class UseChecker {
  readonly #members: readonly Member[];
  readonly #nowMs: () => number;
  /** Whether nodes know of a replica: they cannot wait for others. */
  readonly #isKnown: (replica: Member) => boolean;
  /** The primary through which a change was acknowledged last, by when it became one, and when that was first done. */
  #newest: { readonly sinceMs: number; readonly firstMs: number } | undefined;

  constructor(
    members: readonly Member[],
    nowMs: () => number,
    isKnown: (replica: Member) => boolean,
  ) {
    this.#members = members;
    this.#nowMs = nowMs;
    this.#isKnown = isKnown;
  }

  /** What a process is about to ask; the result checks the answer. Undefined where it asks nobody. */
  asks(life: Life, purpose: Purpose): Answered | undefined {
    const [use, ...others] = openOnes(uses.get(life)?.get(purpose));
    // One that is being opened may lead to another process, and is closed then.
    if (others.length > 0) return undefined;
    const askedMs = this.#nowMs();
    return use && ((kept, isChange = false) => this.#answered(use, askedMs, kept, isChange));
  }

  #answered(use: Use, askedMs: number, kept: readonly Kept[], isChange: boolean): void {
    const { connection, member, sinceMs } = use;
    // The next connection may have answered.
    if (!connection.open) return;
    const newest = this.#newest;
    if (newest !== undefined && sinceMs < newest.sinceMs && askedMs > newest.firstMs) {
      const what = `${member.name} is used, after another primary has acknowledged a change`;
      throw new Violation(what);
    }
    if (isChange && (newest === undefined || newest.sinceMs < sinceMs)) {
      this.#newest = { sinceMs, firstMs: this.#nowMs() };
    }
    if (member.primarySinceMs !== sinceMs) return;
    for (const { key, value } of kept) this.#requireKept(member, key, value);
  }

  /** What was answered is on the disk of the primary and of each member that may take its place. */
  #requireKept(member: Member, key: string, value: string): void {
    const write = member.writeOf(key, value);
    if (write === undefined) return;
    const lacking = this.#members.find(
      (each) =>
        (each === member || (each.role === "replica" && this.#isKnown(each))) &&
        !each.keeps(key, write),
    );
    if (lacking === undefined) return;
    const what = `${member.name} answers what is not on the disk of ${lacking.name}`;
    throw new Violation(what);
  }
}
