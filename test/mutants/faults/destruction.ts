import type { PlantedFault } from "../fault.ts";

const engine = "packages/engine/src";
const regions = "packages/regions/src";
const server = "packages/server/src";
const lifecycle = `${engine}/record/lifecycle.ts`;
const lifecycleTests = [`${engine}/operations/lifecycle-operations.test.ts`];
const dutyTests = [`${regions}/leader/due-dates.test.ts`];
const keyTests = [`${server}/management/keys/key-handlers.test.ts`];

/** Faults in destructions with a delay. */
export const destructionFaults: readonly PlantedFault[] = [
  {
    name: "delayed-destroy-is-not-seen",
    kind: "engine",
    file: lifecycle,
    find: 'return destroyed !== undefined || destruction?.state === "pending";',
    replace: "return destroyed !== undefined && destruction?.until !== 0;",
    rule: "a key that was destroyed with a delay answers as Destroyed at once",
    promises: ["A key that was destroyed with a delay"],
    tests: lifecycleTests,
  },
  {
    name: "destroyed-before-the-delay-is-over",
    kind: "engine",
    file: lifecycle,
    find: "if (pending === undefined || pending.until > nowSeconds) return facts;",
    replace: "if (pending === undefined || pending.time > nowSeconds) return facts;",
    rule: "material is not erased before the delay is over",
    promises: ["A key that was destroyed with a delay"],
    tests: lifecycleTests,
  },
  {
    name: "restore-before-its-destruction",
    kind: "engine",
    file: lifecycle,
    find: "return Math.max(us, (destruction?.us ?? 0) + 1);",
    replace: "return Math.max(us, destruction?.us ?? 0);",
    rule: "a restore is later than the destruction that it takes back, whatever the clock says",
    promises: ["A key that was destroyed with a delay"],
    tests: lifecycleTests,
  },
  {
    name: "older-destruction-wins",
    kind: "duty",
    file: `${regions}/join/join.ts`,
    find: "b.us - a.us ||",
    replace: "a.us - b.us ||",
    rule: "of a destruction and a restore the later one counts",
    promises: ["A key that was destroyed with a delay"],
    tests: [`${regions}/join/join.property.test.ts`],
  },
  {
    name: "final-destruction-alone",
    kind: "duty",
    file: `${regions}/leader/due-dates.ts`,
    find: "isFinal ? { agreed: true } : {};",
    replace: "isFinal ? { agreed: false } : {};",
    rule: "both regions agree before material is erased",
    promises: ["A key that was destroyed with a delay"],
    tests: dutyTests,
  },
  {
    name: "dates-wait-for-a-destruction",
    kind: "duty",
    file: `${regions}/leader/due-dates.ts`,
    find: "Number(one.destroys) - Number(other.destroys)",
    replace: "Number(other.destroys) - Number(one.destroys)",
    rule: "no date waits for a destruction that a region cannot agree to",
    tests: dutyTests,
  },
  {
    name: "restore-alone",
    kind: "access",
    file: `${server}/management/keys/restore.ts`,
    find: "audit, { agreed: true });",
    replace: "audit, { agreed: false });",
    rule: "both regions agree to a restore",
    promises: ["A key that was destroyed with a delay"],
    tests: keyTests,
  },
  {
    name: "archive-destroys-early",
    kind: "duty",
    file: `${server}/backup/restore/restore.ts`,
    find: "facts: delayedAnew(object.facts, nowSeconds) };",
    replace: "facts: delayedAnew(object.facts, 0) };",
    rule: "a restored archive destroys nothing by a date of which nobody knows what came after",
    promises: ["A key that was destroyed with a delay"],
    tests: [`${server}/backup/restore/restore.test.ts`],
  },
  {
    name: "deletion-forgets-restorable-keys",
    kind: "deletion",
    file: `${server}/management/instances/deletion.ts`,
    find: "Restorable: await countRestorable(own, instance) };",
    replace: "Restorable: 0 * (await countRestorable(own, instance)) };",
    rule: "a key that can still be restored stops the deletion",
    promises: ["Deletion is refused while either region holds a key"],
    tests: [`${server}/management/instances/deletion.test.ts`],
  },
  {
    name: "delay-shortened-by-a-clock",
    kind: "engine",
    file: `${engine}/operations/destroy.ts`,
    find: "Math.max(nowSeconds, doubt?.latestSeconds ?? 0)",
    replace: "Math.max(nowSeconds, doubt === undefined ? 0 : 1)",
    rule: "a clock that is behind does not shorten the delay of a destruction",
    promises: ["A key that was destroyed with a delay"],
    tests: lifecycleTests,
  },
];
