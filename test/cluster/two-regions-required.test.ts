import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { answered, createKey, keyBytes, stateOf } from "../support/keys.ts";
import { startTwoRegions } from "../support/two-regions.ts";
import { answerTo, ClientsOfAll, insist } from "../support/two-regions-clients.ts";
import { allWell } from "../support/vitals.ts";

const instance = "vcenter";

test("with acknowledgement: required no change is acknowledged by one region alone, and reads still work", async () => {
  const settings = { peer: { acknowledgement: "required" } };
  const shape = { instances: [instance], replicas: 0, nodes: 1, settings };
  await using both = await startTwoRegions(shape);
  await allWell(both);
  await using clients = await ClientsOfAll.open(both, instance);
  const id = await answered(() => createKey(clients.at("a1")));
  const bytes = await answered(() => keyBytes(clients.at("b1"), id));
  await both.cut();
  try {
    const activate = () => clients.at("a1").activate({ uniqueIdentifier: id });
    expect(await answerTo(activate)).toMatch(/^GeneralFailure: /);
    // Before the node knows that the line is down, and after.
    for (let round = 0; round < 12; round++) {
      for (const node of ["a1", "b1"]) {
        expect(await answerTo(() => createKey(clients.at(node)))).toMatch(/^GeneralFailure: /);
        expect(await answered(() => keyBytes(clients.at(node), id))).toBe(bytes);
      }
      await sleep(100);
    }
  } finally {
    await both.heal();
  }
  await allWell(both);
  await insist(() => clients.at("b1").activate({ uniqueIdentifier: id }));
  expect(await answered(() => stateOf(clients.at("a1"), id))).toBe("Active");
  await insist(() => createKey(clients.at("b1")));
});
