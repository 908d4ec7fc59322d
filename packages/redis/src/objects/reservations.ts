import {
  type GivenRecord,
  partitionOf,
  type Reservation,
  type ReserveOutcome,
  StoreUnavailable,
  supersededMessage,
  sysPartition,
  uuidText,
} from "@holdfast/engine";
import { allPartitions, ownRecordKey, partitionKeys, sysKeys } from "../connection/keys.ts";
import type { LeaderRecords } from "../records/leader-records.ts";
import { Answers, refuseDeposed } from "../session/answers.ts";
import type { StoreContext } from "../session/primary-session.ts";
import type { PrimarySessions } from "../session/primary-sessions.ts";
import { givenKey, givenTag } from "./commit-plan.ts";

/** What holds a record: `reserved.lua` describes the bytes. */
interface Hold {
  readonly sinceMs: number;
  readonly operation: string;
  readonly instance: string;
}

/** Reads a value of the hash of reservations. */
export function readHold(value: Buffer): Hold {
  if (value.length < 8) throw new StoreUnavailable("badReply", "a reservation is cut short");
  const end = 8 + value.readUInt16BE(6);
  return {
    sinceMs: value.readUIntBE(0, 6),
    operation: value.toString("utf8", 8, end),
    instance: value.toString("utf8", end),
  };
}

const head = partitionKeys(sysPartition).head;

/** The records that agreed operations hold. */
export class Reservations {
  readonly #context: StoreContext;
  readonly #sessions: PrimarySessions;
  readonly #answers: Answers;
  readonly #leader: Pick<LeaderRecords, "assertEpoch">;

  constructor(
    context: StoreContext,
    sessions: PrimarySessions,
    leader: Pick<LeaderRecords, "assertEpoch">,
  ) {
    this.#leader = leader;
    this.#context = context;
    this.#sessions = sessions;
    this.#answers = new Answers(context, sessions);
  }

  /** See `OwnStore.reserve`. */
  readonly reserve = async (
    instance: string,
    ids: readonly string[],
    operation: string,
    given: readonly GivenRecord[] = [],
  ): Promise<ReserveOutcome> => {
    const partition = partitionOf(instance);
    const { head, record, reserved } = partitionKeys(partition);
    const members = ids.map((id) => ownRecordKey("", id));
    const session = this.#sessions.now("write") ?? (await this.#sessions.require("write"));
    // The change could be decided elsewhere, and not be made here.
    this.#context.formats.requireAgreed();
    const storeId = Buffer.from(session.storeId, "hex");
    const sinceMs = String(Math.floor(this.#context.lease.now().wallMs));
    const reply = await session.groupCommit.submit(
      this.#context.scripts.reserve,
      partition,
      [head, reserved, ...given.map(givenKey)],
      [sinceMs, operation, instance, record, storeId, ...given.map(givenTag), ...members],
    );
    if (reply.result === "committed") return { kind: "reserved" };
    if (reply.result === "superseded") throw new StoreUnavailable("superseded", supersededMessage);
    if (reply.result === "tooMany") {
      throw new StoreUnavailable("reserved", "too many agreed operations are under way");
    }
    const [index, holder] = reply.rest;
    const uniqueIdentifier = ids[Number(index) - 1] ?? "";
    return { kind: "held", uniqueIdentifier, operation: String(holder) };
  };

  /** See `OwnStore.release`. */
  readonly release = async (
    instance: string,
    operation: string,
    epoch?: number,
  ): Promise<number> => {
    if (epoch !== undefined) this.#leader.assertEpoch(epoch);
    const partition = partitionOf(instance);
    const { head, record, reserved } = partitionKeys(partition);
    const session = this.#sessions.now("write") ?? (await this.#sessions.require("write"));
    const { result, rest } = await session.groupCommit.submit(
      this.#context.scripts.release,
      partition,
      [head, sysKeys.epoch, reserved],
      [operation, instance, record, epoch === undefined ? "" : String(epoch)],
    );
    refuseDeposed(result, epoch ?? 0);
    return Number(rest[0]);
  };

  /** See `OwnStore.reservations`. */
  readonly reservations = async (): Promise<readonly Reservation[]> => {
    const keys = [head, ...allPartitions.map(({ reserved }) => reserved)];
    const { session, rest } = await this.#answers.ask("reservations", keys, []);
    const found = new Map<string, Reservation & { readonly ids: string[] }>();
    for (const list of rest as readonly Buffer[][]) {
      for (let at = 0; at + 1 < list.length; at += 2) {
        const [id, value] = [list[at], list[at + 1]];
        if (id === undefined || value === undefined) continue;
        const { operation, instance, sinceMs } = readHold(value);
        const key = `${operation}\0${instance}`;
        const known = found.get(key) ?? { operation, instance, ids: [], sinceMs };
        known.ids.push(uuidText(id));
        found.set(key, known);
      }
    }
    if (found.size > 0) await this.#answers.coverAll(session);
    return [...found.values()];
  };
}
