import type { ScriptName } from "@holdfast/redis";
import type { Choices } from "./choices.ts";
import { commit, type MakeCall, repair } from "./commit-call.ts";
import * as place from "./script-places.ts";

const { at, sys } = place;

const epoch = (choose: Choices): string => String(choose.below(4));
const number = (choose: Choices, highest: number): string => {
  if (choose.chance(10)) return choose.of(["0", "2147483647", "2147483648", "140737488355000"]);
  return String(Math.max(0, highest - choose.below(8)));
};
const few = (choose: Choices): string => choose.of(["1", "2", "3", "100"]);
const word = (choose: Choices): string => choose.of(["", "a", "b\x00", "r2"]);
/** The instance in an audit entry: a short text, a word, or a UUID. */
const owner = (choose: Choices): string =>
  choose.of(["\x01i", "\x01j", "\xf2\x07", `\xf0${"u".repeat(16)}`]);
/** The caller's store, or one that was there before. */
const store = (choose: Choices): string => (choose.chance(5) ? "another store ID" : place.storeId);
/** The same, and the number of the storage key that the caller used. */
const stamp = (choose: Choices): string => store(choose) + choose.of(["", "\x00\x01", "\x00\x02"]);
/** A number that the caller read without a proof. */
const unproven = (choose: Choices): string => choose.of(["", "", "1", "3"]);
const bytes = (choose: Choices): string => choose.of(["1", "100", "100000"]);
const statuses = ["Installed", "Suspended", "Deleted", ""];
/** Milliseconds after which a node counts no more, about a fixed time. */
const silentMs = (choose: Choices): string => choose.of(["0", "1000", "99999999999999"]);

/** How each script is called. A table over all names: a new script needs a row. */
export const calls: Readonly<Record<ScriptName, MakeCall>> = {
  commit,
  "commit-facts": commit,
  repair,
  "append-audit": (choose) => {
    const entries = choose.list(
      3,
      () => `\x01\x02${place.six(1_000 + choose.below(9))}${owner(choose)}${word(choose)}`,
    );
    const text = entries.map((entry) => String.fromCharCode(0, entry.length) + entry).join("");
    const keys = [at.head, at.counters, at.audit, at.surplus, at.shares];
    return { keys, args: [choose.of(["0", "4", "256"]), text] };
  },
  "audit-entries": (choose, model) => ({
    keys: [at.head, at.counters, at.audit],
    args: [
      ...[choose.of(["after", "before"]), number(choose, place.counter(model, "audit"))],
      ...[few(choose), bytes(choose)],
    ],
  }),
  "audit-seek": (choose) => ({
    keys: [at.head, at.counters, at.audit],
    args: [String(1_000 + choose.below(10))],
  }),
  "audit-standings": () => ({
    keys: [at.head, at.counters, at.chain, at.head, at.shares, "{p00}:surplus-chain"],
    args: [],
  }),
  "audit-points": (choose) => ({
    keys: [at.head, at.chain],
    args: choose.list(3, () => choose.of(["head", "base", "256", "512"])),
  }),
  "audit-chain": (choose, model) => {
    const points = choose.list(2, () => [
      choose.of(["head", "base", "256"]),
      place.six(choose.below(6)) + word(choose),
    ]);
    const last = place.counter(model, "audit");
    return {
      keys: choose.chance(30)
        ? [at.head, at.shares, sys.epoch, "{p00}:surplus-chain", at.surplus, at.shares]
        : [at.head, at.counters, sys.epoch, at.chain, at.audit, at.shares],
      args: [
        ...[epoch(choose), store(choose), choose.of(["", "", "0", "3"])],
        ...[choose.chance(40) ? number(choose, last) : "", String(points.length), ...points.flat()],
        ...choose.list(1, () => choose.of(["256", "base"])),
      ],
    };
  },
  "audit-sinks": () => ({ keys: [sys.head, sys.sinks], args: [] }),
  "set-audit-sink": (choose) => ({
    keys: [sys.head, sys.epoch, sys.sinks],
    args: [
      ...[epoch(choose), store(choose)],
      ...choose.list(2, () => [`s/${choose.below(3)}`, place.six(choose.below(9))]).flat(),
    ],
  }),
  "set-audit-tree": (choose) => {
    const size = choose.below(6);
    return {
      keys: [sys.head, sys.epoch, sys.tree, sys.auditLeaves],
      args: [
        ...[epoch(choose), choose.of(["", "0", String(size)]), choose.of(["", "", "anew"])],
        ...(choose.chance(60) ? [String(size), word(choose)] : ["", ""]),
        choose.chance(30) ? String(choose.below(6)) : "",
        ...choose.list(2, () => [choose.of(["size", "last"]), String(choose.below(6))]).flat(),
      ],
    };
  },
  find: (choose, model) => ({
    keys: [at.head, at.counters, at.live, at.destroyed, at.reserved, choose.of(place.buckets)],
    args: [
      ...[
        choose.of(["", ...place.hashes]),
        choose.of(["1", "0"]),
        choose.of(["1", "0"]),
        few(choose),
      ],
      ...[choose.chance(40) ? number(choose, place.counter(model, "created") + 1) : "", at.records],
      bytes(choose),
    ],
  }),
  "set-status": (choose) => ({
    keys: [at.head, at.counters, at.status],
    args: [
      choose.of(["Installed", "Installed", "Suspended", "Deleted"]),
      ...choose.list(4, () => choose.of(statuses)),
    ],
  }),
  reserve: (choose, model) => {
    const given = choose.chance(30) ? [place.identifier(choose)] : [];
    return {
      keys: [at.head, at.reserved, ...given.map((id) => at.records + id)],
      args: [
        ...[
          String(1_790_000_000_000 + choose.below(9)),
          choose.of(["op1", "op2"]),
          place.instance,
          at.records,
        ],
        store(choose),
        ...given.map((id) =>
          choose.chance(20) ? "wrong" : (place.knownRecord(model, id)?.tag ?? ""),
        ),
        ...choose.list(3, () => place.identifier(choose)),
      ],
    };
  },
  release: (choose) => ({
    keys: [at.head, sys.epoch, at.reserved],
    args: [
      choose.of(["op1", "op2"]),
      place.instance,
      at.records,
      choose.chance(50) ? epoch(choose) : "",
    ],
  }),
  reservations: () => ({ keys: [sys.head, at.reserved, "{p01}:reserved"], args: [] }),
  position: () => ({ keys: [at.head, at.counters, sys.head, "{sys}:counters"], args: [] }),
  changes: (choose, model) => ({
    keys: [at.head, at.counters, at.changes],
    args: [number(choose, place.counter(model, "change")), few(choose), bytes(choose), at.records],
  }),
  headers: (choose, model) => ({
    keys: [at.head, at.counters, at.changes],
    args: [
      number(choose, place.counter(model, "change")),
      few(choose),
      number(choose, place.counter(model, "change")),
      at.records,
    ],
  }),
  counts: () => ({ keys: [at.head, at.counters, at.states], args: [] }),
  recount: (choose, model) => {
    const counted = choose.chance(10) ? "7" : place.peekField(model, at.states, "@");
    const rows = place.entriesOf(model, at.changes).slice(0, choose.below(5));
    const last = place.counter(model, "change");
    return {
      keys: [at.head, at.counters, at.changes, at.states],
      args: [
        ...[counted, String(choose.chance(50) ? last : Math.max(0, last - choose.below(9)))],
        ...rows.flatMap(({ score, member }) => [
          ...[
            String(score),
            member,
            `${member.charAt(32)}${choose.of(place.months)}${place.instance}`,
          ],
        ]),
      ],
    };
  },
  digests: () => ({ keys: [at.head, at.counters, at.digests], args: [] }),
  leaves: (choose, model) => ({
    keys: [at.head, at.changes],
    args: [
      number(choose, place.counter(model, "change")),
      choose.of(["\xff", "\x01", "\x00"]).repeat(32),
      few(choose),
    ],
  }),
  cursor: (choose) => ({ keys: [at.head, at.cursors], args: [word(choose)] }),
  "set-cursor": (choose) => ({
    keys: [at.head, sys.epoch, at.cursors],
    args: [epoch(choose), store(choose), word(choose), word(choose)],
  }),
  levels: () => ({ keys: [sys.head, sys.levels], args: [] }),
  "local-value": (choose) => ({ keys: [sys.head, sys.local], args: [word(choose)] }),
  "set-local-value": (choose) => ({
    keys: [sys.head, sys.local],
    args: [choose.of(["a", "b"]), word(choose), word(choose)],
  }),
  "ask-level": (choose) => ({
    keys: [sys.head, sys.levels],
    args: [store(choose), choose.of(["0", "1"]), choose.of(["0", "3"])],
  }),
  "set-level": (choose) => ({
    keys: [sys.head, sys.epoch, sys.levels],
    args: [epoch(choose), store(choose), String(choose.below(5)), word(choose), unproven(choose)],
  }),
  "new-epoch": () => ({ keys: [sys.head, sys.epoch], args: [] }),
  quarantine: (choose) => ({ keys: [at.head, at.quarantine], args: [word(choose), word(choose)] }),
  quarantined: () => ({ keys: [sys.head, at.quarantine, "{p01}:quarantine"], args: [] }),
  traces: (choose) => ({
    keys: [at.head, choose.of([at.live, at.destroyed, at.changes])],
    args: [place.identifier(choose), choose.of(["0", "1", "16777216"]), few(choose)],
  }),
  "term-traces": (choose, model) => ({
    keys: [at.head, ...place.buckets],
    args: [place.six(Number(number(choose, place.counter(model, "created"))))],
  }),
  claim: (choose) => ({ keys: [sys.head, sys.region], args: [word(choose)] }),
  formats: (choose) => ({
    keys: [sys.head, sys.formats],
    args: [
      ...[choose.of(["a1", "a2"]), String(1 + choose.below(3)), silentMs(choose)],
      ...[word(choose), unproven(choose), number(choose, 6)],
    ],
  }),
  "require-format": (choose) => ({
    keys: [sys.head, sys.epoch, sys.formats],
    args: [
      ...[epoch(choose), store(choose), String(1 + choose.below(4))],
      ...[word(choose), unproven(choose), silentMs(choose)],
    ],
  }),
  marker: () => ({
    keys: [sys.head, sys.beat, sys.replicasVersion, sys.formats, sys.keys],
    args: ["\x00\x01\x02\x03\x04\xff\xfe\x80"],
  }),
  rehearse: () => ({ keys: ["{sys}:scratch", "{p00}:scratch"], args: [] }),
  "note-covered": (choose, model) => ({
    keys: [at.head, sys.head],
    args: [store(choose), number(choose, place.counter(model, "change")), number(choose, 3)],
  }),
  initialise: () => ({
    keys: [sys.beat, sys.replicasVersion, sys.region, sys.keys, sys.formats, at.head, sys.head],
    args: [place.storeId, "a", "entry", "note", "2", "proof"],
  }),
  "set-key": (choose) => ({
    keys: [sys.head, sys.keys],
    args: [
      stamp(choose),
      choose.of(["1", "2", "note"]),
      ...[choose.of(["entry", "next", ""]), choose.of(["entry", "next"])],
    ],
  }),
  "key-step": (choose) => ({
    keys: [sys.head, sys.formats, sys.keys, ...choose.of([[], [sys.head, at.head]])],
    args: [
      ...[stamp(choose), choose.of(["note", ""]), choose.of(["note", "later note"])],
      ...[number(choose, 7), silentMs(choose), choose.of(["", "2"])],
      ...[choose.of(["", "entry"]), "next"],
    ],
  }),
  remac: (choose, model) => {
    const id = place.identifier(choose);
    const value = place.peek(model, at.records + id);
    const proof = choose.chance(80) ? value.slice(50, 74) : "p".repeat(24);
    return {
      keys: [sys.head, at.records + id],
      args: [
        stamp(choose),
        value.slice(0, 32),
        proof,
        place.proof(1),
        choose.of(["", "L2026" + "1body"]),
      ],
    };
  },
  "remember-replica": (choose) => ({
    keys: [sys.head, sys.replicas, sys.replicasVersion],
    args: ["1790000000000", ...choose.list(2, () => word(choose))],
  }),
  "forget-replica": (choose) => ({
    keys: [sys.head, sys.replicas, sys.replicasVersion],
    args: [word(choose)],
  }),
};
