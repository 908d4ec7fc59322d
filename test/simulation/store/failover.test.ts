import { type ManagedObject, StoreUnavailable } from "@holdfast/engine";
import { sampleObject } from "@holdfast/engine/testing";
import { initialiseStore, openRedisStore } from "@holdfast/redis";
import { expect, test } from "vitest";
import { testRoot } from "../../support/redis-store.ts";
import { Machine } from "../machine.ts";
import { Network } from "../network.ts";
import { Random } from "../random.ts";
import { LuaMachine } from "../redis/lua-machine.ts";
import { Scheduler } from "../scheduler.ts";
import { Member } from "./member.ts";
import { connectionsOf, timersOf } from "./sim-connection.ts";

const lua = await LuaMachine.create();
const histories = 40;
const instance = "5a1ec0de-0000-4000-8000-000000000001";

/** A node that writes while its replica stalls, its primary dies with a lost tail and the replica takes its place, again and again. */
class History {
  readonly scheduler = new Scheduler();
  readonly random: Random;
  readonly acknowledged: ManagedObject[] = [];
  readonly wrong: unknown[] = [];
  #primary: Member;
  #replica: Member;
  /** The replica that gets nothing from its primary, which has not noticed yet. */
  #stalled: string | undefined;
  refused = 0;

  constructor(seed: number) {
    this.random = new Random(seed);
    const member = (name: string): Member =>
      new Member({
        scheduler: this.scheduler,
        random: this.random.fork(),
        lua,
        wallMs: () => 1_790_000_000_000 + this.scheduler.nowMs,
        name,
        address: `${name}:1`,
        neighbours: { open: (_from, to) => to !== this.#stalled },
      });
    this.#primary = member("a-redis-1");
    this.#replica = member("a-redis-2");
    this.#replica.follow(this.#primary);
  }

  async run(): Promise<void> {
    const { scheduler, random } = this;
    const network = new Network(scheduler, random.fork(), { farMs: 5, loss: 0, late: 0 });
    const life = new Machine("a1", scheduler, random.fork()).start();
    const members = [this.#primary, this.#replica];
    const options = {
      address: "the-primary:1",
      region: "a",
      root: testRoot,
      externalFailover: true,
      replicas: 1,
      timers: timersOf(life),
      connections: connectionsOf({
        life,
        network,
        server: (address) =>
          address === "the-primary:1"
            ? this.#primary
            : members.find((one) => one.address === address),
      }),
    };
    const chance = { randomBytes: (count: number) => Buffer.from(random.bytes(count)) };
    await this.#passUntil(initialiseStore({ ...options, ids: chance }));
    const store = await this.#passUntil(
      openRedisStore({ ...options, clock: life.timers, observe: () => undefined }),
    );
    await this.#passUntil(store.install(instance));
    const write = async (): Promise<void> => {
      const after = sampleObject(instance, this.random.uuid());
      try {
        const outcome = await store.commit(instance, [{ kind: "create", after }], []);
        if (outcome.kind === "committed") this.acknowledged.push(after);
      } catch (error) {
        if (!(error instanceof StoreUnavailable)) this.wrong.push(error);
        this.refused += 1;
      }
    };
    const writes: Promise<void>[] = [];
    for (let n = 0; n < 60; n += 1) {
      writes.push(write());
      if (n % 20 === 10) this.#failOver();
      await scheduler.run(scheduler.nowMs + random.between(0, 40));
      if (n % 20 === 19) await scheduler.run(scheduler.nowMs + 3_000);
    }
    await this.#passUntil(Promise.all(writes));
    const ids = this.acknowledged.map(({ uniqueIdentifier }) => uniqueIdentifier);
    const found = await this.#passUntil(store.read(instance, ids));
    for (const [at, id] of ids.entries()) {
      if (found[at] === undefined) this.wrong.push(`${id} was acknowledged and is gone`);
    }
    await this.#passUntil(Promise.resolve(store[Symbol.asyncDispose]()));
  }

  #failOver(): void {
    const old = this.#primary;
    const { random } = this;
    this.#stalled = random.chance(0.7) ? this.#replica.name : undefined;
    const killMs = random.between(0, 300);
    this.scheduler.after(killMs, () => old.kill(true));
    this.scheduler.after(killMs + random.between(0, 300), () => {
      this.#replica.promote();
      this.#primary = this.#replica;
    });
    this.scheduler.after(killMs + random.between(400, 900), () => {
      this.#stalled = undefined;
      old.restart();
      old.follow(this.#primary);
      this.#replica = old;
    });
  }

  async #passUntil<Value>(promise: Promise<Value>): Promise<Value> {
    let over = false;
    const done = promise.finally(() => {
      over = true;
    });
    done.catch(() => undefined);
    while (!over) await this.scheduler.run(this.scheduler.nowMs + 10);
    return done;
  }
}

test(`${histories} histories of the real store with failovers (seeds 1 to ${histories}) lose nothing that was acknowledged`, async () => {
  let acknowledged = 0;
  let refused = 0;
  for (let seed = 1; seed <= histories; seed += 1) {
    const history = new History(seed);
    await history.run();
    expect(history.wrong, `seed ${seed}`).toEqual([]);
    acknowledged += history.acknowledged.length;
    refused += history.refused;
  }
  // Failovers reach into what is under way, and do not stop the store.
  expect(acknowledged).toBeGreaterThan(histories * 20);
  expect(refused).toBeGreaterThan(histories);
});

test("a seed always makes the same history", async () => {
  const told = async (seed: number) => {
    const history = new History(seed);
    await history.run();
    const { acknowledged, refused, scheduler } = history;
    return [acknowledged.map((object) => object.uniqueIdentifier), refused, scheduler.events];
  };
  expect(await told(7)).toEqual(await told(7));
  expect(await told(7)).not.toEqual(await told(8));
});
