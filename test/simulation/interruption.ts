import type { SimNode } from "./node.ts";
import type { Random } from "./random.ts";
import type { Call } from "./sim-peer.ts";
import type { World } from "./world.ts";

/** The steps of an agreed operation at another region; the writes decide, or follow the decision. */
const steps: readonly Pick<Call, "kind" | "part">[] = [
  { kind: "reserve", part: "request" },
  { kind: "reserve", part: "answer" },
  { kind: "agreed write", part: "request" },
  { kind: "agreed write", part: "request" },
  { kind: "agreed write", part: "answer" },
  { kind: "agreed write", part: "answer" },
];

/** What happens to the node that asks; returns functions that end it. `isOver` says whether the fault has ended. */
type Happening = (asking: SimNode, isOver: () => boolean) => readonly (() => void)[];

/** Lets something happen as soon as an agreed operation takes a certain step. */
export function interrupted(world: World, random: Random, happens: Happening) {
  const { kind, part } = random.pick(steps);
  let ends: readonly (() => void)[] = [];
  let over = false;
  const heed = (call: Call): void => {
    const asking = world.nodes.find(({ machine }) => machine.name === call.asking);
    if (call.kind !== kind || call.part !== part || asking === undefined) return;
    world.heeds.delete(heed);
    // By then the message is under way.
    world.scheduler.after(0, () => {
      if (!over) ends = happens(asking, () => over);
    });
  };
  world.heeds.add(heed);
  const end = (): void => {
    over = true;
    world.heeds.delete(heed);
    for (const each of ends) each();
  };
  return { what: `${kind}, ${part}`, end };
}
