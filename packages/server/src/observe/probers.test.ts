import { connect, type Socket } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { openGrpcHealth } from "./grpc-health.ts";
import { Health } from "./health.ts";
import { openHttp } from "./http.ts";
import { Metrics } from "./metrics/metrics.ts";

const loopback = { host: "127.0.0.1", port: 0 };

const health = new Health({ downAfterMs: 0, upAfterMs: 0, rootOfTrustGraceMs: 0 }, () =>
  performance.now(),
);
const openings = [
  [
    "HTTP",
    (ms: number) =>
      openHttp(
        loopback,
        { metrics: new Metrics(Date.now), health, monotonicMs: () => performance.now() },
        ms,
      ),
  ],
  ["gRPC health", (ms: number) => openGrpcHealth(loopback, health, ms)],
] as const;

function come(address: string, localAddress: string, bytes = ""): Socket {
  const { hostname: host, port } = new URL(`http://${address}`);
  const socket = connect({ host, port: Number(port), localAddress });
  socket.on("error", () => undefined).resume();
  if (bytes !== "") socket.write(bytes);
  onTestFinished(() => void socket.destroy());
  return socket;
}

test.each(openings)("%s: silent and incomplete connections are closed", async (_, open) => {
  const listener = await open(500);
  onTestFinished(() => listener.close());
  const sockets = [
    come(listener.address, "127.0.0.1"),
    come(listener.address, "127.0.0.1", "GET /livez HTTP/1.1\r\nHost: x"),
    come(listener.address, "127.0.0.1", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
  ];
  await expect.poll(() => sockets.every(({ closed }) => closed)).toBe(true);
});

test.each(openings)(
  "%s: a flood from one address leaves room for other addresses",
  async (name, open) => {
    const listener = await open(60_000);
    onTestFinished(() => listener.close());
    const flood = Array.from({ length: 400 }, () => come(listener.address, "127.0.0.9"));
    await expect.poll(() => flood.filter(({ closed }) => !closed).length).toBe(64);
    const prober = come(listener.address, "127.0.0.1");
    let answered = false;
    prober.on("data", () => {
      answered = true;
    });
    prober.write(
      name === "HTTP"
        ? "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
        : "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    );
    await expect.poll(() => answered).toBe(true);
  },
);
