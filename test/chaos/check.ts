import { setTimeout as sleep } from "node:timers/promises";
import { KmipClient } from "@holdfast/client";
import { lookAtAll } from "../support/keys.ts";
import { changingReferences } from "./attributes.ts";
import type { Endpoint } from "./clients.ts";
import type { Entry, History } from "./history.ts";
import { began } from "./moment.ts";
import { noteLook } from "./workload.ts";

/** The number of objects in one message. */
const together = 20;
const triesMax = 50;

/** Reads some objects once at every endpoint that answers. */
export async function lookAt(
  endpoints: readonly Endpoint[],
  history: History,
  entries: readonly Entry[],
): Promise<void> {
  const looks = endpoints.map(async (endpoint) => {
    await using client = await connected(endpoint);
    for (let at = 0; at < entries.length; at += together) {
      await look(client, endpoint, history, entries.slice(at, at + together));
    }
  });
  await Promise.allSettled(looks);
}

/** Reads every object at every endpoint; an object without an answer at the end is missing. */
export async function checkAll(endpoints: readonly Endpoint[], history: History): Promise<void> {
  await Promise.all(
    endpoints.map(async (endpoint) => {
      try {
        await checkAt(endpoint, history);
      } catch (error) {
        // Where the run gave up, it is judged and reported all the same.
        const what = `${history.entries.size} objects at ${endpoint.node}`;
        history.violation("missing", `${what}: ${(error as Error).message}`);
      }
    }),
  );
}

async function checkAt(endpoint: Endpoint, history: History): Promise<void> {
  await using client = await connected(endpoint);
  let left: readonly Entry[] = [...history.entries.values()];
  for (let tries = triesMax; tries > 0 && left.length > 0; tries--) {
    const unanswered: Entry[] = [];
    for (let at = 0; at < left.length; at += together) {
      const some = left.slice(at, at + together);
      const answered = await look(client, endpoint, history, some);
      unanswered.push(...some.filter((_, place) => answered[place] !== true));
    }
    left = unanswered;
    if (left.length > 0) await sleep(200);
  }
  for (const { id } of left) history.violation("missing", `${id} at ${endpoint.node}: no answer`);
}

function connected({ target: { host, port, ...tls } }: Endpoint): Promise<KmipClient> {
  const endpoints = [`${host}:${port}`];
  return KmipClient.connect({ endpoints, tls, version: "1.4", connectionsMax: 2 });
}

/** Reads some objects, and returns those that were answered. */
async function look(
  client: KmipClient,
  endpoint: Endpoint,
  history: History,
  entries: readonly Entry[],
): Promise<readonly boolean[]> {
  const ended = began(endpoint);
  const looks = await lookAtAll(
    client,
    entries.map(({ id }) => id),
    changingReferences,
  ).catch(() => []);
  const moment = ended();
  return entries.map((entry, place) => {
    const seen = looks[place];
    if (seen === undefined) return false;
    history.recorder.look(`reader at ${endpoint.node}`, entry.id, seen, moment);
    return noteLook(history, entry, seen, moment, true);
  });
}
