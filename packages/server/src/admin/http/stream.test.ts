import { once } from "node:events";
import { createServer } from "node:http";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, onTestFinished, test } from "vitest";
import { z } from "zod";
import { sendEvents } from "./stream.ts";

test("keeps no event that it has sent, however long it stays open", async () => {
  const sent: WeakRef<object>[] = [];
  const ending = new AbortController();
  const all = 200;
  let end = (): void => undefined;
  const over = new Promise<void>((resolve) => {
    end = resolve;
  });
  async function* events() {
    for (let count = 0; count < all; count += 1) {
      const event = { id: `${count}`, text: "x".repeat(1_000) };
      sent.push(new WeakRef(event));
      yield event;
    }
    await over;
  }
  const server = createServer((_, response) => {
    const answer = z.looseObject({ id: z.string() });
    const options = { headers: {}, stillAdmitted: async () => true, stalledMs: 60_000 };
    void sendEvents({ ...options, response, events: events(), answer, ending });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    end();
    ending.abort();
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as { readonly port: number };
  const client = connect(port, "127.0.0.1");
  client.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  client.resume();
  await expect.poll(() => sent.length).toBe(all);
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  await expect
    .poll(async () => {
      // What a turn of the event loop has read stays until its end.
      await sleep(0);
      collect();
      return sent.filter((ref) => ref.deref() !== undefined).length;
    })
    .toBeLessThan(5);
  expect(ending.signal.aborted).toBe(false);
  client.destroy();
});
