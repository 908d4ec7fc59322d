import { Load } from "./load.ts";
import type { HoldPlan, LoadAnswer, LoadRequest } from "./load-plan.ts";
import { Contexts, Wire } from "./wire.ts";

/** The maximum number of handshakes at the same time. */
const openingMax = 32;

/** The load generator's process: it carries out one request at a time, and ends with its parent. */
const held: Wire[] = [];

async function hold({ connections, target, message }: HoldPlan): Promise<number> {
  const contexts = new Contexts();
  const request = Buffer.from(message.bytes, "base64");
  let begun = 0;
  const opener = async () => {
    while (begun++ < connections) {
      const wire = await Wire.open(target, contexts);
      held.push(wire);
      await wire.exchange(request);
      wire.rest();
    }
  };
  await Promise.all(Array.from({ length: openingMax }, opener));
  return held.length;
}

async function release(): Promise<void> {
  await Promise.all(held.splice(0).map((wire) => wire.destroy()));
}

async function answer(request: LoadRequest): Promise<LoadAnswer> {
  switch (request.do) {
    case "load":
      return { result: await new Load(request.plan).run() };
    case "hold":
      return { held: await hold(request.plan) };
    case "release":
      await release();
      return { released: true };
  }
}

process.on("disconnect", () => process.exit());
process.on("SIGINT", () => undefined);
process.on("message", (request: LoadRequest) => {
  answer(request)
    .catch((error: unknown): LoadAnswer => ({ error: String(error) }))
    .then((result) => process.send?.(result))
    .catch(() => process.exit(1));
});
