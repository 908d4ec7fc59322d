import type { Clock, InstanceKeyRing } from "@holdfast/engine";
import type { RootReadings } from "../observe/metrics/metric-row.ts";
import { shreddedReason } from "./keys-order.ts";
import type { Roots } from "./open/roots.ts";
import { reportOf } from "./root-report.ts";

const states = ["open", "grace", "closed", "shredded"] as const;

/** What is known of a node's roots of trust, without asking anybody. */
export function readingsOf({
  region,
  roots,
  keyRing,
  clock,
}: {
  readonly region: string;
  readonly roots: Pick<Roots, "inUse" | "instances" | "keks" | "record">;
  readonly keyRing: Pick<InstanceKeyRing, "statuses">;
  readonly clock: Pick<Clock, "wallMs">;
}): RootReadings {
  const keyStates = () => {
    // By the order, which is there also after a restart, when no key was asked for yet.
    const shredded = roots.instances().flatMap((instance) => {
      const record = roots.record(instance);
      const reason = record && shreddedReason(record, region);
      return reason ? [{ instance, state: "shredded" as const, reason }] : [];
    });
    const ordered = new Set(shredded.map(({ instance }) => instance));
    const others = [...keyRing.statuses()].filter(([instance]) => !ordered.has(instance));
    return [...shredded, ...others.map(([instance, status]) => ({ instance, ...status }))];
  };
  return {
    roots: () =>
      roots.inUse().map(({ root }) => {
        const name = root.lastDescription?.name ?? root.kind;
        return [root.kind, name, root.health.ok === false ? 0 : 1] as const;
      }),
    instanceKeys: () => {
      const each = keyStates();
      return states.map((state) => [state, each.filter((one) => one.state === state).length]);
    },
    keyTroubles: () =>
      keyStates()
        .filter(({ state }) => state !== "open")
        .map(({ instance, state, reason }) => ({
          name: roots.record(instance)?.name ?? instance,
          state,
          reason,
        })),
    graceLeft: () => {
      const ends = [...keyRing.statuses().values()].flatMap(({ state, graceUntilMs }) =>
        state === "grace" && graceUntilMs !== undefined ? [graceUntilMs] : [],
      );
      return ends.length === 0 ? undefined : (Math.min(...ends) - clock.wallMs()) / 1000;
    },
    keks: () => {
      const counts = { current: 0, stale: 0 };
      for (const instance of roots.instances()) {
        for (const { stale, versions } of reportOf(roots, instance, [region])) {
          const all = Object.values(versions).reduce((sum, count) => sum + count, 0);
          counts.current += all - stale;
          counts.stale += stale;
        }
      }
      return Object.entries(counts);
    },
  };
}
