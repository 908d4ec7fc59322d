import type { OwnStore } from "@holdfast/engine";
import { replaced } from "./flaws.ts";
import { holdKey, recordOf } from "./look.ts";
import type { Life } from "./machine.ts";
import type { NodeOptions, SimNode } from "./node.ts";

/** The own store, of which each answer is checked: it comes from the right primary, and is on every disk that counts. */
export function checkedUse(
  store: OwnStore,
  life: Life,
  node: SimNode,
  { listener }: Pick<NodeOptions, "listener">,
): OwnStore {
  const { used } = node.running.group;
  const check = (work: () => void): void => {
    try {
      work();
    } catch (error) {
      listener.crashed(error);
    }
  };
  return replaced(store, {
    commit: async (...args) => {
      const answered = used.asks(life, "commit");
      const outcome = await store.commit(...args);
      if (outcome.kind !== "committed") return outcome;
      // What was there already was written before.
      const same = args[1].flatMap((change) =>
        change.kind === "update" && change.after === change.before.object ? change.before : [],
      );
      check(() => answered?.(same.map(recordOf), same.length < args[1].length));
      return outcome;
    },
    read: async (...args) => {
      const answered = used.asks(life, "read");
      const found = await store.read(...args);
      check(() => answered?.(found.flatMap((stored) => stored ?? []).map(recordOf)));
      return found;
    },
    find: async (...args) => {
      const answered = used.asks(life, "read");
      const page = await store.find(...args);
      check(() => answered?.(page.objects.map(recordOf)));
      return page;
    },
    reserve: async (...args) => {
      const answered = used.asks(life, "commit");
      const outcome = await store.reserve(...args);
      if (outcome.kind !== "reserved") return outcome;
      const [of, ids, operation] = args;
      check(() => answered?.(ids.map((id) => ({ key: holdKey(of, id), value: operation }))));
      return outcome;
    },
  });
}
