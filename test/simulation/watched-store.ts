import type { OwnStore } from "@holdfast/engine";
import { Violation } from "./checker.ts";
import type { Life } from "./machine.ts";
import type { NodeOptions, SimNode } from "./node.ts";
import { laterFact } from "./rules/fact-rules.ts";

type Method = (...args: readonly unknown[]) => Promise<unknown>;

/** Where the writes of a leader have its epoch among their arguments. */
const epochAt: Readonly<Partial<Record<string, number>>> = {
  setCursor: 3,
  setLevel: 1,
  release: 2,
};

/** The own store, which reports what it made durable, what it answered, and what leaders wrote. */
export function watched(
  store: OwnStore,
  life: Life,
  node: SimNode,
  { region, listener, machine }: NodeOptions,
): OwnStore {
  // What lies in another Redis than the region's is not kept in the region.
  const { isElsewhere } = node;
  const durable: NodeOptions["listener"]["durable"] = (...of) => {
    if (!isElsewhere) listener.durable(...of);
  };
  const methods = new Map<PropertyKey, unknown>();
  const watching: Partial<OwnStore> = {
    commit: async (...args) => {
      const later = laterFact(args[1]);
      if (later !== undefined) listener.crashed(new Violation(`${machine.name} ${later}`));
      const outcome = await store.commit(...args);
      if (outcome.kind === "committed") {
        durable(
          region,
          args[1].map(({ after }) => after),
        );
      }
      listener.used(node);
      return outcome;
    },
    read: async (...args) => {
      const found = await store.read(...args);
      listener.read(region, args[1]);
      // Everything that it answers is covered.
      durable(
        region,
        found.flatMap((stored) => stored?.object ?? []),
      );
      listener.used(node);
      return found;
    },
    reserve: (...args) => {
      listener.inner.reservations.reserves(region, args[0], args[2]);
      return store.reserve(...args);
    },
    newEpoch: () => {
      listener.stands(region, life);
      return store.newEpoch();
    },
    requestResync: () => listener.inner.catchUps.resyncs(node, () => store.requestResync()),
    find: async (...args) => {
      const page = await store.find(...args);
      listener.searched(region);
      listener.used(node);
      return page;
    },
  };
  return new Proxy(store, {
    get(target, name) {
      const known = watching[name as keyof OwnStore] ?? methods.get(name);
      if (known !== undefined) return known;
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== "function") return value;
      const at = epochAt[String(name)];
      const led = async (...args: readonly unknown[]) => {
        const result = await (value as Method).apply(target, [...args]);
        const epoch = at === undefined ? undefined : args[at];
        if (typeof epoch === "number") listener.led(region, target.storeId, epoch, life);
        return result;
      };
      methods.set(name, at === undefined ? value.bind(target) : led);
      return methods.get(name);
    },
  });
}
