import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { KmipClient } from "@holdfast/client";
import { until } from "@holdfast/testing";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { answered, createKey, keyBytes, stateOf } from "../support/keys.ts";
import { say } from "../support/load.ts";
import type { NodeProcess } from "../support/node-process.ts";
import type { Region } from "../support/region.ts";
import { ms } from "../support/region-watch.ts";
import type { TwoRegions } from "../support/two-regions.ts";
import {
  answerTo,
  type ClientsOfAll,
  insist,
  startWithClients,
  told,
} from "../support/two-regions-clients.ts";
import { allWell, caughtUp, vitalsOf } from "../support/vitals.ts";

const instance = "vcenter";
const revocationReason = { code: "KeyCompromise" } as const;

let both: TwoRegions;
let clients: ClientsOfAll;

beforeAll(async () => {
  ({ both, clients } = await startWithClients({
    instances: [instance],
    replicas: 1,
    lockMasters: 1,
  }));
});

afterAll(async () => {
  await clients?.[Symbol.asyncDispose]();
  await both?.[Symbol.asyncDispose]();
});

beforeEach(() => allWell(both));

/** All data of an object at every endpoint. */
async function everywhere(id: string): Promise<string[]> {
  const data = async (client: KmipClient) =>
    `${await stateOf(client, id)} ${await keyBytes(client, id)}`;
  return Promise.all(clients.all.map((client) => answered(() => data(client))));
}

/** How many records were acknowledged by one region alone. */
async function acknowledgedAlone(): Promise<number> {
  const vitals = await Promise.all(both.nodes.map(vitalsOf));
  return vitals.reduce((sum, { alone }) => sum + alone, 0);
}

/** A node's answer about a key, once it can ask both regions. */
function toldByBoth(client: KmipClient, id: string): Promise<string> {
  return told(answered(() => keyBytes(client, id)));
}

/** Revokes a key as compromised; an attempt whose answer was lost may have succeeded. */
async function compromised(node: string, id: string): Promise<void> {
  await insist(async () => {
    if ((await stateOf(clients.at(node), id)) === "Compromised") return;
    await clients.at(node).revoke({ uniqueIdentifier: id, revocationReason });
  });
}

/** Destroys a key until that is acknowledged; of an attempt without an answer nobody knows what it did. */
async function destroyed(client: KmipClient, id: string): Promise<void> {
  const destroy = () => client.destroy({ uniqueIdentifier: id });
  expect(await told(answered(destroy))).toMatch(isOver);
}

/** The answers to a Destroy that has succeeded, or to one after it. */
const isOver = /^answered$|the object was destroyed/;

/** Makes a key at a node and activates it. */
async function activeKey(node: string): Promise<string> {
  const id = await answered(() => createKey(clients.at(node)));
  await answered(() => clients.at(node).activate({ uniqueIdentifier: id }));
  return id;
}

test("all four endpoints show at once what one of them acknowledged", async () => {
  for (const [at, maker] of clients.all.entries()) {
    const id = await answered(() => createKey(maker));
    const asked = clients.all.map((client) => answered(() => keyBytes(client, id)));
    const bytes = new Set(await Promise.all(asked));
    expect(bytes.size).toBe(1);
    const activator = clients.all[(at + 1) % clients.all.length];
    const before = await acknowledgedAlone();
    await answered(async () => activator?.activate({ uniqueIdentifier: id }));
    // On a busy machine one region may acknowledge the change alone; the other need not show it at once then.
    if ((await acknowledgedAlone()) > before) await caughtUp(both);
    expect(await everywhere(id)).toEqual(Array(4).fill(`Active ${[...bytes][0]}`));
  }
});

test("each region wraps the KEK under its own root, and both open what either one sealed", async () => {
  const roots = both.regions.map(({ folder }) => folder);
  expect(roots[0]).not.toBe(roots[1]);
  const made = await Promise.all(["a1", "b1"].map(activeKey));
  for (const id of made) expect(new Set(await everywhere(id)).size).toBe(1);
});

test("an identifier that never existed is not found, because both regions say so", async () => {
  for (const client of clients.all) {
    expect(await toldByBoth(client, randomUUID())).toMatch(/^ItemNotFound/);
  }
});

describe("when a region's Redis is lost", () => {
  test("its nodes serve from the other region's, and from their own only once it is level", async () => {
    const before = await activeKey("a1");
    const bytes = await answered(() => keyBytes(clients.at("a1"), before));
    await both.kill("redis-a");
    const killed = performance.now();
    await Promise.all(["a1", "a2"].map((node) => insist(() => createKey(clients.at(node)))));
    say(`both nodes write again ${ms(performance.now() - killed)} after their Redis was killed`);
    for (const node of both.a.nodes) {
      await until(`${node.name} serves from region b's store`, async () => {
        return (await vitalsOf(node)).from === "remote";
      });
    }
    expect(await answered(() => keyBytes(clients.at("a1"), before))).toBe(bytes);
    // A change that the lost store does not get: it must not be used before it has it.
    const made = await activeKey("a2");
    await compromised("b1", before);
    const seen = new Set<string>();
    let back = false;
    const watching = (async () => {
      while (!back) {
        const asked = [before, made].flatMap((id) =>
          ["a1", "a2"].map((node) => stateOf(clients.at(node), id).catch(() => "failed")),
        );
        for (const [at, state] of (await Promise.all(asked)).entries()) {
          seen.add(`${at < 2 ? "before" : "made"} ${state}`);
        }
        await sleep(5);
      }
    })();
    await both.restart("redis-a");
    const restarted = performance.now();
    await allWell(both);
    say(
      `both nodes serve from their own store ${ms(performance.now() - restarted)} after it is back`,
    );
    await sleep(200);
    back = true;
    await watching;
    seen.delete("before failed");
    seen.delete("made failed");
    expect([...seen].sort()).toEqual(["before Compromised", "made Active"]);
    expect(new Set(await everywhere(made)).size).toBe(1);
  });

  test("a node that starts meanwhile serves too", async () => {
    const id = await activeKey("b1");
    await both.kill("redis-a");
    await both.kill("a1");
    const began = performance.now();
    await both.restart("a1");
    say(`ready ${ms(performance.now() - began)} after its start`);
    const bytes = await answered(() => keyBytes(clients.at("b2"), id));
    await insist(async () => expect(await keyBytes(clients.at("a1"), id)).toBe(bytes));
    await insist(() => createKey(clients.at("a1")));
    await both.restart("redis-a");
  });
});

test("when a whole region is killed, the other continues, and gives it everything when it is back", async () => {
  const before = await activeKey("b1");
  await both.kill("b");
  const killed = performance.now();
  const made: string[] = [];
  for (const node of ["a1", "a2"]) {
    await insist(async () => {
      made.push(await activeKey(node));
    });
  }
  say(`the other region writes ${ms(performance.now() - killed)} after the kill`);
  await compromised("a1", before);
  const destroy = () => clients.at("a1").destroy({ uniqueIdentifier: before });
  expect(await answerTo(destroy)).toMatch(/^GeneralFailure: /);
  await both.restart("b");
  await allWell(both);
  say(`all nodes are healthy ${ms(performance.now() - killed)} after the kill`);
  for (const id of made) expect(new Set(await everywhere(id)).size).toBe(1);
  expect(await everywhere(before)).toEqual(Array(4).fill(expect.stringMatching(/^Compromised /)));
  const alone = await Promise.all(both.a.nodes.map(async (node) => (await vitalsOf(node)).alone));
  expect(Math.max(...alone)).toBeGreaterThan(0);
});

describe("when the regions are cut off from each other", () => {
  /** Expects that the nodes of a node's region have a key that was made there in the cut, and that the others cannot tell. */
  async function onlyItsRegionHas(node: string, id: string): Promise<void> {
    for (const { name } of both.nodes) {
      const ask = () => keyBytes(clients.at(name), id);
      const isOwn = name.startsWith(node.slice(0, 1));
      const answer = await (isOwn ? told(answered(ask)) : answerTo(ask));
      expect(`${name}: ${answer}`).toMatch(isOwn ? /: answered$/ : /: GeneralFailure: cannot tell/);
    }
  }

  test("both take writes, neither answers Item Not Found, and nothing is destroyed; later all is merged", async () => {
    const shared = await activeKey("a1");
    await compromised("a1", shared);
    await both.cut();
    const cut = performance.now();
    const byNode = new Map<string, string>();
    for (const node of ["a1", "b1", "a2", "b2"]) {
      await insist(async () => {
        byNode.set(node, await activeKey(node));
      });
    }
    say(`all four endpoints have written ${ms(performance.now() - cut)} after the cut`);
    for (const [node, id] of byNode) await onlyItsRegionHas(node, id);
    const unknown = await answerTo(() => keyBytes(clients.at("a1"), randomUUID()));
    expect(unknown).toMatch(/^GeneralFailure: /);
    for (const node of ["a1", "b1"]) {
      // A node without a lease says that first.
      await insist(async () => {
        const refused = await told(clients.at(node).destroy({ uniqueIdentifier: shared }));
        say(`Destroy during the cut: ${refused}`);
        expect(refused).toMatch(/^GeneralFailure: .*region/);
      });
      expect(await answered(() => stateOf(clients.at(node), shared))).toBe("Compromised");
    }
    await both.heal();
    const healed = performance.now();
    for (const id of byNode.values()) {
      await insist(async () => expect(new Set(await everywhere(id)).size).toBe(1));
    }
    say(`everything is everywhere ${ms(performance.now() - healed)} after the line is back`);
    await destroyed(clients.at("b1"), shared);
    // Each node finds the other region again by itself.
    expect(await toldByBoth(clients.at("a2"), randomUUID())).toMatch(/^ItemNotFound/);
  });

  test.each(["a→b", "b→a"] as const)(
    "only %s, nothing is lost, and nothing is answered as not found",
    async (way) => {
      const id = await activeKey("a1");
      await both.cut(way);
      const made = new Map<string, string>();
      for (const node of ["a1", "b1"]) {
        await insist(async () => {
          made.set(node, await activeKey(node));
        });
      }
      for (const client of clients.all) {
        for (const one of [id, ...made.values()]) {
          expect(await answerTo(() => keyBytes(client, one))).toMatch(
            /^answered$|^GeneralFailure: cannot tell/,
          );
        }
      }
      await both.heal();
      await allWell(both);
      for (const one of made.values()) {
        await insist(async () => expect(new Set(await everywhere(one)).size).toBe(1));
      }
    },
  );
});

describe("Destroy is an agreed operation:", () => {
  test("after Destroy is acknowledged, no endpoint has the bytes", async () => {
    for (const [at, destroyer] of clients.all.entries()) {
      const id = await answered(() => createKey(clients.all[(at + 1) % 4] ?? destroyer));
      await destroyed(destroyer, id);
      for (const client of clients.all) {
        expect(await answered(() => stateOf(client, id))).toBe("Destroyed");
        expect(await toldByBoth(client, id)).toMatch(/^(ItemNotFound|ObjectDestroyed)/);
      }
    }
  });

  test("two regions can destroy the same keys at the same time", async () => {
    const ids = await Promise.all(
      Array.from({ length: 20 }, () => answered(() => createKey(clients.at("a1")))),
    );
    const answers = await Promise.all(
      ids.flatMap((uniqueIdentifier) =>
        ["a1", "b1", "b2"].map((node) => told(clients.at(node).destroy({ uniqueIdentifier }))),
      ),
    );
    say([...new Set(answers)].join("; "));
    for (const [at, id] of ids.entries()) {
      // On a busy machine all three may be told to try again.
      if (!answers.slice(3 * at, 3 * at + 3).some((one) => isOver.test(one))) {
        const again = () => told(clients.at("b1").destroy({ uniqueIdentifier: id }));
        await insist(async () => expect(await again()).toMatch(isOver));
      }
      await insist(async () => {
        for (const client of clients.all) expect(await stateOf(client, id)).toBe("Destroyed");
      });
    }
  });

  test("after kill -9 of the coordinating node, the leaders finish or drop what it left", async () => {
    await both.delay(40);
    const ids = await Promise.all(
      Array.from({ length: 30 }, () => answered(() => createKey(clients.at("a2")))),
    );
    await Promise.all(ids.map((id) => answered(() => keyBytes(clients.at("b2"), id))));
    // They start one after another, so that the kill hits them at every step.
    const answers = ids.map(async (uniqueIdentifier, at) => {
      await sleep(at * 30);
      return told(clients.at("a1").destroy({ uniqueIdentifier }));
    });
    await sleep(900);
    const killed = performance.now();
    await both.kill("a1");
    const said = await Promise.all(answers);
    const rest = ["a2", "b1", "b2"].map((node) => clients.at(node));
    let destroyed = 0;
    for (const [at, id] of ids.entries()) {
      let states: string[] = [];
      await insist(async () => {
        states = await Promise.all(rest.map((client) => stateOf(client, id)));
        expect(new Set(states).size).toBe(1);
      });
      if (said[at] === "answered") expect(states[0]).toBe("Destroyed");
      if (states[0] === "Destroyed") destroyed += 1;
    }
    say(
      `${said.filter((one) => one === "answered").length} acknowledged, ${destroyed} of ${ids.length} destroyed, all settled ${ms(performance.now() - killed)} after the kill`,
    );
    await both.delay(0);
    await both.restart("a1");
    // Keys that were not destroyed can be destroyed now.
    for (const uniqueIdentifier of ids) {
      await insist(async () => {
        if ((await stateOf(clients.at("b1"), uniqueIdentifier)) !== "Destroyed") {
          await clients.at("b1").destroy({ uniqueIdentifier });
        }
      });
    }
  });
});

/** The only leader of a region. */
async function leaderOf({ name, nodes }: Region): Promise<NodeProcess> {
  let leaders: NodeProcess[] = [];
  await until(`one leader of ${name}`, async () => {
    const each = await Promise.all(nodes.map(async (node) => (await vitalsOf(node)).leads));
    leaders = nodes.filter((_, at) => each[at]);
    return leaders.length === 1;
  });
  return leaders[0] as NodeProcess;
}

/** Freezes the leader of a region until another one leads; returns how long that took. */
async function takenOver(region: Region): Promise<number> {
  const leader = await leaderOf(region);
  const heir = region.nodes.find((node) => node !== leader) as NodeProcess;
  leader.signal("SIGSTOP");
  const frozen = performance.now();
  try {
    await until("another leader", async () => (await vitalsOf(heir)).leads);
    const took = performance.now() - frozen;
    say(`region ${region.name}: ${heir.name} leads ${ms(took)} after ${leader.name} froze`);
    return took;
  } finally {
    leader.signal("SIGCONT");
  }
}

test("each region has one leader; when it is frozen, another leads within 8 s", async () => {
  for (const region of both.regions) {
    // A machine that gives the heir nothing for seconds proves nothing: then it is tried again.
    await until("within 8 s", async () => {
      const took = await takenOver(region);
      return took <= 8_000 || `after ${ms(took)}`;
    });
    await leaderOf(region);
  }
});
