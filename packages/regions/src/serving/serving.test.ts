import fc from "fast-check";
import { expect, test } from "vitest";
import {
  mustRequestResync,
  type Others,
  type ServingEvent,
  type ServingState,
  serveStep,
  serving,
  servingAtStart,
} from "./serving.ts";

const full = { type: "lease", lease: "full", storeId: "s" } as const;
const lapse = { type: "lease", lease: "none", storeId: undefined } as const;
const short = { type: "lease", lease: "readOnly", storeId: "s" } as const;
const refused = { type: "refused" } as const;
const doubt = { type: "doubt", doubted: true } as const;
const others = (state: Others) => ({ type: "others", others: state }) as const;

function after(...events: readonly ServingEvent[]): ServingState {
  return events.reduce(serveStep, servingAtStart);
}

/** The events by which a store becomes level in its present outage. */
function levelled(state: ServingState, request = 1): ServingState {
  const { outage } = state;
  const asked = serveStep(state, { type: "levels", outage, request, reached: 0, lost: 0 });
  return serveStep(asked, { type: "levels", outage, reached: request, lost: 0 });
}

function served(state: ServingState): string {
  const { from, writes, through, doubted } = serving(state);
  const ways = Object.entries({ writes, through, doubted }).filter(([, is]) => is);
  return [from, ...ways.map(([way]) => way)].join(" ");
}

test.each<[string, string, () => ServingState]>([
  ["at the start", "none", () => after()],
  ["full, nobody met yet", "none", () => after(full)],
  ["full, a region alone", "local writes", () => after(full, others("absent"))],
  ["full, not level, others up", "remote writes", () => after(full, others("up"))],
  ["full, not level, others down", "local writes through", () => after(full, others("down"))],
  ["... and up again", "local writes through", () => after(full, others("down"), others("up"))],
  ["full and level", "local writes", () => levelled(after(full, others("up")))],
  ["... others down", "local writes", () => serveStep(levelled(after(full)), others("down"))],
  ["lapsed, others up", "remote writes", () => after(full, others("up"), lapse)],
  ["lapsed, others down", "none", () => after(full, others("down"), lapse)],
  ["short, nobody met yet", "none", () => after(short)],
  ["short, others up", "remote writes", () => after(short, others("up"))],
  ["short, others down", "local", () => after(short, others("down"))],
  ["short, a region alone", "local", () => after(short, others("absent"))],
  ["the others do not serve", "local writes through", () => after(full, others("up"), refused)],
  [
    "refused without a lease",
    "remote writes",
    () => after(full, others("up"), lapse, refused, full),
  ],
  [
    "not reached any more",
    "local writes through",
    () => after(full, others("down"), others("unknown")),
  ],
  ["retired", "none", () => after(full, others("absent"), { type: "retired", retired: true })],
  ["doubted, a region alone", "local doubted", () => after(full, others("absent"), doubt)],
  ["doubted, others up", "remote writes", () => after(full, others("up"), doubt)],
  ["doubted, others down", "local through doubted", () => after(full, others("down"), doubt)],
  [
    "doubted in a cut",
    "local through doubted",
    () => after(doubt, full, others("down"), others("up"), refused),
  ],
  [
    "doubted, and the others serve again",
    "remote writes",
    () => after(doubt, full, others("up"), refused, { type: "serves" }),
  ],
  ["doubted, nobody met yet", "none", () => after(full, doubt)],
  ["doubted and short", "local through doubted", () => after(short, others("down"), doubt)],
  ["doubted without a lease", "none", () => after(others("absent"), doubt)],
])("%s: %s", (_, expected, state) => {
  expect(served(state())).toBe(expected);
});

test("every lapse is an outage: a level store is no longer level, and needs a new resync", () => {
  const level = levelled(after(full, others("up")));
  expect(mustRequestResync(level)).toBe(false);
  for (const event of [lapse, short]) {
    const back = serveStep(serveStep(level, event), full);
    expect(served(back)).toBe("remote writes");
    expect(mustRequestResync(back)).toBe(true);
  }
});

test("an outage begins once: what says the same again changes nothing", () => {
  const level = levelled(after(full, others("up")));
  expect(after(full, lapse).outage).toBeGreaterThan(after(full).outage);
  expect(after(full, lapse, lapse, full).outage).toBe(after(full, lapse).outage);
  expect(after(full, short, lapse).outage).toBe(after(full, short).outage);
  expect(serveStep(level, full)).toBe(level);
  expect(serveStep(level, { type: "retired", retired: false })).toBe(level);
  expect(serveStep(level, { type: "doubt", doubted: false })).toBe(level);
  const doubted = levelled(serveStep(level, doubt), 2);
  expect(serveStep(doubted, doubt)).toBe(doubted);
  expect(mustRequestResync(after())).toBe(false);
});

test("each way to serve has a reason of its own", () => {
  const states = [
    after(full, others("down"), lapse),
    after(full),
    after(full, others("up")),
    after(full, others("up"), lapse),
    after(full, others("up"), short),
    after(full, others("down"), short),
    after(full, others("down")),
    levelled(after(full)),
    lost(levelled(after(full, others("up")))),
    after(full, { type: "retired", retired: true }),
  ];
  const reasons = states.map((state) => serving(state).reason);
  expect(new Set(reasons).size).toBe(reasons.length);
  expect(serving(after()).reason).toBe(reasons[0]);
});

test("another store's data are an outage although the lease never lapsed", () => {
  const other = serveStep(levelled(after(full, others("up"))), { ...full, storeId: "t" });
  expect(served(other)).toBe("remote writes");
  expect(mustRequestResync(other)).toBe(true);
});

test("what was asked before the last outage does not count", () => {
  const first = after(full, others("up"));
  const second = [lapse, full].reduce(serveStep, first);
  const late = { type: "levels", outage: first.outage, request: 1, reached: 1, lost: 0 } as const;
  expect(served(serveStep(second, late))).toBe("remote writes");
});

test("a level that an earlier request reached does not count", () => {
  const state = after(full, others("up"));
  const { outage } = state;
  const asked = serveStep(state, { type: "levels", outage, request: 7, reached: 0, lost: 0 });
  expect(served(serveStep(asked, { type: "levels", outage, reached: 6, lost: 0 }))).toBe(
    "remote writes",
  );
  expect(served(serveStep(asked, { type: "levels", outage, reached: 7, lost: 0 }))).toBe(
    "local writes",
  );
});

test("coming back from retirement is an outage", () => {
  const retired = serveStep(levelled(after(full, others("up"))), {
    type: "retired",
    retired: true,
  });
  expect(serveStep(retired, { type: "retired", retired: true })).toBe(retired);
  expect(served(serveStep(retired, { type: "retired", retired: false }))).toBe("remote writes");
});

test("serving as in a cut lasts until the store is level or its lease lapses again", () => {
  const cut = after(full, others("down"), others("up"));
  expect(served(levelled(cut))).toBe("local writes");
  expect(served([lapse, full].reduce(serveStep, cut))).toBe("remote writes");
  expect(served(serveStep(cut, { ...full, storeId: "t" }))).toBe("remote writes");
});

/** What the store's levels are once it had no room for something, at request 2. */
function lost(state: ServingState, reached = 1): ServingState {
  const { outage } = state;
  return serveStep(state, { type: "levels", outage, reached, lost: 2 });
}

test("a store that had no room for another region's change is no longer level, until it has it", () => {
  const level = levelled(after(full, others("up")));
  expect(lost(level, 2)).toMatchObject({ level: true });
  const lacking = lost(level);
  expect(serving(lacking)).toMatchObject({ from: "remote", writes: true, agrees: true });
  expect(mustRequestResync(lacking)).toBe(false);
  expect(lost(lacking)).toBe(lacking);
  expect(served(lost(lacking, 2))).toBe("local writes");
  // As in a cut it serves what it has, until another region that has more serves.
  const cut = serveStep(lacking, others("down"));
  expect(served(cut)).toBe("local writes through");
  const met = serveStep(cut, others("up"));
  expect(served(met)).toBe("local writes through");
  expect(lost(met)).toBe(met);
  const { outage } = met;
  const more = serveStep(met, { type: "levels", outage, reached: 1, lost: 3 });
  expect(serving(more)).toMatchObject({ from: "remote", agrees: true });
  // After an outage it is not known what it has.
  expect(serving([lapse, full].reduce(serveStep, lacking)).agrees).toBe(false);
});

test("others that refused to serve are not waited for, until they are met again", () => {
  const asked = after(full, others("up"), refused);
  const { outage } = asked;
  const request = { type: "levels", outage, request: 1, reached: 0, lost: 0 } as const;
  const lacking = [request, { ...request, lost: 3 }].reduce(serveStep, asked);
  expect(served(lacking)).toBe("local writes through");
  const met = [others("down"), others("up")].reduce(serveStep, lacking);
  expect(served(serveStep(met, { ...request, lost: 4 }))).toBe("remote writes");
  const unseen = [others("down"), others("unknown")].reduce(serveStep, lacking);
  expect(served(serveStep(unseen, { ...request, lost: 4 }))).toBe("local writes through");
  // That they serve ends only a doubt: without one, clients stay where they are.
  const serves = serveStep(lacking, { type: "serves" });
  expect(served(serveStep(serves, { ...request, lost: 4 }))).toBe("local writes through");
  // Once the store was level, they are asked again.
  expect(served(lost(levelled(asked)))).toBe("remote writes");
  const lapsed = after(full, others("up"), lapse);
  expect(serveStep(lapsed, refused)).toBe(lapsed);
});

test("a store that is not level agrees to nothing, unless it only lacked room", () => {
  const state = after(full, others("up"));
  expect(serving(state)).toMatchObject({ from: "remote", agrees: false });
  expect(serving(after({ ...full, storeId: undefined }, others("up")))).toEqual(serving(state));
  expect(serving(levelled(state)).agrees).toBe(true);
  const { outage } = state;
  const asked = serveStep(state, { type: "levels", outage, request: 3, reached: 1, lost: 0 });
  expect(serving(asked)).toMatchObject({ from: "remote", agrees: false });
  expect(serving(lost(asked, 1))).toMatchObject({ from: "remote", agrees: true });
  expect(serving(lost(asked, 2))).toMatchObject({ from: "remote", agrees: false });
});

test("a region that was level without other regions loses its level like any other", () => {
  const alone = after(full, others("absent"));
  const met = serveStep(alone, others("up"));
  expect(served(lost(met, 2))).toBe("local writes");
  expect(served(lost(met, 1))).toBe("remote writes");
});

test("a doubt is an outage, and a level does not end it; its end is another one, since what was refused meanwhile is lacking", () => {
  const level = levelled(after(full, others("up")));
  const doubted = serveStep(level, doubt);
  expect(mustRequestResync(doubted)).toBe(true);
  expect(served(levelled(doubted, 2))).toBe("remote writes");
  const alone = serveStep(levelled(doubted, 2), others("down"));
  expect(serving(alone)).toMatchObject({ from: "local", writes: false, doubted: true });
  expect(serving(alone).agrees).toBe(false);
  const end = { type: "doubt", doubted: false } as const;
  expect(served(serveStep(alone, end))).toBe("local writes through");
  const ended = serveStep(levelled(doubted, 2), end);
  expect(mustRequestResync(ended)).toBe(true);
  expect(served(ended)).toBe("remote writes");
  expect(served(levelled(ended, 3))).toBe("local writes");
});

const events: fc.Arbitrary<ServingEvent> = fc.oneof(
  fc.record({
    type: fc.constant("lease" as const),
    lease: fc.constantFrom("full", "readOnly", "none"),
    storeId: fc.constantFrom("s", "t", undefined),
  }),
  fc.record({
    type: fc.constant("others" as const),
    others: fc.constantFrom<Others[]>("absent", "unknown", "down", "up"),
  }),
  fc.record({
    type: fc.constant("levels" as const),
    outage: fc.integer({ min: 1, max: 8 }),
    reached: fc.nat({ max: 4 }),
    lost: fc.nat({ max: 4 }),
  }),
  fc.record({
    type: fc.constant("levels" as const),
    outage: fc.integer({ min: 1, max: 8 }),
    reached: fc.nat({ max: 4 }),
    lost: fc.nat({ max: 4 }),
    request: fc.integer({ min: 1, max: 4 }),
  }),
  fc.constant({ type: "refused" } as const),
  fc.constant({ type: "serves" } as const),
  fc.record({ type: fc.constant("doubt" as const), doubted: fc.boolean() }),
  fc.record({ type: fc.constant("retired" as const), retired: fc.boolean() }),
);

function check(state: ServingState, reachedIn: number): void {
  const { from, writes, through, agrees, doubted } = serving(state);
  const rules = [
    from !== "local" || state.lease !== "none",
    from !== "local" || !writes || state.lease === "full",
    from !== "local" || !writes || through || (state.level && reachedIn === state.outage),
    !agrees || (state.lease === "full" && !state.retired),
    !agrees || through || state.level || state.lacking,
    from !== "remote" || state.others === "up",
    from === "none" || !state.retired,
    from !== "local" || !state.doubted || !(writes || agrees),
    from !== "local" || !state.doubted || through === (state.others !== "absent"),
    doubted === (from === "local" && state.doubted),
  ];
  expect(rules).toEqual(rules.map(() => true));
  expect(serveStep(state, { type: "others", others: state.others })).toBe(state);
}

test("in every history the own store serves only with a lease, and alone only if it is level", () => {
  fc.assert(
    fc.property(fc.array(events, { maxLength: 30 }), (history) => {
      let state = servingAtStart;
      let reachedIn = 0;
      for (const event of history) {
        state = serveStep(state, event);
        if (state.level) reachedIn = state.outage;
        check(state, reachedIn);
      }
    }),
    { seed: 20_261_125, numRuns: 1_000 },
  );
});
