import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { KmipClient } from "@holdfast/client";
import { answerOf, until } from "@holdfast/testing";
import { selfSigned } from "@holdfast/testing/pki";
import { keyBytes } from "../support/keys.ts";
import { OrderRegions } from "../support/order-roots.ts";
import { patient } from "../support/root-regions.ts";
import { hasSoftHsm } from "../support/softhsm.ts";
import { allWell } from "../support/vitals.ts";
import { command } from "./keys-at-scale.ts";
import type { Extent } from "./options.ts";

/** A move of one instance to a root key of another kind in both regions, while clients of both get keys. */
interface Move {
  readonly from: string;
  readonly to: string;
  /** Until the command had ended: everything was under the new root key. */
  readonly seconds: number;
  readonly gets: number;
  /** Gets that did not return the key, except those that say that the node is without its store now. */
  readonly failedGets: number;
  readonly withoutStore: number;
}

/** Moves off HPCS and back. */
export interface MovesFigures {
  readonly keys: number;
  readonly moves: readonly Move[];
}

const instance = "bench";
const times = { kekCacheMs: 2_000, graceMs: 600_000, revalidateMs: 5_000, deadlineMs: 10_000 };
const readKeys = 500;
const restMs = 4;

/** Loads keys into an instance under HPCS, and moves it to Key Protect, to a token, and back. */
export async function measureMoves(
  { loadedKeys }: Extent,
  signal: AbortSignal,
): Promise<MovesFigures> {
  await using opened = new AsyncDisposableStack();
  const site = opened.use(await OrderRegions.start(times, 1));
  const { both } = site.roots;
  const { options } = await site.rootFor("hpcs");
  await site.done("instance", "order", "--name", instance, ...options, "--wait");
  const config = both.node("a1").configFile;
  const keys = String(loadedKeys);
  const load = ["dev", "load", "--instance", instance, "--keys", keys, "--config", config];
  // On a busy machine the store may be unsafe for a moment when the command opens it.
  const unsafe = (error: unknown): boolean => /may not be used now/.test(String(error));
  await answerOf("keys are loaded", () => command(load, signal), unsafe);
  const clients = await clientsOf(site, opened);
  await allWell(both);
  const moves: Move[] = [];
  let from = "hpcs";
  for (const to of ["key-protect", ...(hasSoftHsm() ? ["pkcs11"] : []), "hpcs"] as const) {
    const { options: roots } = await site.rootFor(to as "hpcs");
    const startedMs = performance.now();
    const counts = await working(clients, signal, async () => {
      await site.done("root-of-trust", "move", "--all", "--from", from, ...roots);
    });
    moves.push({ from, to, seconds: (performance.now() - startedMs) / 1_000, ...counts });
    from = to;
  }
  return { keys: loadedKeys, moves };
}

/** A client of each region that sees the loaded keys, and the bytes of some of them. */
interface Reader {
  readonly client: KmipClient;
  readonly known: ReadonlyMap<string, string>;
}

async function clientsOf(
  { roots }: OrderRegions,
  opened: AsyncDisposableStack,
): Promise<readonly Reader[]> {
  const commonName = `bench ${randomBytes(4).toString("hex")}`;
  const { certificate, key } = await selfSigned({
    commonName,
    notBeforeMs: Date.now() - 3_600_000,
    days: 2,
  });
  const params = { instance };
  const body = { name: "client", pem: certificate };
  await patient(() => roots.admin("a1").call("addCertificate", { params, body }));
  return await Promise.all(
    ["a1", "b1"].map(async (name) => {
      const { host, kmip } = roots.both.node(name);
      const tls = { ca: roots.both.a.ca, certificate, key };
      const connect = () =>
        KmipClient.connect({ endpoints: [`${host}:${kmip}`], tls, version: "1.4" });
      const client = opened.use(await connect());
      const known = new Map<string, string>();
      await until(`${name} has keys`, async () => {
        try {
          const page = await client.locate({ attributes: [], maximumItems: readKeys });
          for (const id of page.uniqueIdentifiers) known.set(id, await keyBytes(client, id));
          return known.size > 0;
        } catch (error) {
          return error as Error;
        }
      });
      return { client, known };
    }),
  );
}

/** Gets keys at both nodes until the work is done. */
async function working(
  readers: readonly Reader[],
  signal: AbortSignal,
  work: () => Promise<void>,
): Promise<Pick<Move, "gets" | "failedGets" | "withoutStore">> {
  const counts = { gets: 0, failedGets: 0, withoutStore: 0 };
  let going = true;
  const loops = readers.map(async ({ client, known }) => {
    const all = [...known];
    for (let at = 0; going && !signal.aborted; at += 1) {
      const [id, bytes] = all[at % all.length] ?? ["", ""];
      counts.gets += 1;
      try {
        if ((await keyBytes(client, id)) !== bytes) counts.failedGets += 1;
      } catch (error) {
        if (/the store does not answer now/.test(String(error))) counts.withoutStore += 1;
        else counts.failedGets += 1;
      }
      await sleep(restMs);
    }
  });
  await work().finally(() => {
    going = false;
  });
  await Promise.all(loops);
  return counts;
}

/** The figures in lines for people. */
export function movesLines({ keys, moves }: MovesFigures): readonly string[] {
  return moves.map(
    ({ from, to, seconds, gets, failedGets, withoutStore }) =>
      `root-of-trust move of ${keys.toLocaleString("en")} keys in two regions, ${from} to ${to}: ${seconds.toFixed(1)} s with the command's start; meanwhile ${gets.toLocaleString("en")} Gets, ${failedGets} failed, ${withoutStore} found their node without its store`,
  );
}
