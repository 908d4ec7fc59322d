import { until } from "@holdfast/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { holdfast, type Said, settled } from "../support/command-line.ts";
import { answered, createKey, keyBytes, stateOf } from "../support/keys.ts";
import { say } from "../support/load.ts";
import { ms } from "../support/region-watch.ts";
import type { TwoRegions } from "../support/two-regions.ts";
import {
  type ClientsOfAll,
  insist,
  startWithClients,
  told,
} from "../support/two-regions-clients.ts";
import { allWell, caughtUp } from "../support/vitals.ts";

const instance = "vcenter";

let both: TwoRegions;
let clients: ClientsOfAll;

beforeAll(async () => {
  ({ both, clients } = await startWithClients({ instances: [instance], replicas: 1 }));
});

afterAll(async () => {
  await clients?.[Symbol.asyncDispose]();
  await both?.[Symbol.asyncDispose]();
});

/** Runs a command with a node's configuration. */
function at(node: string, ...words: readonly string[]): Promise<Said> {
  return settled(() => holdfast(...words, "--config", both.node(node).configFile));
}

async function keysMadeAt(node: string, count: number): Promise<Map<string, string>> {
  const client = clients.at(node);
  const made = new Map<string, string>();
  const worker = async () => {
    while (made.size < count) {
      const id = await answered(() => createKey(client));
      made.set(id, await answered(() => keyBytes(client, id)));
    }
  };
  await Promise.all(Array.from({ length: Math.min(4, count) }, worker));
  return made;
}

test("after a region's disks are lost, its empty store fills itself from the other region", async () => {
  const keys = await keysMadeAt("b1", 200);
  await caughtUp(both);
  await both.kill("b");
  const { redis, lockMasters } = both.b;
  await Promise.all([redis.primary, ...redis.replicas].map((one) => one.restart({ empty: true })));
  await redis.primary.replicasInStep(redis.replicas.length);
  await Promise.all(lockMasters.map((one) => one.restart()));
  const init = await at("b1", "store", "init");
  expect(init).toMatchObject({ code: 0 });
  const began = performance.now();
  await Promise.all(both.b.nodes.map((node) => node.start()));
  // Its nodes serve at once: from the other region's store until their own has everything.
  for (const [id, bytes] of [...keys].slice(0, 20)) {
    await insist(async () => expect(await keyBytes(clients.at("b1"), id)).toBe(bytes));
  }
  await allWell(both);
  await caughtUp(both);
  say(
    `${keys.size} objects are back in the empty store ${ms(performance.now() - began)} after its nodes' start`,
  );
  await both.cut();
  try {
    for (const [id, bytes] of keys) {
      await insist(async () => expect(await keyBytes(clients.at("b2"), id)).toBe(bytes));
    }
  } finally {
    await both.heal();
  }
  await allWell(both);
});

describe("a region is lost for good, retired, and returns with its old data:", () => {
  const revocationReason = { code: "KeyCompromise" } as const;
  let shared: string[];
  let alone: Map<string, string>;

  beforeAll(async () => {
    shared = [...(await keysMadeAt("a1", 3)).keys()];
    // Keys that only the lost region acknowledged must come back with it.
    await both.cut();
    alone = new Map();
    await insist(async () => {
      for (const [id, bytes] of await keysMadeAt("b1", 3)) alone.set(id, bytes);
    });
    await both.kill("b");
    await both.heal();
  });

  test("region status shows the state of both regions", async () => {
    const { out, err, code } = await at("a1", "region", "status");
    say(`${out}${err}`.trim());
    expect(code).toBe(0);
    expect(out).toMatch(/\bb\b.*(down|unreachable|not)/i);
  });

  test("nothing is destroyed before the operator decides", async () => {
    const [id = ""] = shared;
    // A node without a lease says that first.
    await insist(async () =>
      expect(await told(clients.at("a1").destroy({ uniqueIdentifier: id }))).toMatch(
        /^GeneralFailure: .*region/,
      ),
    );
  });

  test("retire needs the operator's confirmation that its endpoints are off", async () => {
    const refused = await at("a1", "region", "retire", "b");
    say(`${refused.out}${refused.err}`.trim());
    expect(refused.code).not.toBe(0);
    expect(refused.err).toMatch(/endpoints/);
  });

  test("after retire the surviving region decides alone", async () => {
    const done = await at("a1", "region", "retire", "b", "--endpoints-are-off", "b");
    say(`${done.out}${done.err}`.trim());
    expect(done).toMatchObject({ code: 0 });
    const [first = "", second = ""] = shared;
    await insist(() => clients.at("a1").destroy({ uniqueIdentifier: first }));
    await insist(() => clients.at("a2").revoke({ uniqueIdentifier: second, revocationReason }));
    await insist(() => createKey(clients.at("a2")));
  });

  test("the retired region serves no client when it comes back with its old data", async () => {
    await Promise.all(
      [both.b.redis.primary, ...both.b.redis.replicas, ...both.b.lockMasters].map((one) =>
        one.restart(),
      ),
    );
    for (const node of both.b.nodes) node.launch();
    const [first = "", second = "", third = ""] = shared;
    await until(
      "the returned region's nodes say that it is retired",
      () =>
        both.b.nodes.every((node) => /retired/i.test(node.logText())) || both.node("b1").logTail(),
    );
    for (let round = 0; round < 10; round++) {
      for (const id of [first, second, third]) {
        expect(await told(keyBytes(clients.at("b1"), id))).toMatch(
          /^(unreachable|lost|closed|timeout|GeneralFailure: )/,
        );
      }
    }
    expect(await both.node("b1").ready()).toBe(false);
  });

  test("after rejoin the keys that it alone had are not lost, and destroyed ones stay destroyed", async () => {
    const done = await at("b1", "region", "rejoin");
    say(`${done.out}${done.err}`.trim());
    expect(done).toMatchObject({ code: 0 });
    const again = await at("b1", "region", "rejoin");
    expect(again).toMatchObject({
      code: 6,
      out: "",
      err: expect.stringContaining("nothing to do"),
    });
    await allWell(both);
    await caughtUp(both);
    const [first = "", second = "", third = ""] = shared;
    for (const client of clients.all) {
      await insist(async () => expect(await stateOf(client, first)).toBe("Destroyed"));
      const gone = await told(answered(() => keyBytes(client, first)));
      expect(gone).toMatch(/^(ItemNotFound|ObjectDestroyed)/);
      expect(await answered(() => stateOf(client, second))).toBe("Compromised");
      await answered(() => keyBytes(client, third));
      for (const [id, bytes] of alone) {
        expect(await answered(() => keyBytes(client, id))).toBe(bytes);
      }
    }
    // Both regions agree on it again.
    const destroy = () => clients.at("b2").destroy({ uniqueIdentifier: third });
    expect(await told(answered(destroy))).toMatch(/^answered$|the object was destroyed/);
    for (const client of clients.all) {
      expect(await answered(() => stateOf(client, third))).toBe("Destroyed");
    }
    await allWell(both);
  });
});
