import type { EventFields, EventKind, StoryEvent } from "./events.ts";
import { faultTellings } from "./fault-tellings.ts";
import { capital, placeName, stateName } from "./names.ts";
import { brokenBy } from "./promises.ts";
import { isNotable, requestText, requestWhy, wishTellings } from "./request-tellings.ts";

/** How much an event matters to somebody who reads a short story: 0 is always told, 4 is a detail. */
export const weights = [0, 1, 2, 3, 4] as const;
type Weight = (typeof weights)[number];

/** How an event looks on the page. */
type Tone = "client" | "system" | "fault" | "repair" | "broken";

interface Telling<Fields> {
  readonly who: (fields: Fields) => string;
  /** Without a full stop. */
  readonly what: (fields: Fields) => string;
  /** Why it matters. */
  readonly why: (fields: Fields) => string;
  readonly weight: (fields: Fields) => Weight;
  readonly tone: (fields: Fields) => Tone;
  /** Where it happens: nodes, Redis processes, Sentinels, regions. */
  readonly places: (fields: Fields) => readonly string[];
}

/** An event in words, for the story and for the page. */
export interface Told {
  readonly who: string;
  readonly what: string;
  readonly why: string;
  readonly weight: Weight;
  readonly tone: Tone;
  readonly places: readonly string[];
}

const nodeOf = ({ node }: { readonly node: string }): string => `node ${node}`;
const atNode = ({ node }: { readonly node: string }): readonly string[] => [node];
const system = (): Tone => "system";
const detail = (): Weight => 4;
const always = (): Weight => 0;

/** Every place that the words of a fault name. */
function placesIn(what: string): readonly string[] {
  return what.match(/\b[ab](?::\w+|\d)?\b/g) ?? [];
}

/** The reasons that a node gives, in words that need no glossary. */
const servingReasons: Readonly<Record<string, string>> = {
  "own store is not level yet": "its own store must first catch up",
  "no lease on the own store": "it can no longer be sure of its own Redis",
  "the barrier of the own store is short": "its own Redis has no confirmation from its replica",
  "own store had no room for all": "its own store was full, and lacks changes",
  "own store, not level yet: no other region can serve":
    "that may lack changes, but the other region does not answer either",
  "this region was retired: `holdfast region rejoin` brings it back":
    "the other region decides alone until this one has rejoined",
  "no contact with the other region yet": "it has not heard the other region yet",
  "no lease on the own store, and no other region in reach":
    "it cannot be sure of its own Redis, and the other region does not answer",
  "own store for reads only: its barrier is short, and no other region is in reach":
    "its Redis has no confirmation from its replica, and the other region does not answer",
};

/** A violation's message without the details for programmers. */
function inWords(message: string): string {
  return message
    .replace(/ answered \{.*\}$/, "")
    .replace(" (store undefined)", "")
    .replace(" ms,", " ms")
    .replace(/rank (\d)/g, (rank, value) => `${rank} (${stateName(Number(value))})`);
}

/** One row for each kind of event: the words of the story and of the page. */
const tellings: { readonly [Kind in EventKind]: Telling<EventFields[Kind]> } = {
  begin: {
    who: () => "start",
    what: ({ seed, replicas, flaw }) => {
      const redis = replicas === 0 ? "one Redis" : "a Redis primary and its replica";
      const planted = flaw === undefined ? "" : `; a fault is planted in the code: "${flaw}"`;
      return `history ${seed}: two regions, a and b, each with two nodes and ${redis}${planted}`;
    },
    why: ({ farMs, required }) => {
      const setting = required
        ? "A change that only one region has is never acknowledged (peer.acknowledgement: required)."
        : "If a region cannot reach the other one, it acknowledges changes alone (peer.acknowledgement: preferred).";
      return `Clients ask any node. A message takes at least ${farMs} ms from region to region. ${setting}`;
    },
    weight: always,
    tone: system,
    places: () => ["a", "b"],
  },
  request: {
    who: () => "client",
    what: requestText,
    why: requestWhy,
    weight: (request) => {
      if (isNotable(request)) return 1;
      return wishTellings[request.wish].changes && request.answer?.kind === "done" ? 2 : 3;
    },
    tone: () => "client",
    places: atNode,
  },
  serving: {
    who: nodeOf,
    what: ({ node, from, writes, reason }) => {
      const why = servingReasons[reason.replace(": another region serves", "")] ?? reason;
      if (from === "none") return `answers "cannot tell" for now: ${why}`;
      const other = node.startsWith("a") ? "b" : "a";
      if (from === "remote") return `serves from the store of region ${other}: ${why}`;
      const own = `serves ${writes ? "" : "reads only "}from its own region's store`;
      return reason === "own store" ? own : `${own}: ${why}`;
    },
    why: ({ from, writes }) => {
      if (from === "none") return "An error is better than a wrong answer.";
      if (from === "remote") {
        return "Its own store may lack changes or may not be the real one; the other region's has everything.";
      }
      return writes
        ? "It knows that this store is the real one, and complete as far as it can know."
        : "Nothing can have replaced this store, but a change would not be safe on it.";
    },
    weight: ({ again }) => (again ? 3 : 1),
    tone: ({ from, writes }) => (from === "local" && writes ? "repair" : "system"),
    places: atNode,
  },
  peer: {
    who: nodeOf,
    what: ({ region, state }) =>
      state === "up" ? `reaches region ${region} again` : `does not reach region ${region}`,
    why: ({ state }) =>
      state === "up"
        ? "From here on both regions have a change before a client is told."
        : "It cannot know whether that region is dead.",
    weight: () => 2,
    tone: system,
    places: atNode,
  },
  push: {
    who: nodeOf,
    what: ({ records, result }) => {
      const changes = records === 1 ? "a change" : `${records} changes`;
      return result === "shared"
        ? `has ${changes} in both regions`
        : `has ${changes} in its own region alone`;
    },
    why: ({ result }) =>
      result === "shared"
        ? "Only now is the client told."
        : "The other region gets it later; until then it depends on this region's disks.",
    weight: detail,
    tone: system,
    places: atNode,
  },
  join: {
    who: nodeOf,
    what: ({ region, result }) => {
      const copy = `a copy that region ${region} sent`;
      if (result === "written") return `stores ${copy}`;
      return result === "reserved"
        ? `cannot take ${copy} now: both regions are about to agree on that key`
        : `does not take ${copy}: ${result}`;
    },
    why: () => "Copies are joined: nothing that either region knows is taken back.",
    weight: ({ result }) => (result === "written" || result === "reserved" ? 4 : 1),
    tone: system,
    places: atNode,
  },
  agreement: {
    who: nodeOf,
    what: ({ result }) =>
      result === "agreed"
        ? "has the agreement of both regions"
        : `does not have the agreement of both regions (${result})`,
    why: () => "Destroy is done in both regions or in none.",
    weight: detail,
    tone: system,
    places: atNode,
  },
  leader: {
    who: nodeOf,
    what: ({ node, state, epoch }) => {
      const region = `region ${node.slice(0, 1)}`;
      if (state === "leader") return `leads ${region}, term ${epoch}`;
      return state === "standing" ? `stands for leader of ${region}` : `leads ${region} no longer`;
    },
    why: ({ state }) =>
      state === "leader"
        ? "The leader brings the region up to date, and finishes or drops operations that a dead node began."
        : "The store refuses writes of an old leader.",
    weight: ({ state }) => (state === "standing" ? 4 : 2),
    tone: system,
    places: atNode,
  },
  duty: {
    who: nodeOf,
    what: ({ duty, cause }) => `could not do its duty "${duty}": ${cause}`,
    why: () => "A leader tries again until it can.",
    weight: detail,
    tone: system,
    places: atNode,
  },
  warning: {
    who: nodeOf,
    what: ({ message }) => `warns: ${message}`,
    why: () => "An operator sees this in the log.",
    weight: detail,
    tone: system,
    places: atNode,
  },
  fault: {
    who: () => "fault",
    what: ({ name, what }) => faultTellings[name]?.begins(what) ?? `${name}: ${what}`,
    why: ({ name }) => faultTellings[name]?.why ?? "",
    weight: always,
    tone: () => "fault",
    places: ({ what }) => placesIn(what),
  },
  faultOver: {
    who: () => "repair",
    what: ({ name, what }) => faultTellings[name]?.ends?.(what) ?? `${name}: ${what} is over`,
    why: () => "A part that was away must first catch up.",
    weight: always,
    tone: () => "repair",
    places: ({ what }) => placesIn(what),
  },
  storeLost: {
    who: () => "fault",
    what: ({ region, copy }) =>
      copy
        ? `an operator puts an old copy of the data back into the Redis of region ${region}`
        : `region ${region} loses all disks of its Redis, and begins with an empty store`,
    why: ({ changes }) => {
      const limit = "Changes that only this region had are lost: that is the known limit";
      const many = changes === 1 ? "this is 1 change" : `these are ${changes} changes`;
      const lost =
        changes === 0 ? "No acknowledged change was in this region alone" : `${limit}, and ${many}`;
      return `Everything that both regions had must come back from the other one. ${lost}.`;
    },
    weight: always,
    tone: () => "fault",
    places: ({ region }) => [region],
  },
  promotion: {
    who: ({ region }) => placeName(`${region}:sentinel`),
    what: ({ process }) => `makes ${placeName(process)} the primary`,
    why: () =>
      "It must have everything that was acknowledged; the old primary may still believe that it is one.",
    weight: always,
    tone: () => "repair",
    places: ({ region, process }) => [process, `${region}:sentinel`],
  },
  healed: {
    who: () => "repair",
    what: () => "all faults end; clients stop",
    why: () => "From now on everything must become ready again by itself.",
    weight: always,
    tone: () => "repair",
    places: () => ["a", "b"],
  },
  settled: {
    who: () => "check",
    what: () => "every node serves from its own store, and both regions have the same records",
    why: () => "Nobody had to do anything.",
    weight: always,
    tone: () => "repair",
    places: () => ["a", "b"],
  },
  checked: {
    who: () => "check",
    what: ({ answers }) =>
      `every key is read at every node (${answers} answers), and every acknowledged change is looked for in both regions`,
    why: () => "All of them must be there.",
    weight: always,
    tone: () => "repair",
    places: () => ["a", "b"],
  },
  violation: {
    who: () => "VIOLATION",
    what: ({ message }) => `a promise is broken: ${brokenBy(message).promise}`,
    why: ({ message }) => `The checker says: ${capital(inWords(message))}.`,
    weight: always,
    tone: () => "broken",
    places: ({ message }) => placesIn(/ at ([ab]\d) /.exec(message)?.[1] ?? ""),
  },
  end: {
    who: () => "end",
    what: ({ shared, alone, lostAlone, violation }) => {
      const all = shared + alone;
      if (violation !== undefined) return `the history ends here, with ${all} changes acknowledged`;
      const limit = lostAlone === 0 ? "" : `; of these, ${lostAlone} went with its store`;
      return `no promise was broken; ${all} changes were acknowledged, ${alone} of them by one region alone${limit}`;
    },
    why: () => "",
    weight: always,
    tone: ({ violation }) => (violation === undefined ? "repair" : "broken"),
    places: () => [],
  },
};

export const eventKinds = Object.keys(tellings) as readonly EventKind[];

/** An event in words. */
export function tell(event: StoryEvent): Told {
  const row = tellings[event.kind] as Telling<StoryEvent>;
  return {
    who: row.who(event),
    what: row.what(event),
    why: row.why(event),
    weight: row.weight(event),
    tone: row.tone(event),
    places: row.places(event),
  };
}
