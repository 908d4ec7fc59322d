import { expect, test } from "vitest";
import { type Heard, lineOf, regionsOf } from "./regions-model.ts";

type Status = NonNullable<Heard["status"]>;
type Peer = Partial<Status["peers"][number]>;

const plain = {
  ...{ version: "1", serving: "own store", writes: true, reason: "", leader: false },
  ...{ rootOfTrust: "ok", closedInstances: [], certificates: [] },
};

function statusOf(node: string, peer: Peer): Status {
  const [region = ""] = node;
  const other = region === "a" ? "b" : "a";
  return { ...plain, node, region, peers: [{ region: other, state: "up", reason: "", ...peer }] };
}

function answers(node: string, peer: Peer = { behind: 0 }): Heard {
  return { node, status: statusOf(node, peer) };
}

function silent(node: string): Heard {
  return { node, silent: "No answer." };
}

const known = new Map(["a1", "a2", "b1", "b2"].map((node) => [node, statusOf(node, {})]));
const everything = "Both regions have everything: if one failed now, nothing would be lost.";
const down = { state: "down", reason: "cut" };

test("says that both regions have everything only where each has said so", () => {
  const of = (...heard: readonly Heard[]) => lineOf(["a", "b"], heard, known);
  expect(of(answers("a1"), answers("b1"))).toEqual({ state: "up", text: everything, alone: [] });
  // One node of a region is enough: it reads the region's store.
  expect(of(answers("a1"), answers("a2", {}), answers("b1"), silent("b2")).text).toBe(everything);
  for (const heard of [
    [answers("a1"), answers("b1", {})],
    [answers("a1"), silent("b1")],
    [answers("a1", {}), answers("b1", {})],
    [answers("a1")],
  ]) {
    const { state, text } = of(...heard);
    expect(text).toContain("is not known");
    expect(text).not.toContain("Both regions have everything");
    expect(state).toBe("up");
  }
});

test("says how much is on its way, or how much at least", () => {
  const of = (...heard: readonly Heard[]) => lineOf(["a", "b"], heard, known).text;
  expect(of(answers("a1", { behind: 2 }), answers("b1", { behind: 3 }))).toBe(
    "5 changes are on their way",
  );
  expect(of(answers("a1", { behind: 2 }), answers("b1", {}))).toBe(
    "At least 2 changes are on their way",
  );
});

test("counts what only one region has, and says where nodes are missing", () => {
  const of = (...heard: readonly Heard[]) => lineOf(["a", "b"], heard, known);
  const [a1, a2] = [answers("a1", { ...down, alone: 4 }), answers("a2", { ...down, alone: 3 })];
  const b1 = answers("b1", { ...down, alone: 0 });
  const whole = of(a1, a2, b1);
  expect(whole.state).toBe("down");
  expect(whole.text).toBe("a1 cannot reach b, a2 cannot reach b, b1 cannot reach a. cut");
  expect(whole.alone).toEqual([
    "Only region a has 7 changes: if it failed for good now, they would be lost.",
  ]);
  const [ofA, ofB] = of(a1, silent("a2"), silent("b1")).alone;
  expect(ofA).toContain("Only region a has at least 4 changes");
  expect(ofB).toContain("Whether region b alone has some changes is not known");
});

test("knows the regions, and not the line, where no node answers any more", () => {
  const heard = ["a1", "b1"].map(silent);
  expect(regionsOf(heard, known)).toEqual(["a", "b"]);
  // The last answer of a node names its peers too.
  expect(regionsOf([silent("a1")], known)).toEqual(["a", "b"]);
  expect(regionsOf(heard, new Map())).toEqual([]);
  const { state, text } = lineOf(["a", "b"], heard, known);
  expect(state).toBe("unknown");
  expect(text).toContain("no node of region a and b has said it");
});
