import type { RedisModel } from "../redis-model.ts";
import type { Bytes } from "../reply.ts";
import type { Choices } from "./choices.ts";
import * as place from "./script-places.ts";

/** The keys and arguments of a script. */
interface Call {
  readonly keys: readonly Bytes[];
  readonly args: readonly Bytes[];
}

const { at } = place;

/** Chooses the keys and arguments of a script, such that it mostly has something to do. */
export type MakeCall = (choose: Choices, model: RedisModel) => Call;

/** A commit of up to three changes, mostly such that it is accepted. */
export const commit: MakeCall = (choose, model) => {
  const amount = choose.chance(90) ? 1 + choose.below(3) : 0;
  const drafts = Array.from({ length: amount }, () => draft(choose, model));
  const given = choose.chance(15) ? [place.identifier(choose)] : [];
  const records = drafts.map(({ id }) => at.records + id);
  const firstBucket = 13 + records.length;
  const givenAt = firstBucket + place.buckets.length;
  const events = choose.list(
    2,
    () => `event ${choose.below(1_000)}${choose.of(["", "\x01i", "\xf2\x07"])}`,
  );
  return {
    keys: [
      ...[at.head, at.counters, at.status, at.live, at.destroyed, at.changes, at.digests],
      ...[at.audit, at.reserved, at.states, at.surplus, at.shares, ...records, ...place.buckets],
      ...given.map((id) => at.records + id),
    ],
    args: [
      ...["256", place.instance, choose.of(["2", "100"])],
      ...[choose.of(["none", "known", "open"]), operationFor(choose, model, drafts), at.records],
      choose.chance(3) ? "another store ID" : place.storeId,
      String(given.length),
      ...given.flatMap((id, i) => [
        String(givenAt + i),
        choose.chance(20) ? "wrong" : (place.knownRecord(model, id)?.tag ?? ""),
      ]),
      ...[String(events.length), ...events, String(amount)],
      ...drafts.flatMap(({ words, terms }) => [
        ...words,
        String(terms.length),
        ...terms.flatMap(({ what, hash }, i) => [
          what,
          String(firstBucket + (i % place.buckets.length)),
          place.hashes[hash] ?? "",
        ]),
      ]),
    ],
  };
};

interface Draft {
  readonly id: Bytes;
  /** Kind to month. */
  readonly words: readonly Bytes[];
  readonly terms: readonly { readonly what: Bytes; readonly hash: number }[];
}

function draft(choose: Choices, model: RedisModel): Draft {
  const id = place.identifier(choose);
  const known = place.knownRecord(model, id);
  const before = choose.chance(5) ? place.digest(choose).slice(0, 16) : (known?.tag ?? "");
  const after = known !== undefined && choose.chance(10) ? known.digest : place.digest(choose);
  const version = (known?.version ?? 0) + (choose.chance(10) ? 0 : 1);
  const kind = known === undefined ? "create" : choose.of(["update", "update", "served"]);
  const state = choose.of(["1", "2", "3", "5", "6"]);
  const month = known?.month ?? choose.of(place.months);
  const term = choose.below(2);
  const record = `${state}${month}${term}${"x".repeat(choose.below(40))}`;
  const added = { what: choose.of(["+", "+", "u", "n", "c"]), hash: term };
  return {
    id,
    words: [
      ...[kind, id, before, after, place.proof(version), record],
      ...[known?.state ?? "", state, month],
    ],
    terms: [...(known === undefined ? [] : [{ what: "-", hash: known.term }]), added],
  };
}

/** The operation that holds the first record, mostly. */
function operationFor(choose: Choices, model: RedisModel, drafts: readonly Draft[]): Bytes {
  if (choose.chance(10)) return choose.of(place.operations);
  const hold = place.peekField(model, at.reserved, drafts[0]?.id ?? "");
  return hold === "" ? "" : hold.slice(8, 8 + hold.charCodeAt(7));
}

/** Another record in the place of a damaged one. */
export const repair: MakeCall = (choose, model) => {
  const id = place.identifier(choose);
  const known = place.knownRecord(model, id);
  const value = place.peek(model, at.records + id);
  const sha = choose.chance(10) ? place.sha1("other") : place.sha1(value);
  const ofRecord = (base: Bytes) =>
    place.entriesOf(model, base).filter(({ member }) => member.startsWith(id));
  const changes = ofRecord(at.changes);
  const places = ofRecord(at.live);
  const terms = choose.list(2, () => [
    choose.of(["-", "+", "u"]),
    String(11 + choose.below(2)),
    choose.of(place.hashes),
  ]);
  return {
    keys: [
      ...[at.head, at.counters, at.live, at.destroyed, at.changes, at.digests, at.reserved],
      ...[at.quarantine, at.records + id, at.states, ...place.buckets],
    ],
    args: [
      ...[sha, `o:${id}`, value, id, place.digest(choose), place.proof(choose.below(4))],
      ...[`1${choose.of(place.months)}${choose.below(2)}`, choose.of(["1", "2", "5"])],
      ...[known === undefined ? "" : String(known.created), "2"],
      choose.chance(5) ? "another store ID" : place.storeId,
      ...[
        String(changes.length),
        ...changes.flatMap(({ score, member }) => [String(score), member]),
      ],
      ...[
        String(places.length),
        ...places.flatMap(({ score, member }) => ["3", String(score), member]),
      ],
      ...[String(terms.length), ...terms.flat()],
    ],
  };
};
