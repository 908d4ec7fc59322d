import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { type KmipClient, KmipClientError } from "@holdfast/client";
import { answerOf, until } from "@holdfast/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { recordHeaderLength } from "../../packages/redis/src/connection/record-header.ts";
import { answered, keyBytes, registerKey, stateOf } from "../support/keys.ts";
import { say } from "../support/load.ts";
import { recordOf } from "../support/record.ts";
import type { RedisServer } from "../support/redis.ts";
import { type Region, startRegion } from "../support/region.ts";
import { allRefuse, during, letIn, ms } from "../support/region-watch.ts";

const instance = "vcenter";

/** A region with some keys, and a client of each node. */
interface Stocked extends AsyncDisposable {
  readonly region: Region;
  readonly clients: readonly KmipClient[];
  /** Identifier → bytes in hex. */
  readonly keys: ReadonlyMap<string, string>;
}

async function stocked(count: number): Promise<Stocked> {
  await using stack = new AsyncDisposableStack();
  const region = stack.use(await startRegion({ instances: [instance], replicas: 1 }));
  const clients = await Promise.all(
    region.nodes.map(async (_, at) => stack.use(await letIn(region, instance, at))),
  );
  const keys = new Map<string, string>();
  const [first] = clients;
  if (first === undefined) throw new Error("no node");
  for (let left = count; left > 0; left--) {
    const key = randomBytes(32);
    const id = await answered(() => registerKey(first, key));
    keys.set(id, key.toString("hex"));
    await answered(() => first.activate({ uniqueIdentifier: id }));
  }
  const kept = stack.move();
  return { region, clients, keys, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

/** The answer to a client; only a clear "cannot tell" or a closed connection is right here. */
async function told(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return "answered";
  } catch (error) {
    if (error instanceof KmipClientError) return `${error.reason}: ${error.resultMessage}`;
    return (error as Error).name;
  }
}

/** The answer of a node that may let nobody in for a moment, on a busy machine. */
function toldSoon(ask: () => Promise<unknown>): Promise<string> {
  const once = async () => {
    const answer = await told(ask());
    if (answer === "ConnectionError") throw new Error(answer);
    return answer;
  };
  return answerOf("an answer", once, () => true);
}

describe("a damaged record", () => {
  let all: Stocked;
  let victim: { readonly id: string; readonly key: Buffer; readonly value: Buffer };
  const primary = (): RedisServer => all.region.redis.primary;

  beforeAll(async () => {
    all = await stocked(6);
    const [id = ""] = all.keys.keys();
    victim = { id, ...(await recordOf(primary(), id)) };
  });
  afterAll(async () => {
    await all?.[Symbol.asyncDispose]();
  });

  const damages: readonly [string, (value: Buffer) => Promise<unknown>][] = [
    ["nothing", (_) => set(Buffer.alloc(0))],
    ["too short for its header", (value) => set(value.subarray(0, 20))],
    ["cut in the middle", (value) => set(value.subarray(0, value.length / 2))],
    ["random bytes", (value) => set(randomBytes(value.length))],
    [
      "random bytes after its header",
      (value) => set(Buffer.concat([value.subarray(0, recordHeaderLength), randomBytes(300)])),
    ],
    [
      "one bit changed in its last third",
      (value) => set(flipped(value, Math.floor(value.length * 0.8))),
    ],
    ["one bit changed in its tag", (value) => set(flipped(value, 3))],
    ["longer than it should be", (value) => set(Buffer.concat([value, Buffer.alloc(8)]))],
    [
      "another object's",
      async () => set((await recordOf(primary(), [...all.keys.keys()][1] ?? "")).value),
    ],
    [
      "a list",
      async () => {
        await primary().command("del", victim.key);
        await primary().command("rpush", victim.key, "not a record");
      },
    ],
  ];

  async function set(value: Buffer): Promise<void> {
    await primary().command("set", victim.key, value);
  }

  test.each(damages)("(%s) is answered with cannot tell, and all else works", async (_, damage) => {
    await damage(victim.value);
    const [one, two] = all.clients;
    if (one === undefined || two === undefined) throw new Error("two nodes");
    for (const client of [one, two]) {
      const request = { uniqueIdentifier: victim.id };
      const answers = [
        await toldSoon(() => keyBytes(client, victim.id)),
        await toldSoon(() => stateOf(client, victim.id)),
        await toldSoon(() => client.activate(request)),
        await toldSoon(() =>
          client.revoke({ ...request, revocationReason: { code: "KeyCompromise" } }),
        ),
        await toldSoon(() => client.destroy(request)),
      ];
      for (const answer of answers) expect(answer).toMatch(/^GeneralFailure: cannot tell/);
      for (const [id, bytes] of [...all.keys].slice(1)) {
        expect(await answered(() => keyBytes(client, id))).toBe(bytes);
        expect(await answered(() => stateOf(client, id))).toBe("Active");
      }
      await answered(() => registerKey(client, randomBytes(32)));
      const { uniqueIdentifiers } = await answered(() => client.locate({ attributes: [] }));
      expect(uniqueIdentifiers).not.toContain(victim.id);
      expect(uniqueIdentifiers).toEqual(expect.arrayContaining([...all.keys.keys()].slice(1)));
    }
    expect(all.region.nodes.every(({ running }) => running)).toBe(true);
    await primary().command("del", victim.key);
    await set(victim.value);
    expect(await answered(() => keyBytes(one, victim.id))).toBe(all.keys.get(victim.id));
    expect(await answered(() => stateOf(two, victim.id))).toBe("Active");
  });
});

describe("a store that lost its data never says that an object does not exist:", () => {
  const losses: readonly [string, (primary: RedisServer) => Promise<unknown>][] = [
    ["FLUSHALL", (primary) => primary.command("flushall")],
    ["a restart with an empty disk", (primary) => primary.restart({ empty: true })],
  ];

  test.each(losses)("%s", async (_, lose) => {
    await using all = await stocked(3);
    const { region, clients, keys } = all;
    const ids = [...keys.keys()];
    const answers = new Map<string, number>();
    const note = (answer: string) => answers.set(answer, (answers.get(answer) ?? 0) + 1);
    const lost = performance.now();
    // Ask before and during the loss: the moment between the loss and its discovery matters most.
    const asking = during(2_500, async () => {
      const asked = clients.flatMap((client) =>
        ids.flatMap((id) => [
          told(keyBytes(client, id)),
          told(stateOf(client, id)),
          told(client.activate({ uniqueIdentifier: id })),
          told(client.destroy({ uniqueIdentifier: id })),
          told(client.locate({ attributes: [] })),
        ]),
      );
      for (const answer of await Promise.all(asked)) note(answer);
    });
    await sleep(150);
    await lose(region.redis.primary);
    await allRefuse(region, instance);
    say(`nodes refuse connections after ${ms(performance.now() - lost)}`);
    await asking;
    say([...answers].map(([answer, count]) => `${count} × ${answer}`).join("; "));
    const wrong = [...answers.keys()].filter((answer) => !isRight(answer));
    expect(wrong).toEqual([]);
    expect(region.nodes.every(({ running }) => running)).toBe(true);
    for (const node of region.nodes) {
      await until("the reason in the log", () => node.logText().includes("holds no store"));
    }
  });

  function isRight(answer: string): boolean {
    return (
      answer === "answered" ||
      answer === "ConnectionError" ||
      /^GeneralFailure: cannot tell/.test(answer) ||
      // Destroy of an Active key, before the loss.
      /^(PermissionDenied|WrongKeyLifecycleState): /.test(answer)
    );
  }
});

function flipped(value: Buffer, at: number): Buffer {
  const copy = Buffer.from(value);
  copy[at] = (copy[at] ?? 0) ^ 1;
  return copy;
}
