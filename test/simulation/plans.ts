import type { Plan } from "./small-world.ts";

/** What is enumerated, the smallest first. */
export const wholePlans: readonly { readonly name: string; readonly plan: Plan }[] = [
  {
    name: "Destroy and Activate",
    plan: { destroyer: "a", activator: "b", cut: false },
  },
  {
    name: "Destroy and Activate, the other way round",
    plan: { destroyer: "b", activator: "a", cut: false },
  },
  {
    name: "Destroy and Activate in one region, and a cut",
    plan: { destroyer: "b", activator: "b", cut: true },
  },
  {
    name: "Destroy, Activate and a cut",
    plan: { destroyer: "a", activator: "b", cut: true },
  },
  {
    name: "Destroy from the later region, Activate and a cut",
    plan: { destroyer: "b", activator: "a", cut: true },
  },
  {
    name: "Destroy, the later region's leader, a read and a cut",
    plan: { destroyer: "a", leader: "b", reader: "b", cut: true },
  },
  {
    name: "all five, the leader of the later region",
    plan: { destroyer: "a", activator: "b", leader: "b", reader: "b", cut: true },
  },
  {
    name: "all five, the leader of the first region",
    plan: { destroyer: "b", activator: "a", leader: "a", reader: "b", cut: true },
  },
];
