import type { State } from "@holdfast/engine";
import { expect, test } from "vitest";
import type { Answer } from "./checker.ts";
import type { Wish } from "./client.ts";
import { requireWork, type Workplace } from "./end-work.ts";

const nodes = ["a1", "a2", "b1", "b2"].map((name) => ({ machine: { name }, stopped: false }));
type Node = (typeof nodes)[number];
type Change = "activate" | "revoke" | "destroy";

const done: Answer = { kind: "done" };
const cannotTell: Answer = { kind: "refused", reason: "GeneralFailure: cannot tell" };
const refused: Answer = { kind: "refused", reason: "ObjectDestroyed: the object was destroyed" };
/** From which State to which. */
const steps: Readonly<Record<Change, readonly [State, State]>> = {
  activate: ["PreActive", "Active"],
  revoke: ["Active", "Deactivated"],
  destroy: ["Deactivated", "Destroyed"],
};

/** Keys as the nodes of one store have them. */
class Keys {
  readonly #states = new Map<string, State>();

  create(): string {
    const id = `key ${this.#states.size + 1}`;
    this.put(id, "PreActive");
    return id;
  }

  put(id: string, state: State): void {
    this.#states.set(id, state);
  }

  look(id: string): Answer {
    const state = this.#states.get(id);
    if (state === undefined) return { kind: "notFound" };
    return { kind: "read", state, rank: 1, note: "", values: [] };
  }

  change(kind: Change, id: string): Answer {
    const [from, to] = steps[kind];
    const state = this.#states.get(id);
    if (state !== from) return kind === "activate" && state === to ? done : refused;
    this.put(id, to);
    return done;
  }
}

/** What the first try of a change comes to. */
interface FirstTry {
  readonly answer: Answer | undefined;
  readonly leaves: State;
}

/** How the work fails where the first try of a change comes to this; empty if it does not. */
async function failureWith(kind: Change, { answer, leaves }: FirstTry): Promise<string> {
  const keys = new Keys();
  const tried = new Set<string>();
  const answered = (wish: Wish, id: string): Answer | undefined => {
    if (wish.kind === "create") return done;
    if (wish.kind === "look") return keys.look(id);
    if (wish.kind !== kind || tried.has(id)) return keys.change(wish.kind as Change, id);
    tried.add(id);
    keys.put(id, leaves);
    return answer;
  };
  const world: Workplace<Node> & { failure: unknown } = {
    nodes,
    failure: undefined,
    sleep: async () => undefined,
    fail: (error) => {
      world.failure ??= error;
    },
    request: async (_node, wish) => {
      const id = "id" in wish ? wish.id : keys.create();
      const given = answered(wish, id);
      return given && { answer: given, id };
    },
  };
  await requireWork(world);
  return String(world.failure ?? "");
}

const changes = Object.keys(steps) as readonly Change[];

test.each(changes)(
  "a %s of which nobody could tell that it was done may be refused",
  async (kind) => {
    const [before, after] = steps[kind];
    for (const answer of [cannotTell, undefined]) {
      expect(await failureWith(kind, { answer, leaves: after })).toBe("");
      expect(await failureWith(kind, { answer, leaves: before })).toBe("");
    }
  },
);

test("a refusal without such a try before it is a failure", async () => {
  const failure = await failureWith("destroy", { answer: refused, leaves: "Destroyed" });
  expect(failure).toMatch(/^Violation: destroy at \w\d is answered .*ObjectDestroyed/);
});

test.each<[Change, State]>([
  ["destroy", "Active"],
  ["revoke", "Destroyed"],
])("after such a %s the key must not be %s", async (kind, leaves) => {
  const failure = await failureWith(kind, { answer: cannotTell, leaves });
  expect(failure).toMatch(new RegExp(`^Violation: ${kind} at \\w\\d is answered `));
});
