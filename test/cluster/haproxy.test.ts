import { setTimeout as sleep } from "node:timers/promises";
import { decodeResponse } from "@holdfast/kmip";
import { answerOf, until, vcenterItems, vcenterMessage } from "@holdfast/testing";
import { decode } from "@holdfast/ttlv";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { checkConfig, Haproxy, haproxyConfig, hasHaproxy } from "../support/haproxy.ts";
import { KmipSocket, type KmipTarget } from "../support/kmip-socket.ts";
import { say } from "../support/load.ts";
import type { NodeProcess } from "../support/node-process.ts";
import { type Region, startRegion } from "../support/region.ts";

const instance = "vcenter";
const perSecond = 200;
const underWayMax = 20;

test.skipIf(!hasHaproxy())("haproxy -c accepts the shipped file (needs haproxy)", () => {
  expect(checkConfig(haproxyConfig)).toMatchObject({ ok: true });
});

describe.skipIf(!hasHaproxy())("HAProxy in front of two nodes (needs haproxy)", () => {
  let region: Region;
  let haproxy: Haproxy;

  beforeAll(async () => {
    region = await startRegion({ instances: [instance], replicas: 1 });
    haproxy = await Haproxy.start(region.node(0), region.node(1));
  });

  afterAll(async () => {
    await haproxy?.[Symbol.asyncDispose]();
    await region?.[Symbol.asyncDispose]();
  });

  test("removes a frozen node and adds it again, by its gRPC health", async () => {
    region.node(0).signal("SIGSTOP");
    const frozen = performance.now();
    await until("node-1 is out", async () => (await haproxy.up())[0] === false);
    say(`a frozen node is out after ${Math.round(performance.now() - frozen)} ms`);
    try {
      // The other node may have no lease for a moment on a busy machine.
      const made = async () => {
        await using socket = await KmipSocket.open(throughHaproxy());
        await create(socket);
      };
      await answerOf("a key", made, () => true);
    } finally {
      region.node(0).signal("SIGCONT");
    }
    await until("node-1 is in again", async () => (await haproxy.up())[0] === true);
  });

  test(`in a rolling restart of both at ${perSecond} requests/s, no request fails with one retry`, async () => {
    const client = new PacedClient(throughHaproxy(), haproxy, region.nodes);
    const running = client.run();
    // It counts answers, not time: a busy machine sends fewer requests per second.
    const more = async (count: number) => {
      const goal = client.answered + count;
      await until(
        `${count} more answers`,
        () => client.answered >= goal || client.failed.length > 0,
      );
    };
    await more(200);
    for (const at of [0, 1]) {
      const stopped = region.node(at).stop();
      await more(100);
      expect(await stopped).toBe(0);
      await more(100);
      await region.node(at).start();
      await until("both are in", async () => (await haproxy.up()).every((up) => up));
    }
    await more(200);
    const seconds = await client.stop(running);
    say(
      `${client.answered} requests in ${seconds.toFixed(1)} s (${Math.round(client.answered / seconds)}/s), ${client.retried} retried, ${client.failed.length} failed, slowest ${Math.round(client.slowestMs)} ms`,
    );
    expect(client.failed).toEqual([]);
  });

  function throughHaproxy(): KmipTarget {
    return { ...region.target(instance), host: haproxy.host, port: haproxy.port };
  }
});

/**
 * Sends Creates at a steady rate, most on kept connections, some on new ones, as vCenter does. Waits while many are under
 * way: a busy machine may be slower than the rate.
 */
class PacedClient {
  readonly #target: KmipTarget;
  readonly #haproxy: Haproxy;
  readonly #nodes: readonly NodeProcess[];
  readonly #kept: KmipSocket[] = [];
  #stopped = false;
  #underWay = 0;
  answered = 0;
  retried = 0;
  readonly failed: string[] = [];
  slowestMs = 0;

  constructor(target: KmipTarget, haproxy: Haproxy, nodes: readonly NodeProcess[]) {
    this.#target = target;
    this.#haproxy = haproxy;
    this.#nodes = nodes;
  }

  /** Resolves once it is stopped and everything is answered, with the time that it ran. */
  async run(): Promise<number> {
    const began = performance.now();
    const waiting: Promise<void>[] = [];
    for (let sent = 0; !this.#stopped; sent++) {
      await until("an answer", () => this.#underWay < underWayMax);
      waiting.push(this.#one(sent % 10 === 0));
      await sleep(Math.max(0, began + ((sent + 1) * 1_000) / perSecond - performance.now()));
    }
    const seconds = (performance.now() - began) / 1_000;
    await Promise.all(waiting);
    for (const socket of this.#kept) await socket[Symbol.asyncDispose]();
    return seconds;
  }

  stop(running: Promise<number>): Promise<number> {
    this.#stopped = true;
    return running;
  }

  async #one(ownConnection: boolean): Promise<void> {
    const began = performance.now();
    this.#underWay += 1;
    try {
      await this.#try(ownConnection ? undefined : this.#kept.pop());
    } catch {
      this.retried += 1;
      try {
        await this.#again();
      } catch (error) {
        this.failed.push(String(error));
        return;
      }
    } finally {
      this.#underWay -= 1;
    }
    this.answered += 1;
    this.slowestMs = Math.max(this.slowestMs, performance.now() - began);
  }

  /** One more try; more of them only where a busy machine took the nodes from HAProxy, or their store from the nodes. */
  async #again(): Promise<void> {
    try {
      await this.#try(undefined);
    } catch (error) {
      const isOut = this.#haproxy.log.includes("has no server available");
      const isLapsed = this.#nodes.some((node) => node.logText().includes('"lapsed: '));
      if (!isOut && !isLapsed) throw error;
      await until("a node is in", async () => (await this.#haproxy.up()).includes(true));
      await answerOf(
        "a key",
        () => this.#try(undefined),
        () => true,
      );
    }
  }

  async #try(kept: KmipSocket | undefined): Promise<void> {
    const socket = kept ?? (await KmipSocket.open(this.#target));
    try {
      await create(socket);
      this.#kept.push(socket);
    } catch (error) {
      await socket[Symbol.asyncDispose]();
      throw error;
    }
  }
}

async function create(socket: KmipSocket): Promise<void> {
  const request = vcenterMessage([vcenterItems.create()]);
  const [item] = decodeResponse(decode(await socket.exchange(request))).items;
  if (item?.status !== "Success") throw new Error(`${item?.reason}: ${item?.message}`);
}
