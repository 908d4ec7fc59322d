import { once } from "node:events";
import { connect } from "node:tls";
import { expect, test } from "vitest";
import type { NodeEvent } from "../observe/events.ts";
import { connectPlain, endingOf, makePki, startEndpoint, until } from "../testing/endpoint.ts";
import { watchFreshness } from "./node-freshness.ts";

test("a handshake that ends after the connections were cut gives no access", async () => {
  const pki = await makePki();
  await using running = await startEndpoint(pki);
  await using opened = new AsyncDisposableStack();
  const ticks: (() => void)[] = [];
  const told: NodeEvent[] = [];
  const noted: unknown[] = [];
  const unreadDenials = new Set<string>();
  watchFreshness(
    {
      opened,
      observe: (event) => void told.push(event),
      health: { note: (change) => void noted.push(change) },
      loop: {
        onTick: (listener) => {
          ticks.push(listener);
          return () => undefined;
        },
      },
    },
    {
      serving: () => ({
        ...{ from: "none", writes: false, reason: "" },
        ...{ through: false, agrees: false, doubted: false },
      }),
    },
    { freshAtMs: undefined, unreadDenials },
    running.endpoint,
  );
  const tick = (): void => {
    for (const each of ticks) each();
  };
  const socket = await connectPlain(running.port);
  unreadDenials.add("a damaged denial");
  tick();
  const client = connect({
    socket,
    ca: pki.serverAuthority.certificate,
    cert: pki.pinned.certificate,
    key: pki.pinned.key,
    checkServerIdentity: () => undefined,
  });
  client.on("error", () => undefined).resume();
  await once(client, "secureConnect");
  await until(() => running.endpoint.connectionCount === 1);
  tick();
  expect(await endingOf(running)).toMatchObject({ ending: "trustEnded" });
  expect(told).toHaveLength(1);
  expect(noted).toHaveLength(1);
  client.destroy();
});
