import { credentials, makeClientConstructor } from "@grpc/grpc-js";
import { service } from "grpc-health-check";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { systemClock } from "../base/system.ts";
import { StoreProbe } from "../store/store-probe.ts";
import { openGrpcHealth } from "./grpc-health.ts";
import { Health } from "./health.ts";
import { type OpenListener, openHttp } from "./http.ts";
import { Metrics } from "./metrics/metrics.ts";

interface Stream {
  on(event: "data", listener: (message: { status: string }) => void): void;
  on(event: "error", listener: () => void): void;
  cancel(): void;
}
interface HealthClient {
  check(
    request: object,
    done: (error: { code: number } | null, reply: { status: string }) => void,
  ): void;
  list(request: object, done: (error: unknown, reply: { statuses: object }) => void): void;
  watch(request: object): Stream;
  close(): void;
}

let health: Health;
let listener: OpenListener;
let client: HealthClient;

beforeEach(async () => {
  const settings = { downAfterMs: 0, upAfterMs: 0, rootOfTrustGraceMs: 0 };
  health = new Health(settings, () => performance.now());
  listener = await openGrpcHealth({ host: "127.0.0.1", port: 0 }, health);
  const Client = makeClientConstructor(service as never, "Health");
  client = new Client(listener.address, credentials.createInsecure()) as unknown as HealthClient;
});
afterEach(async () => {
  client.close();
  await listener.close();
});

function check(name: string): Promise<string | number> {
  return new Promise((resolve) => {
    client.check({ service: name }, (error, reply) => resolve(error?.code ?? reply.status));
  });
}

function serve(writes = true): void {
  health.note({ serving: { from: "local", writes, reason: "" } });
  health.rootOfTrust("ok", "");
}

test("Check answers for the node, for reads and for writes, and NOT_FOUND for other services", async () => {
  expect(await check("")).toBe("NOT_SERVING");
  serve();
  expect(await check("")).toBe("SERVING");
  serve(false);
  expect(await check("holdfast.read")).toBe("SERVING");
  expect(await check("holdfast.write")).toBe("NOT_SERVING");
  expect(await check("holdfast.peer")).toBe(5);
});

test("a node with a peer region has a service for it", async () => {
  health.peer("b", "down", "not asked yet");
  expect(await check("holdfast.peer")).toBe("NOT_SERVING");
  health.peer("b", "up", "");
  expect(await check("holdfast.peer")).toBe("SERVING");
  expect(await check("")).toBe("NOT_SERVING");
});

test("Watch reports only changes", async () => {
  const seen: string[] = [];
  const stream = client.watch({ service: "" });
  const until = (count: number) => vi.waitFor(() => expect(seen).toHaveLength(count));
  stream.on("data", ({ status }) => void seen.push(status));
  stream.on("error", () => undefined);
  await until(1);
  serve();
  await until(2);
  serve(false);
  serve(true);
  health.drain();
  await until(3);
  expect(seen).toEqual(["NOT_SERVING", "SERVING", "NOT_SERVING"]);
  stream.cancel();
});

test("Watch reports every change, and List reports all services", async () => {
  const seen: string[] = [];
  const stream = client.watch({ service: "holdfast.write" });
  const three = new Promise<void>((resolve) => {
    stream.on("data", ({ status }) => {
      seen.push(status);
      if (seen.length === 1) serve();
      if (seen.length === 2) health.drain();
      if (seen.length === 3) resolve();
    });
  });
  stream.on("error", () => undefined);
  await three;
  expect(seen).toEqual(["NOT_SERVING", "SERVING", "NOT_SERVING"]);
  stream.cancel();
  const statuses = await new Promise((resolve) => {
    client.list({}, (_error, reply) => resolve(reply.statuses));
  });
  expect(statuses).toEqual({
    "": { status: "NOT_SERVING" },
    "holdfast.read": { status: "NOT_SERVING" },
    "holdfast.write": { status: "NOT_SERVING" },
  });
});

test("Check, List and /readyz are answered at once while store and root of trust hang", async () => {
  const never = () => new Promise<never>(() => undefined);
  const hour = 3_600_000;
  const store = new StoreProbe({ read: never }, health, systemClock, hour, 10);
  const http = await openHttp(
    { host: "127.0.0.1", port: 0 },
    { metrics: new Metrics(Date.now), health, monotonicMs: systemClock.monotonicMs },
  );
  await new Promise((resolve) => setTimeout(resolve, 50));
  const ready = () => fetch(`http://${http.address}/readyz?verbose`).then((one) => one.text());
  const list = () => new Promise((resolve) => client.list({}, (_error, reply) => resolve(reply)));
  expect(await ready()).toContain("not ready");
  for (const ask of [() => check("holdfast.write"), list, ready]) {
    // The read from the store never completes, so these answers did not wait for it.
    await ask();
  }
  store.close();
  await http.close();
});

test("an address that is in use causes an error that names the setting", async () => {
  const [host, port] = listener.address.split(":") as [string, string];
  await expect(openGrpcHealth({ host, port: Number(port) }, health)).rejects.toThrow(
    `health.listen: ${listener.address} is in use`,
  );
});
