import type { Plan } from "./small-world.ts";

/** A plan, and whether it takes minutes. */
export interface NamedPlan {
  readonly name: string;
  readonly plan: Plan;
  readonly large: boolean;
}

/** The plans to enumerate, the smallest first. */
export const plans: readonly NamedPlan[] = [
  {
    name: "Destroy and Activate",
    plan: { destroyer: "a", activator: "b", cut: false, slow: true },
    large: false,
  },
  {
    name: "Destroy and Activate, in the opposite regions",
    plan: { destroyer: "b", activator: "a", cut: false, slow: true },
    large: false,
  },
  {
    name: "Destroy and Activate in one region, and a cut",
    plan: { destroyer: "b", activator: "b", cut: true, slow: true },
    large: false,
  },
  {
    name: "Destroy, Activate and a cut",
    plan: { destroyer: "a", activator: "b", cut: true, slow: true },
    large: false,
  },
  {
    name: "Destroy from the later region, Activate and a cut",
    plan: { destroyer: "b", activator: "a", cut: true, slow: true },
    large: false,
  },
  {
    name: "Destroy, the later region's leader, a read and a cut",
    plan: { destroyer: "a", leader: "b", reader: "b", cut: true, slow: false },
    large: true,
  },
  {
    name: "all five, the leader of the later region",
    plan: { destroyer: "a", activator: "b", leader: "b", reader: "b", cut: true, slow: false },
    large: true,
  },
  {
    name: "all five, the leader of the first region",
    plan: { destroyer: "b", activator: "a", leader: "a", reader: "b", cut: true, slow: false },
    large: true,
  },
];
