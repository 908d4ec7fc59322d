import { appendFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { AdminClient } from "@holdfast/admin";
import { until } from "@holdfast/testing";
import { makeCrl } from "@holdfast/testing/crl";
import { createAuthority } from "@holdfast/testing/pki";
import { stringify } from "yaml";
import { initLogKey, readLogKey } from "../../packages/server/src/audit/log/log-key.ts";
import { holdfast } from "../support/command-line.ts";
import { HttpWitness } from "../support/http-witness.ts";
import type { KeyManager } from "../support/key-protect/index.ts";
import { createKey, keyBytes } from "../support/keys.ts";
import { startRootRegions } from "../support/root-regions.ts";
import type { TwoRegions } from "../support/two-regions.ts";
import { ClientsOfAll } from "../support/two-regions-clients.ts";

/** The instance of the clients that make load. */
export const instance = "vcenter";
/** How long the peers' certificates are valid. */
export const certificateDays = 400;
/** How many connections a node accepts at the same time; half of them for one instance. */
export const connectionsMax = 64;

/** Two regions under load, with everything that a fault may affect. */
export interface AlertWorld extends AsyncDisposable {
  readonly both: TwoRegions;
  readonly managers: { readonly a: KeyManager; readonly b: KeyManager };
  /** A manager's client of a node's management API. */
  readonly admin: (node: string) => AdminClient;
  /** Cosigns region a's audit log. */
  readonly witness: HttpWitness;
  /** The folder for audit events (`audit-REGION`), backups (`backups`) and region a's revocation list (`list.crl`). */
  readonly folder: string;
  /** The identifier of an acknowledged object. */
  readonly anyObject: () => string;
}

/**
 * Starts two regions of two nodes with everything, and a client of each node that makes a key and reads one again and again,
 * with a rest of `restMs` between.
 */
export async function startAlertWorld(restMs: number): Promise<AlertWorld> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), "holdfast-alert-world-"));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  await Promise.all(["audit-a", "audit-b", "backups"].map((name) => mkdir(join(folder, name))));
  const keyFile = join(folder, "backup-key.json");
  const times = { kekCacheMs: 10_000, graceMs: 3_600_000, revalidateMs: 2_000, deadlineMs: 5_000 };
  const audit = (region: string) => ({
    file: { path: join(folder, `audit-${region}`, "events.jsonl") },
  });
  const logKey = { keyFile: join(folder, "log.pem"), name: "log.example/a" };
  initLogKey(logKey);
  const witness = stack.use(await HttpWitness.start("w1", readLogKey(logKey).key));
  const log = { ...logKey, witnesses: [witness.settings] };
  const crls = await writeRevocationList(folder);
  const backup = { keyFile, directory: join(folder, "backups"), everyMs: 60_000 };
  const roots = stack.use(
    await startRootRegions(
      [instance],
      times,
      2,
      {},
      {
        replicas: 1,
        // IBM ends HPCS, and an alert says so all the time.
        managerOfB: "dedicated-key-protect",
        days: certificateDays,
        memory: true,
        // A busy machine may delay a push more than the line does; a change may then be alone.
        settings: { backup, kmip: { connectionsMax }, peer: { pushTimeoutMs: 10_000 } },
        only: { a: { audit: { ...audit("a"), log } }, b: { audit: audit("b") } },
        prepare: async ({ a }) => {
          for (const { configFile } of a.nodes) await appendFile(configFile, stringify({ crls }));
          const made = await holdfast("backup", "key", "init", "--config", a.node(0).configFile);
          if (made.code !== 0) throw new Error(made.err);
        },
      },
    ),
  );
  const { both, managers, admin } = roots;
  const clients = stack.use(await ClientsOfAll.open(both, instance));
  const objects: string[] = [];
  const stopping = new AbortController();
  const load = clients.all.map(async (client) => {
    while (!stopping.signal.aborted) {
      const id = await createKey(client).catch(() => undefined);
      if (id !== undefined) objects.push(id);
      await keyBytes(client, objects.at(-1) ?? "").catch(() => undefined);
      await sleep(restMs);
    }
  });
  stack.defer(async () => {
    stopping.abort();
    await Promise.all(load);
  });
  await until("an object", () => objects.length > 0);
  const all = stack.move();
  return {
    ...{ both, managers, admin, witness, folder },
    anyObject: () => objects[0] ?? "",
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

/** Writes an authority and its list, which lasts as long as the certificates; the setting that names them. */
async function writeRevocationList(folder: string): Promise<readonly object[]> {
  const lasting = { notBeforeMs: Date.now() - 3_600_000, days: certificateDays };
  const authority = await createAuthority({ commonName: "VMCA", ...lasting });
  const [pem, list] = [join(folder, "vmca.pem"), join(folder, "list.crl")];
  await writeFile(pem, authority.certificate);
  const nextUpdateMs = Date.now() + certificateDays * 86_400_000;
  await writeFile(list, makeCrl(authority, { number: 1, nextUpdateMs }));
  return [{ authority: pem, files: [list] }];
}
