import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { KmipClient } from "@holdfast/client";
import { answerOf, until } from "@holdfast/testing";
import { selfSigned } from "@holdfast/testing/pki";
import { startKeyManager } from "../support/key-protect/index.ts";
import { keyBytes } from "../support/keys.ts";
import { OrderRegions, rootsIn } from "../support/order-roots.ts";
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
  readonly gets: GetCounts;
}

/** Gets of the clients of both regions. */
interface GetCounts {
  readonly all: number;
  /** Those that did not return the key. */
  readonly failed: number;
  /** Those of the failed ones whose node said that its store does not answer now. */
  readonly withoutStore: number;
}

/** Moves off HPCS and back. */
export interface MovesFigures {
  readonly keys: number;
  /** In a time without a move: what the machine itself makes fail. */
  readonly before: GetCounts;
  readonly moves: readonly Move[];
}

const instance = "bench";
const times = { kekCacheMs: 2_000, graceMs: 600_000, revalidateMs: 5_000, deadlineMs: 10_000 };
const readKeys = 500;
const restMs = 4;
/** How long the Gets are counted before the first move. */
const beforeMs = 10_000;
const kinds = [
  ...(["dedicated-key-protect", "key-protect"] as const),
  ...(hasSoftHsm() ? (["pkcs11"] as const) : []),
  "hpcs" as const,
];

/** Loads keys into an instance under HPCS, and moves it to Dedicated Key Protect, to Key Protect, to a token, and back. */
export async function measureMoves(
  { loadedKeys }: Extent,
  signal: AbortSignal,
): Promise<MovesFigures> {
  await using opened = new AsyncDisposableStack();
  const dedicated = opened.use(await startKeyManager({ kind: "dedicated-key-protect" }));
  await dedicated.settings({ settleMs: 0, rotationMs: 0 });
  const { host, iamHost, caFile } = dedicated;
  const group = { host, iamHost, ca: caFile, deadlineMs: times.deadlineMs };
  const site = opened.use(await OrderRegions.start(times, 1, { dedicatedKeyProtect: group }));
  const keyFile = await site.write("dedicated.key", `${dedicated.apiKey}\n`);
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
  const before = await countGets(clients, signal, () => sleep(beforeMs));
  const moves: Move[] = [];
  let from = "hpcs";
  for (const to of kinds) {
    const { options: roots } =
      to === "dedicated-key-protect" ? await rootsIn(dedicated, keyFile) : await site.rootFor(to);
    const startedMs = performance.now();
    const gets = await countGets(clients, signal, async () => {
      await site.done("root-of-trust", "move", "--all", "--from", from, ...roots);
    });
    moves.push({ from, to, seconds: (performance.now() - startedMs) / 1_000, gets });
    from = to;
  }
  return { keys: loadedKeys, before, moves };
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
export async function countGets(
  readers: readonly Reader[],
  signal: AbortSignal,
  work: () => Promise<unknown>,
): Promise<GetCounts> {
  const counts = { all: 0, failed: 0, withoutStore: 0 };
  let going = true;
  const loops = readers.map(async ({ client, known }) => {
    const all = [...known];
    for (let at = 0; going && !signal.aborted; at += 1) {
      const [id, bytes] = all[at % all.length] ?? ["", ""];
      counts.all += 1;
      try {
        if ((await keyBytes(client, id)) !== bytes) counts.failed += 1;
      } catch (error) {
        counts.failed += 1;
        if (/the store does not answer now/.test(String(error))) counts.withoutStore += 1;
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
export function movesLines({ keys, before, moves }: MovesFigures): readonly string[] {
  return [
    `without a move: ${getsText(before)}`,
    ...moves.map(
      ({ from, to, seconds, gets }) =>
        `root-of-trust move of ${keys.toLocaleString("en")} keys in two regions, ${from} to ${to}: ${seconds.toFixed(1)} s with the command's start; meanwhile ${getsText(gets)}`,
    ),
  ];
}

function getsText({ all, failed, withoutStore }: GetCounts): string {
  return `${all.toLocaleString("en")} Gets, ${failed} failed, ${withoutStore} of these because their node was without its store`;
}
