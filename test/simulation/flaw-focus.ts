import type { Flaw } from "./flaws.ts";

/** The kind of fault that reveals each flaw; any kind reveals the others. */
export const focusOf: Readonly<Partial<Record<Flaw, string>>> = {
  // A fail-over gives the same number twice.
  "a counter as version": "primary lost while its replica is behind",
  "acknowledge before the barrier": "primary lost while its replica is behind",
  "no-change answered without a barrier": "backup restored",
  "WAITAOF on another connection": "primary lost while its replica is behind",
  "Item Not Found on an unreachable peer": "cut between the regions",
  "a fetch answered through the remote store":
    "cut between the regions, and a store frozen after it",
  "last writer wins without the stamp rule": "clock jump",
  "a region as the writer of a value": "node cut from its Redis",
  "a format that only one region reads": "release with another format",
  "an older release on a store of the next one": "release with another format",
  "a region that hands over no changes": "region lost and retired",
  "a node that does not name its store": "node with another Redis of its region",
  "a region that is not told of its stores": "node with another Redis of its region",
  "a copy that is put aside counts as kept": "copy that contradicts a record",
  "counts that nobody corrects": "record damaged",
  "a newer format counts as damage": "record of the next format",
  "a deletion that one region decides": "instance deleted",
  "a deletion that nobody finishes": "instance deleted",
  "a deletion that leaves the wraps": "instance deleted",
  "a deletion that leaves the objects": "instance deleted",
  "a deletion that closes no access": "instance deleted",
  "a backup that lacks records": "backup restored",
  "a restore without the keys": "backup restored",
  "a version that is not compared": "instances managed",
  "a name that one region gives": "instances managed",
};

/** The seed at which the search for a flaw begins; 1 for the others. Earlier histories do not show it. */
export const firstSeedOf: Readonly<Partial<Record<Flaw, number>>> = {
  "no-change answered without a barrier": 157,
  "a fetch answered through the remote store": 47,
  "a region as the writer of a value": 6,
  "a node that does not name its store": 39,
  "a region that is not told of its stores": 39,
  "a deletion that one region decides": 15,
  "a deletion that nobody finishes": 6,
  "a backup that lacks records": 8,
  "a restore without the keys": 8,
};
