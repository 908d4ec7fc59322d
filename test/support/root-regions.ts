import { appendFile, chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AdminClient } from "@holdfast/admin";
import { createSealingKey } from "@holdfast/root-of-trust";
import { answerOf } from "@holdfast/testing";
import { adminClient, firstToken, isBusy } from "./admin-api.ts";
import { type KeyManager, startKeyManager } from "./key-protect/index.ts";
import type { KeyManagerKind } from "./key-protect/world.ts";
import { systemClock, systemIds } from "./redis-store.ts";
import { startTwoRegions, type TwoRegions, type TwoRegionsOptions } from "./two-regions.ts";
import { allWell } from "./vitals.ts";

/** How long nodes rely on answers of key managers. */
export interface RootTimes {
  readonly kekCacheMs: number;
  readonly graceMs: number;
  readonly revalidateMs: number;
  readonly deadlineMs: number;
  readonly keepKeksMs?: number;
}

/** Two regions, each under a root key in its own key manager: Key Protect in a, HPCS in b unless another is asked for. */
export interface RootRegions extends AsyncDisposable {
  readonly both: TwoRegions;
  readonly managers: { readonly a: KeyManager; readonly b: KeyManager };
  /** Root keys of the configuration. */
  readonly rootKeys: { readonly a: string; readonly b: string };
  /** A manager's client of a node's management API. */
  readonly admin: (node: string) => AdminClient;
}

/** The group of settings of each kind of key manager. */
const groups = {
  "key-protect": "keyProtect",
  "dedicated-key-protect": "dedicatedKeyProtect",
  hpcs: "hpcs",
} as const satisfies Record<KeyManagerKind, string>;

/** Starts both, with nodes whose times are short. */
export async function startRootRegions(
  instances: readonly string[],
  times: RootTimes,
  nodes = 2,
  /** Further settings of `rootOfTrust`, in both regions. */
  more: Readonly<Record<string, unknown>> = {},
  /** Other differences from two regions without replicas, and work before their nodes start. */
  {
    prepare,
    managerOfB = "hpcs",
    ...shape
  }: Partial<TwoRegionsOptions> & {
    readonly prepare?: (both: TwoRegions) => Promise<void>;
    readonly managerOfB?: KeyManagerKind;
  } = {},
): Promise<RootRegions> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), "holdfast-roots-"));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const [a, b] = await Promise.all([
    startKeyManager({ kind: "key-protect" }),
    startKeyManager({ kind: managerOfB }),
  ]);
  stack.use(a);
  stack.use(b);
  for (const manager of [a, b]) await manager.settings({ settleMs: 0, rotationMs: 0 });
  const rootKeys = { a: await a.createRootKey("crk a"), b: await b.createRootKey("crk b") };
  const secrets = join(folder, "secrets");
  await mkdir(secrets, { mode: 0o700 });
  await writeFile(join(secrets, "key-protect"), `${a.apiKey}\n`, { mode: 0o600 });
  await writeFile(join(secrets, "hpcs"), `${b.apiKey}\n`, { mode: 0o600 });
  const { deadlineMs, ...node } = times;
  const group = (manager: KeyManager, rootKey: string, secret: string) => ({
    ...{ host: manager.host, iamHost: manager.iamHost, ca: manager.caFile, deadlineMs },
    ...{ instanceId: manager.instanceId, rootKey, apiKeyFile: join(secrets, secret) },
  });
  const settings = {
    keyProtect: group(a, rootKeys.a, "key-protect"),
    [groups[managerOfB]]: group(b, rootKeys.b, "hpcs"),
    secretsFolder: secrets,
    ...node,
    ...more,
  };
  const both = stack.use(
    await startTwoRegions({
      instances,
      nodes,
      replicas: 0,
      admin: true,
      ...shape,
      unstarted: true,
      only: {
        a: { ...shape.only?.a, rootOfTrust: { type: "key-protect", ...settings } },
        b: { ...shape.only?.b, rootOfTrust: { type: managerOfB, ...settings } },
      },
    }),
  );
  for (const region of both.regions) {
    const file = join(folder, `sealing-${region.name}.json`);
    await createSealingKey(file, { clock: systemClock, ids: systemIds });
    await chmod(file, 0o600);
    for (const { configFile } of region.nodes) {
      await appendFile(configFile, `sealingKeyFile: ${file}\n`);
    }
  }
  await prepare?.(both);
  await Promise.all(both.nodes.map((each) => each.start()));
  await allWell(both);
  const [first] = both.nodes;
  if (first === undefined) throw new Error("no node");
  const { ca } = both.a;
  const token = await firstToken({ node: first, ca });
  const clients = new Map<string, AdminClient>();
  const admin = (name: string): AdminClient => {
    const known = clients.get(name) ?? adminClient({ node: both.node(name), ca }, token);
    clients.set(name, known);
    return known;
  };
  stack.defer(async () => {
    for (const client of clients.values()) await client[Symbol.asyncDispose]();
  });
  const all = stack.move();
  return {
    ...{ both, managers: { a, b }, rootKeys, admin },
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

/** Asks again while the regions find each other: on a busy machine one may lose the other for a moment. */
export function patient<Answer>(ask: () => Promise<Answer>): Promise<Answer> {
  return answerOf("an answer", ask, isBusy);
}
