export { planOf } from "./cluster/plan.ts";
export { type MadeKey, playVcenter } from "./vcenter/vcenter.ts";
export { UnexpectedAnswer, VcenterSession } from "./vcenter/vcenter-session.ts";
