import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { rename } from "node:fs/promises";
import type { Socket } from "node:net";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { until } from "@holdfast/testing";
import { keyBytes } from "../support/keys.ts";
import { rootOf } from "../support/node-root.ts";
import { recordOf } from "../support/record.ts";
import { RedisServer } from "../support/redis.ts";
import { initStore, setStore } from "../support/redis-store.ts";
import { ClientsOfAll, credentialsOf } from "../support/two-regions-clients.ts";
import { vitalsOf } from "../support/vitals.ts";
import {
  denyMany,
  leaderOf,
  limitFiles,
  type Mend,
  memory,
  pulse,
  replicaOf,
  rewritten,
  withPeerCertificate,
} from "./makers.ts";
import { type AlertWorld, connectionsMax, instance } from "./world.ts";

/** One fault and the alerts that it must raise: exactly these, and no others. */
export interface Fault {
  readonly name: string;
  /** What happens, for people. */
  readonly text: string;
  /** `NAME WHAT`: the alert and the node, region, certificate owner or backup that it is about. */
  readonly alerts: readonly string[];
  /** Seconds within which all of them arrive, with the shipped times. */
  readonly boundS: number;
  /** The largest factor by which times may be divided: the fault's own duration is not scaled. */
  readonly factorMax?: number;
  readonly make: (world: AlertWorld) => Promise<Mend>;
}

const nothing: Mend = () => undefined;

/** How far the clock of a node is wrong. */
const skewMs = 45_000;

/** The header of a request message, which says that 256 bytes follow. */
const halfRequest = Buffer.from("4200780100000100", "hex");

/** This test connects to a node by its address, which its certificate need not name. */
const checkServerIdentity = () => undefined;

/** In the order in which they are made: those with lasting effects come last. */
export const faults: readonly Fault[] = [
  {
    name: "kill-node",
    text: "kill -9 of a node",
    alerts: ["HoldfastNodeGone a2"],
    boundS: 120,
    make: async ({ both }) => {
      await both.kill("a2");
      return nothing;
    },
  },
  {
    name: "freeze-node",
    text: "a node is stopped (SIGSTOP) and keeps its connections",
    alerts: ["HoldfastNodeGone b2"],
    boundS: 120,
    make: async ({ both }) => {
      both.freeze("b2");
      return () => both.thaw("b2");
    },
  },
  {
    name: "freeze-redis",
    text: "a region's primary Redis is stopped (SIGSTOP)",
    alerts: ["HoldfastStoreCarriedByOtherRegion a"],
    boundS: 90,
    make: async ({ both }) => {
      both.freeze("redis-a");
      return () => both.thaw("redis-a");
    },
  },
  {
    name: "kill-redis",
    text: "kill -9 of a region's primary Redis",
    alerts: ["HoldfastStoreCarriedByOtherRegion b"],
    boundS: 90,
    make: async ({ both }) => {
      await both.kill("redis-b");
      return nothing;
    },
  },
  {
    name: "kill-replica",
    text: "kill -9 of a Redis replica",
    alerts: ["HoldfastStoreCarriedByOtherRegion a"],
    boundS: 90,
    make: async ({ both }) => {
      await replicaOf(both, "a").kill();
      return nothing;
    },
  },
  {
    name: "cut-one-way",
    text: "region a's nodes cannot reach region b's; b's can reach a's",
    alerts: ["HoldfastOtherRegionUnreachable a"],
    boundS: 120,
    make: async ({ both }) => {
      await both.cut("a→b");
      return () => both.heal();
    },
  },
  {
    name: "cut",
    text: "the line between the regions is cut",
    alerts: ["HoldfastOtherRegionUnreachable a", "HoldfastOtherRegionUnreachable b"],
    boundS: 120,
    make: async ({ both }) => {
      await both.cut();
      return () => both.heal();
    },
  },
  {
    name: "kill-locks",
    text: "kill -9 of a region's lock masters",
    alerts: ["HoldfastNoLeader a"],
    boundS: 120,
    make: async ({ both }) => {
      await both.kill("lock-a");
      return nothing;
    },
  },
  {
    name: "kill-region",
    text: "kill -9 of everything of a region",
    alerts: ["HoldfastRegionGone b"],
    boundS: 120,
    make: async ({ both }) => {
      await both.kill("b");
      return nothing;
    },
  },
  {
    name: "kill-all",
    text: "kill -9 of everything of both regions",
    alerts: ["HoldfastAllGone"],
    boundS: 120,
    make: async ({ both }) => {
      await Promise.all([both.kill("a"), both.kill("b")]);
      return nothing;
    },
  },
  {
    name: "slow-disk",
    text: "a replica's disk is slow: it stops for 0.4 s again and again",
    alerts: ["HoldfastStoreSlow a"],
    boundS: 300,
    make: async ({ both }) => pulse(replicaOf(both, "a"), 400, 150),
  },
  {
    name: "memory-nearly-full",
    text: "a region's Redis uses 85 % of maxmemory",
    alerts: ["HoldfastStoreMemory a"],
    boundS: 90,
    make: async ({ both }) => {
      const { primary } = both.a.redis;
      const used = Number(await primary.info("used_memory"));
      return memory(primary, String(Math.round(used / 0.85)));
    },
  },
  {
    name: "memory-full",
    text: "a region's Redis is at maxmemory",
    alerts: ["HoldfastStoreFull b"],
    boundS: 90,
    make: async ({ both }) => memory(both.b.redis.primary, "1mb"),
  },
  {
    name: "disk-full",
    text: "a region's primary Redis cannot append to its file and ends",
    alerts: ["HoldfastStoreCarriedByOtherRegion a"],
    boundS: 90,
    make: async ({ both }) => {
      const { primary } = both.a.redis;
      limitFiles(primary, 1);
      await until("Redis to end", () => !primary.running);
      return nothing;
    },
  },
  {
    name: "disk-nearly-full",
    text: "a region's Redis cannot rewrite its append-only file",
    alerts: ["HoldfastStoreDisk b"],
    boundS: 90,
    make: async ({ both }) => {
      const { primary } = both.b.redis;
      // Random bytes, so that compression cannot make the file smaller than the limit.
      await primary.command("set", "holdfast-test-filler", randomBytes(8 << 20));
      await rewritten(primary, "ok");
      limitFiles(primary, 4 << 20);
      await rewritten(primary, "err");
      return async () => {
        limitFiles(primary, "unlimited");
        await primary.command("del", "holdfast-test-filler");
        await rewritten(primary, "ok");
      };
    },
  },
  {
    name: "root-away",
    text: "a region's key manager refuses connections",
    alerts: ["HoldfastRootOfTrust a"],
    boundS: 120,
    make: async ({ managers }) => {
      await managers.a.kill();
      return () => managers.a.start();
    },
  },
  {
    name: "storage-key-closed",
    text: "a node starts while its region's key manager refuses connections",
    alerts: ["HoldfastStorageKeyClosed a"],
    boundS: 120,
    // The node's start takes as long at any factor, and HoldfastRootOfTrust waits for its end only in `group_wait`.
    factorMax: 2,
    make: async ({ both, managers }) => {
      await managers.a.kill();
      await both.kill("a2");
      both.node("a2").launch();
      return () => managers.a.start();
    },
  },
  {
    name: "storage-key-deleted",
    text: "somebody deletes the storage key in a region's Redis",
    alerts: ["HoldfastStorageKeyPutBack a"],
    boundS: 180,
    make: async ({ both }) => {
      await both.a.redis.primary.command("del", "{sys}:keys");
      return async () => undefined;
    },
  },
  {
    name: "root-denied",
    text: "a region's key manager denies access to the root key",
    alerts: ["HoldfastKeysClosed b"],
    boundS: 120,
    make: async ({ managers }) => {
      await managers.b.role("None");
      return () => managers.b.role("Manager");
    },
  },
  {
    name: "root-slow",
    text: "a region's key manager takes 1.3 s for each call",
    alerts: ["HoldfastRootSlow a"],
    boundS: 420,
    make: async ({ managers }) => {
      await managers.a.switch({ delayMs: 1_300 });
      return () => managers.a.heal();
    },
  },
  {
    name: "clock-skew",
    text: `a node's clock is ${skewMs / 1000} s ahead`,
    alerts: ["HoldfastClockWrong a2"],
    boundS: 120,
    make: async ({ both }) => {
      const node = both.node("a2");
      const startWith = async (aheadMs: number) => {
        await node.kill();
        node.clockAheadMs = aheadMs;
        await node.start();
      };
      await startWith(skewMs);
      return () => startWith(0);
    },
  },
  {
    name: "two-stores",
    text: "a node is configured with another initialised store than its region's other node",
    alerts: ["HoldfastStoresDiffer a"],
    boundS: 120,
    // A difference is reported once it has lasted 10 s, at any factor.
    factorMax: 2,
    make: async ({ both }) => {
      const node = both.node("a2");
      const other = await RedisServer.start();
      await using root = await rootOf(node);
      await initStore({ address: other.address, root });
      await node.kill();
      const putBack = await setStore(node.configFile, { address: other.address, replicas: 0 });
      await node.start();
      return async () => {
        await node.kill();
        await putBack();
        await node.start();
        await other[Symbol.asyncDispose]();
      };
    },
  },
  {
    name: "flapping-leader",
    text: "a region's lock masters freeze until its leader steps down, six times",
    alerts: ["HoldfastLeaderFlaps b"],
    boundS: 240,
    // Each freeze takes as long as a leader's lease, 5 s, at any factor.
    factorMax: 2,
    make: async ({ both }) => {
      for (let turn = 0; turn < 6; turn++) {
        const leader = both.node(await leaderOf(both, "b"));
        both.freeze("lock-b");
        await until("the leader to step down", async () => !(await vitalsOf(leader)).leads);
        both.thaw("lock-b");
        await until("every node to see the lock masters answer", async () => {
          const texts = await Promise.all(both.b.nodes.map((node) => node.metrics()));
          return texts.every((text) => /^holdfast_lock_masters\{answers="no"\} 0$/m.test(text));
        });
      }
      return nothing;
    },
  },
  {
    name: "audit-sink-away",
    text: "the folder of an audit sink's file is missing at a region's nodes",
    alerts: ["HoldfastAuditSinkOut a"],
    boundS: 240,
    make: async ({ folder }) => {
      await rename(join(folder, "audit-a"), join(folder, "audit-away"));
      return () => rename(join(folder, "audit-away"), join(folder, "audit-a"));
    },
  },
  {
    name: "witness-away",
    text: "the witness of a region's audit log refuses connections",
    alerts: ["HoldfastAuditNotWitnessed a"],
    boundS: 240,
    make: async ({ witness }) => {
      await witness.stop();
      return () => witness.resume();
    },
  },
  {
    name: "revocation-list-away",
    text: "a revocation list is missing at a region's nodes",
    alerts: ["HoldfastRevocationList a1", "HoldfastRevocationList a2"],
    boundS: 240,
    make: async ({ folder }) => {
      await rename(join(folder, "list.crl"), join(folder, "list-away.crl"));
      return () => rename(join(folder, "list-away.crl"), join(folder, "list.crl"));
    },
  },
  {
    name: "many-denials",
    text: "somebody puts one certificate after another on the deny list, one every two seconds, from the start of Prometheus on: the rule compares with ten minutes before",
    alerts: ["HoldfastManyDenials"],
    // The rule compares with ten minutes before, and Prometheus starts with the fault.
    boundS: 720,
    make: async ({ admin }) => denyMany(admin("a1")),
  },
  {
    name: "stranger",
    text: "a client without a certificate of the other region connects to the peer port",
    alerts: ["HoldfastStrangersAtPeerPort a1"],
    boundS: 60,
    make: async ({ both }) => {
      const { host, peer } = both.node("a1");
      const options = { host, port: peer, rejectUnauthorized: false, ALPNProtocols: ["h2"] };
      const socket = connectTls(options);
      socket.on("error", () => undefined);
      socket.resume();
      await once(socket, "close");
      return nothing;
    },
  },
  {
    name: "connection-flood",
    text: "a client opens more connections to a node than its instance may have, each with half a request",
    alerts: ["HoldfastConnectionsDropped a1"],
    boundS: 60,
    make: async ({ both }) => {
      const { host, kmip: port } = both.node("a1");
      const { ca, certificate: cert, key } = credentialsOf(both, instance);
      const options = { host, port, ca: [ca].flat(), cert, key, checkServerIdentity };
      const sockets: Socket[] = [];
      while (sockets.length < connectionsMax) {
        const socket = connectTls(options).on("error", () => undefined);
        sockets.push(socket.resume());
        await Promise.race([once(socket, "secureConnect"), once(socket, "close")]);
        socket.write(halfRequest);
      }
      return () => {
        for (const socket of sockets) socket.destroy();
      };
    },
  },
  {
    name: "certificate-ends",
    text: "a region's peer certificate ends in 40 days",
    alerts: ["HoldfastCertificateEnds (peer)"],
    boundS: 90,
    make: (world) => withPeerCertificate(world, 40),
  },
  {
    name: "certificate-ends-soon",
    text: "a region's peer certificate ends in 5 days",
    alerts: ["HoldfastCertificateEndsSoon (peer)"],
    boundS: 90,
    make: (world) => withPeerCertificate(world, 5),
  },
  {
    name: "damaged-record",
    text: "a record in a region's Redis is overwritten with random bytes",
    alerts: ["HoldfastRecordsInQuarantine a"],
    boundS: 90,
    make: async ({ both, anyObject }) => {
      const { primary } = both.a.redis;
      const { key, value } = await recordOf(primary, anyObject());
      await primary.command("set", key, randomBytes(value.length));
      await using clients = await ClientsOfAll.open(both, instance);
      await keyBytes(clients.at("a1"), anyObject()).catch(() => undefined);
      return async () => {
        const kept = (await primary.command("keys", "*quarantine")) as readonly string[];
        for (const name of kept) await primary.command("del", name);
      };
    },
  },
  {
    name: "backup-fails",
    text: "the folder for backups is missing at a region's nodes",
    alerts: ["HoldfastBackupFails a", "HoldfastBackupFails b"],
    boundS: 240,
    make: async ({ folder }) => {
      await rename(join(folder, "backups"), join(folder, "backups-away"));
      return () => rename(join(folder, "backups-away"), join(folder, "backups"));
    },
  },
];
