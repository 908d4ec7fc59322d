import { randomInt } from "node:crypto";
import { createServer } from "node:net";

/**
 * A port that is free now and that nothing else should take soon: it is below those that the kernel
 * assigns to outgoing connections, and no other call in this process returns it.
 */
export async function freePort(host = "127.0.0.1"): Promise<number> {
  for (;;) {
    const port = candidates.next().value;
    if (await isFree(host, port)) return port;
  }
}

const candidates = ports();

/** Workers of a run: more than the configuration of the tests allows share ports. */
const workersMax = 4;

/** The workers of a run share no port, and each process begins at a random port. */
function* ports(): Generator<number, never> {
  const count = 20_000 / workersMax;
  const first = 12_000 + (Number(process.env["VITEST_POOL_ID"] ?? 0) % workersMax) * count;
  const start = randomInt(count);
  for (let step = 0; ; step++) yield first + ((start + step) % count);
}

function isFree(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, host, () => server.close(() => resolve(true)));
  });
}
