import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Region, startRegion } from "../support/region.ts";
import type { Exchange, Message, Target } from "./load-plan.ts";
import { create, get, newKey } from "./messages.ts";
import type { Side } from "./sides.ts";
import { Contexts, identifierIn, refusalIn, Wire } from "./wire.ts";

/** The instances of the measured region; the last two are empty until their bytes are counted. */
export const instances = ["bench", "created", "described"] as const;

/** Starts the measured region: two nodes with defaults, and a Redis with a replica. */
export function startMeasured(): Promise<Region> {
  return startRegion({ instances, nodes: 2, replicas: 1, settings: { log: { level: "info" } } });
}

/** The region as a side; with `nodes` 1, all load goes to the first node. */
export function holdfastSide(region: Region, nodes: 1 | 2): Side {
  const { redis } = region;
  const serving = region.nodes.slice(0, nodes);
  return {
    name: "holdfast",
    targets: serving.map((_, at) => region.target("bench", at)),
    pids: () => ({
      server: serving.map(({ pid }) => pid),
      redis: [redis.primary.pid, ...redis.replicas.map(({ pid }) => pid)],
    }),
  };
}

/** Certificates and keys of the region, for servers that are compared with it. */
export function pkiOf(region: Region) {
  const read = (name: string) => readFileSync(join(region.folder, name), "utf8");
  const { ca, certificate: clientCertificate, key: clientKey } = region.target("bench");
  return {
    ca,
    clientCertificate,
    clientKey,
    serverCertificate: read("server.pem"),
    serverKey: read("server-key.pem"),
  };
}

/** Makes so many keys, and returns a Get for each. */
export async function makeKeys(target: Target, count: number): Promise<Message[]> {
  const wire = await Wire.open(target, new Contexts());
  try {
    const gets: Message[] = [];
    while (gets.length < count) gets.push(get(identifierIn(await send(wire, create)) ?? ""));
    return gets;
  } finally {
    await wire.destroy();
  }
}

/** A real node's answers to everything that the bench sends: request and answer, in base64. */
export async function record(
  target: Target,
  gets: readonly Message[],
): Promise<[request: string, answer: string][]> {
  const exchanges: readonly Exchange[] = [[create], gets.slice(0, 1), ...newKey];
  const contexts = new Contexts();
  const answers: [string, string][] = [];
  let id = "";
  for (const messages of exchanges) {
    const wire = await Wire.open(target, contexts);
    try {
      for (const message of messages) {
        const answer = await send(wire, message, id);
        if (message.idsAt.length === 0) id = identifierIn(answer) ?? id;
        answers.push([message.bytes, answer.toString("base64")]);
      }
    } finally {
      await wire.destroy();
    }
  }
  return answers;
}

async function send(wire: Wire, { bytes, idsAt, numbersAt }: Message, id = ""): Promise<Buffer> {
  const request = Buffer.from(bytes, "base64");
  for (const at of idsAt) request.write(id, at, "latin1");
  for (const at of numbersAt) request.write("0000000000", at, "latin1");
  const answer = await wire.exchange(request);
  const refusal = refusalIn(answer);
  if (refusal !== undefined) throw new Error(refusal);
  return answer;
}
