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
    await look(client, endpoint, history, entries);
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
    left = await look(client, endpoint, history, left);
    if (left.length > 0) await sleep(200);
  }
  for (const { id } of left) history.violation("missing", `${id} at ${endpoint.node}: no answer`);
}

function connected({ target: { host, port, ...tls } }: Endpoint): Promise<KmipClient> {
  const endpoints = [`${host}:${port}`];
  return KmipClient.connect({ endpoints, tls, version: "1.4", connectionsMax: 2 });
}

/** Reads some objects, and returns those that were not answered. */
async function look(
  client: KmipClient,
  endpoint: Endpoint,
  history: History,
  entries: readonly Entry[],
): Promise<readonly Entry[]> {
  const unanswered: Entry[] = [];
  for (let at = 0; at < entries.length; at += together) {
    const some = entries.slice(at, at + together);
    const ids = some.map(({ id }) => id);
    const ended = began(endpoint);
    const looks = await lookAtAll(client, ids, changingReferences).catch(() => []);
    const moment = ended();
    for (const [place, entry] of some.entries()) {
      const seen = looks[place];
      const reader = `reader at ${endpoint.node}`;
      const isAnswered = seen !== undefined && noteLook(history, reader, entry, seen, moment, true);
      if (!isAnswered) unanswered.push(entry);
    }
  }
  return unanswered;
}
