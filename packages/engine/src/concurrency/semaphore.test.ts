import { expect, test } from "vitest";
import { FairGate } from "./fair-gate.ts";

test("few run at once, owners in turn, each owner's in their order", async () => {
  const gate = new FairGate(2);
  const begun: string[] = [];
  let running = 0;
  let most = 0;
  const body = (name: string) => async () => {
    begun.push(name);
    running += 1;
    most = Math.max(most, running);
    await new Promise((resolve) => setImmediate(resolve));
    running -= 1;
    return name;
  };
  const all = [
    ...[1, 2, 3, 4, 5].map((at) => gate.run("hog", body(`hog ${at}`))),
    ...[1, 2].map((at) => gate.run("other", body(`other ${at}`))),
    gate.run("third", body("third 1")),
  ];
  expect(await Promise.all(all)).toHaveLength(8);
  expect(most).toBe(2);
  expect(begun).toEqual([
    ...["hog 1", "hog 2"],
    ...["hog 3", "other 1", "third 1"],
    ...["hog 4", "other 2"],
    "hog 5",
  ]);
});

test("a body that fails gives its turn on", async () => {
  const gate = new FairGate(1);
  const failed = gate.run("a", () => Promise.reject(new Error("no")));
  const next = gate.run("a", async () => "yes");
  await expect(failed).rejects.toThrow("no");
  expect(await next).toBe("yes");
  expect(await gate.run("b", async () => "again")).toBe("again");
});
