import { placeName } from "./names.ts";

/** The words for a fault; `what` is the text that `faults.ts` gives it. */
export interface FaultTelling {
  readonly begins: (what: string) => string;
  /** Why it matters. */
  readonly why: string;
  /** Absent where it has no end. */
  readonly ends?: (what: string) => string;
}

const noAnswer =
  "A node that cannot reach the other region acknowledges changes alone, or refuses them: the setting decides.";

function stepOf(what: string): string {
  const [kind = "", part = ""] = what.split(", ");
  return `at the next ${part === "answer" ? "answer to" : "request of"} "${kind}" between them`;
}

function listOf(places: readonly string[]): string {
  const names = places.map(placeName);
  return `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}

function hanging(what: string): string {
  const [primary = "", node = ""] = what.split(", ");
  return `${placeName(node)} is about to hang while ${placeName(primary)} has not answered its barrier`;
}

/** One row for each fault of `faults.ts`, and for each order of `order.ts`. */
export const faultTellings: Readonly<Record<string, FaultTelling>> = {
  "cut between the regions": {
    begins: () => "the line between the regions is cut",
    why: `Neither region can know whether the other one is dead or only unreachable. ${noAnswer}`,
    ends: () => "the line between the regions is back",
  },
  "cut in the middle of an agreed operation": {
    begins: (what) => `the line between the regions is about to be cut: ${stepOf(what)}`,
    why: "Neither region can know how far the other one came: what is held stays held until they can ask each other.",
    ends: () => "the line between the regions is back",
  },
  "node dies in the middle of an agreed operation": {
    begins: (what) => `a node is about to die: ${stepOf(what)}`,
    why: "Nobody ends the operation that it began: the leaders must find out whether it was decided.",
    ends: () => "the node that died in an agreed operation may start again",
  },
  "instance rekeyed": {
    begins: (what) => `an operator rekeys the instance at ${placeName(what)}`,
    why: "Each region re-seals its own records, so copies of one key differ for a while: every answer must stay the same.",
  },
  "cut one way": {
    begins: (what) => {
      const [from = "", to = ""] = what.split(" > ");
      return `messages from ${placeName(from)} to ${placeName(to)} are lost; the other way is open`;
    },
    why: "Requests arrive and their answers do not, or the other way round: a node cannot know whether its request was carried out.",
    ends: () => "the line between the regions works both ways again",
  },
  "node cut from its Redis": {
    begins: (what) => `${placeName(what)} is cut off from the Redis of its region`,
    why: "It may not answer from memory: its lease on the store ends, and it asks the other region instead.",
    ends: (what) => `${placeName(what)} reaches its Redis again`,
  },
  "replica cut off": {
    begins: (what) => `the replica of region ${what} is cut off from its primary`,
    why: "A change that only the primary has would be lost with it, so the region acknowledges nothing by itself.",
    ends: (what) => `the replica of region ${what} reaches its primary again`,
  },
  "primary lost while its replica is behind": {
    begins: (what) =>
      `${placeName(what)}, a primary, is cut off from its replica and is about to lose its last writes`,
    why: "The worst moment for a fail-over: the replica that takes over lacks the newest writes.",
    ends: (what) => `${placeName(what)} may start again`,
  },
  "cut between the regions, and a store frozen after it": {
    begins: (what) =>
      `the line between the regions is cut, and ${placeName(what)} is about to hang`,
    why: "When the line is back, one region's store hangs: a node must not trust the other region too early.",
    ends: (what) => `${placeName(what)} runs again, and the line is back`,
  },
  "primary cut off with a node": {
    begins: (what) =>
      `${what.split("+").map(placeName).join(" and ")} are cut off from the rest of their region`,
    why: "Two primaries may run at once; only the one that has its replicas may acknowledge.",
    ends: (what) => `${what.split("+").map(placeName).join(" and ")} are back`,
  },
  "primary cut off with a node and a Sentinel": {
    begins: (what) => `${listOf(what.split("+"))} are cut off from the rest of their region`,
    why: "One Sentinel still names the old primary, and a node reaches both: that is no majority.",
    ends: (what) => `${listOf(what.split("+"))} are back`,
  },
  "primary replaced while a node hangs": {
    begins: (what) => `${hanging(what)}, and both are about to be cut off from the rest`,
    why: "When it wakes up, it gets the answer to a barrier from before: that must not let it use the old primary.",
    ends: (what) => `${listOf(what.split(", "))} are back`,
  },
  "region retired while a node hangs": {
    begins: (what) => `${hanging(what)}, and the other region is about to be lost and retired`,
    why: "When it wakes up, it sends changes that were decided before the retirement: the store must refuse them.",
    ends: () => "the node runs again, and the lost region is found again",
  },
  "region retired while a reservation is under way": {
    begins: (what) =>
      `region ${what} is about to be lost and retired while a reservation is under way`,
    why: "It arrives after the retirement, or after the region has rejoined: the store must refuse it.",
    ends: (what) => `region ${what} is found again`,
  },
  "level under way while another node leads": {
    begins: (what) =>
      `the lock masters of region ${what} will forget who leads while it says that its store is level`,
    why: "This arrives when another node leads: the store must refuse it.",
    ends: (what) => `nothing is under way to region ${what} any more`,
  },
  "lock masters that forget": {
    begins: (what) => `the lock masters of region ${what} forget who leads, again and again`,
    why: "Two nodes may lead at once: the store accepts only what the newer one sends.",
    ends: (what) => `the lock masters of region ${what} remember who leads`,
  },
  "old primary that a Sentinel still names": {
    begins: (what) =>
      `${placeName(what)}, a primary, dies, and will start again beside a Sentinel that does not know of its successor`,
    why: "Nodes that ask this Sentinel find a store that was replaced: they need the word of most Sentinels.",
    ends: (what) => `${placeName(what)} and the Sentinel reach the others again`,
  },
  "Sentinels cut off from nodes": {
    begins: (what) => `Sentinel and the nodes of region ${what} do not reach each other`,
    why: "The nodes would not hear of a new primary, so they may not trust the old one for long.",
    ends: (what) => `the nodes of region ${what} hear Sentinel again`,
  },
  "Redis frozen": {
    begins: (what) => `${placeName(what)} hangs`,
    why: "It may wake up later and believe that no time has passed.",
    ends: (what) => `${placeName(what)} runs again`,
  },
  "Redis killed": {
    begins: (what) => `${placeName(what)} dies`,
    why: "What it acknowledged is on its disk and on its replica's.",
    ends: (what) => `${placeName(what)} starts again with what is on its disk`,
  },
  "Redis killed, its last writes gone": {
    begins: (what) =>
      `${placeName(what)} dies, and writes that no barrier had made durable are gone`,
    why: "Only writes that nobody was told of may be lost here.",
    ends: (what) => `${placeName(what)} starts again with what is on its disk`,
  },
  "Redis full": {
    begins: (what) => `the Redis of region ${what} is full`,
    why: "Changes that need room go to the other region; reads and Destroy still work.",
    ends: (what) => `the Redis of region ${what} has room again`,
  },
  "slow disk": {
    begins: (what) => `the disk of ${placeName(what)} is slow`,
    why: "A change counts only once it is on the disk: clients wait, and the region may have to stop acknowledging by itself.",
    ends: (what) => `the disk of ${placeName(what)} is fast again`,
  },
  "one Sentinel cut off": {
    begins: (what) => `one of three Sentinels of region ${what[0]} is cut off`,
    why: "The other two still agree on a new primary; nodes need the word of most Sentinels.",
    ends: (what) => `the Sentinel of region ${what[0]} is back`,
  },
  "record damaged": {
    begins: (what) => `a record in the Redis of region ${what[0]} is damaged`,
    why: "No node may answer that the key does not exist: it takes the record from the other region, and repairs its own.",
  },
  "record of the next format": {
    begins: (what) =>
      `a record in the Redis of region ${what[0]} is one that only a newer release reads`,
    why: "No node may take it for damaged, replace it or answer with an older copy: it answers that it cannot tell.",
    ends: (what) => `the record in the Redis of region ${what[0]} can be read again`,
  },
  "copy that contradicts a record": {
    begins: (what) =>
      `${placeName(what.split(" ")[0] ?? "")} gets a copy from the other region that contradicts its record`,
    why: "No region may alter what the other one's key is: the copy is put aside, or the part that opens is kept.",
  },
  "node frozen": {
    begins: (what) => `${placeName(what)} hangs`,
    why: "When it wakes up, it must not act on what was true before.",
    ends: (what) => `${placeName(what)} runs again`,
  },
  "node killed": {
    begins: (what) => `${placeName(what)} dies`,
    why: "Nodes keep nothing themselves: clients go to another one.",
    ends: (what) => `${placeName(what)} starts again`,
  },
  "clock jump": {
    begins: (what) => {
      const [node = "", ms = ""] = what.split(/ by | ms$/);
      const seconds = (Math.abs(Number(ms)) / 1_000).toFixed(1);
      return `the clock of ${placeName(node)} jumps; it is now ${seconds} s ${Number(ms) < 0 ? "slow" : "fast"}`;
    },
    why: "The later of two writes to one attribute must win, even if a clock is wrong.",
  },
  "region lost and retired": {
    begins: (region) => `region ${region} is lost, and the operator of the other region retires it`,
    why: "From then on the other region decides alone. If the lost one comes back, it must refuse every client until it has rejoined.",
    ends: (region) => `region ${region} is found again; its operator lets it rejoin`,
  },
  "release with another format": {
    begins: () => "a release that writes another format of records comes to all nodes, one by one",
    why: "The new format may be written only once every node of both regions reads it; until then nodes may go back.",
    ends: () => "the operators end the upgrade",
  },
  "node with another Redis of its region": {
    begins: (what) =>
      `${placeName(what)} is configured with a new Redis, which its region's other node does not use`,
    why: "Two nodes of one region use different stores; what the other region has must survive that.",
    ends: (what) => `${placeName(what)} uses its region's Redis again`,
  },
  "node with the other region's Redis": {
    begins: (what) => `${placeName(what)} is configured with the Redis of the other region`,
    why: "What only one store has would count as kept in both regions: the node must not start.",
    ends: (what) => `${placeName(what)} uses its region's Redis again`,
  },
  "root of trust out of reach": {
    begins: (region) => `the root of trust of region ${region} does not answer`,
    why: "It wraps the keys above all keys: nodes that have them open go on for a while, others cannot hand out a key.",
    ends: (region) => `the root of trust of region ${region} answers again`,
  },
  "slow network": {
    begins: () => "messages are late, out of order, or lost, everywhere",
    why: "A request may be done although its answer never comes.",
    ends: () => "the network is as quick as before",
  },
  "instance deleted": {
    begins: () => "an operator orders the deletion of a second instance",
    why: "Once this is acknowledged, no node may hand out a key of it, and nothing of it may be left in either region.",
  },
  "backup restored": {
    begins: () => "an operator makes a backup, which is restored later",
    why: "What was acknowledged before must come back, even if every store is lost; nothing newer may be taken back.",
  },
  "keys restored": {
    begins: () => "operators destroy keys with a delay, and restore some of them",
    why: "A destroyed key is given to nobody at once. A restored key comes back in both regions; one whose delay is over never does.",
  },
  "storage keys rotated": {
    begins: () => "operators rotate the keys of the regions' stores",
    why: "All records get another proof while clients change them: none may be lost, or taken for damaged, and the older key must end.",
  },
  "instances managed": {
    begins: () => "operators order, change and delete instances",
    why: "Each change that was acknowledged must be there at the end; of two that need the same version, one is refused.",
  },
};
