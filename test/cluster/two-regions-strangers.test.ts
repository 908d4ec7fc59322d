import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { connect as connectHttp2 } from "node:http2";
import { connect as connectTcp, type Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect as connectTls, type TLSSocket } from "node:tls";
import {
  makeRegionKey,
  proveLink,
  publicHalf,
  RegionKeys,
  readPeerKey,
  readRegionKey,
} from "@holdfast/regions";
import { until } from "@holdfast/testing";
import type { Issued } from "@holdfast/testing/pki";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { answered, createKey, keyBytes } from "../support/keys.ts";
import { say } from "../support/load.ts";
import {
  createPeerAuthority,
  issuePeer,
  regionKeyOf,
  writePeerCertificate,
} from "../support/region.ts";
import { startTwoRegions, type TwoRegions } from "../support/two-regions.ts";
import { ClientsOfAll } from "../support/two-regions-clients.ts";
import { allWell, vitalsOf } from "../support/vitals.ts";

const instance = "vcenter";

let both: TwoRegions;
let clients: ClientsOfAll;

beforeAll(async () => {
  // On a busy machine a change may wait long for the other region, before it is acknowledged alone.
  const settings = { peer: { pushTimeoutMs: 5_000 } };
  both = await startTwoRegions({ instances: [instance], replicas: 0, nodes: 1, settings });
  await allWell(both);
  clients = await ClientsOfAll.open(both, instance);
});

afterAll(async () => {
  await clients?.[Symbol.asyncDispose]();
  await both?.[Symbol.asyncDispose]();
});

/** A caller of the peer port, and the region key that it proves, if it has one. */
interface Caller extends Partial<Issued> {
  readonly regionKey?: string;
}

/** The node b1 itself. */
async function theNode(authority = both.peerAuthority): Promise<Caller> {
  return { ...(await issuePeer(authority, "b")), regionKey: regionKeyOf("b") };
}

/** Connects to a1; undefined if it is refused during the handshake. */
async function dial(who: Caller): Promise<TLSSocket | undefined> {
  const socket = connectTls({
    ...{ host: "127.0.0.1", port: both.node("a1").peer, rejectUnauthorized: false },
    ALPNProtocols: ["h2"],
    ...(who.certificate === undefined ? {} : { cert: who.certificate }),
    ...(who.key === undefined ? {} : { key: who.key }),
  });
  socket.on("error", () => undefined);
  const failed = await Promise.race([
    once(socket, "secureConnect").then(
      () => false,
      () => true,
    ),
    once(socket, "close").then(() => true),
  ]);
  if (failed) return undefined;
  if (who.regionKey !== undefined) {
    const keys = new RegionKeys(readRegionKey(who.regionKey), [
      readPeerKey(publicHalf(readRegionKey(regionKeyOf("a")))),
    ]);
    const certificate = socket.getPeerX509Certificate();
    await proveLink(socket, { role: "client", own: "b", other: "a", certificate, keys });
  }
  return socket;
}

/** Calls a method of the peer protocol at a1, and returns how that ends. */
async function call(who: Caller, path = "/holdfast.peer.v1.Peer/Hello"): Promise<string> {
  const socket = await dial(who);
  if (socket === undefined) return "refused";
  return new Promise((resolve) => {
    const session = connectHttp2("https://127.0.0.1", { createConnection: () => socket });
    const done = (what: string) => {
      session.destroy();
      resolve(what);
    };
    session.setTimeout(60_000, () => done("nothing"));
    session.on("error", (error) => done(`refused: ${error.message}`));
    session.on("close", () => done("closed"));
    const stream = session.request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
    });
    let status: unknown;
    stream.on("response", (headers) => {
      status = headers["grpc-status"];
    });
    stream.on("trailers", (headers) => {
      status = headers["grpc-status"];
    });
    stream.on("error", () => undefined);
    stream.on("end", () =>
      done(status === undefined ? "closed" : `answered with status ${String(status)}`),
    );
    stream.resume();
    stream.end(Buffer.alloc(5));
  });
}

async function refusals(): Promise<number> {
  const text = await both.node("a1").metrics();
  return [...text.matchAll(/^holdfast_peer_refusals_total\{.*\} (\d+)$/gm)].reduce(
    (sum, [, count]) => sum + Number(count),
    0,
  );
}

/**
 * Expects that both regions work together while and after something happens, and that no change is acknowledged alone.
 * A busy machine may keep the regions from each other for a moment: then all of it happens again.
 */
async function worksOn(happens: () => Promise<void> = async () => undefined): Promise<void> {
  await until("no change is acknowledged alone", async () => {
    await allWell(both);
    const before = await vitalsOf(both.node("a1"));
    await happens();
    const id = await answered(() => createKey(clients.at("a1")));
    const isAlone = (await vitalsOf(both.node("a1"))).alone > before.alone;
    if (!isAlone) await answered(() => keyBytes(clients.at("b1"), id));
    return !isAlone;
  });
}

describe("the peer port refuses strangers, and log and metric name them:", () => {
  const strangers: readonly [string, () => Promise<Caller>][] = [
    ["no certificate", async () => ({})],
    [
      "a KMIP client's certificate",
      async () => {
        const { certificate, key } = both.a.target(instance);
        return { certificate, key };
      },
    ],
    [
      "the right name from another authority",
      async () => issuePeer(await createPeerAuthority(), "b"),
    ],
    ["a region that is not the peer", async () => issuePeer(both.peerAuthority, "c")],
    ["the region's own name", async () => issuePeer(both.peerAuthority, "a")],
    [
      "a peer's stolen certificate, without its region's key",
      async () => issuePeer(both.peerAuthority, "b"),
    ],
    [
      "a peer's stolen certificate, with a key of its own",
      async () => ({ ...(await theNode()), regionKey: makeRegionKey() }),
    ],
  ];

  test.each(strangers)("%s", async (_, issue) => {
    await worksOn(async () => {
      const before = await refusals();
      expect(await call(await issue())).toMatch(/^(refused|closed)/);
      await until("a refusal counted", async () => (await refusals()) > before);
    });
    expect(both.node("a1").logText()).toMatch(/peer/i);
  });

  test("the peer itself gets answers", async () => {
    expect(await call(await theNode())).toMatch(/^answered/);
  });

  test.each([
    ["garbage", randomBytes(4_096)],
    ["HTTP", Buffer.from("GET / HTTP/1.1\r\n\r\n")],
    ["silence", Buffer.alloc(0)],
  ])("%s instead of TLS", async (_, bytes) => {
    const sockets: Socket[] = [];
    await worksOn(async () => {
      const socket = connectTcp(both.node("a1").peer, "127.0.0.1");
      socket.on("error", () => undefined);
      socket.on("connect", () => socket.write(bytes));
      sockets.push(socket);
    });
    await until("they are closed", () => sockets.every(({ closed }) => closed));
  });

  test("a flood of silent connections; the peer still works, and the memory does not grow", async () => {
    const node = both.node("a1");
    const memory = async () =>
      Number(/^process_resident_memory_bytes (\S+)/m.exec(await node.metrics())?.[1]);
    const before = await memory();
    const sockets = Array.from({ length: 800 }, () => {
      const socket = connectTcp(node.peer, "127.0.0.1");
      socket.on("error", () => undefined);
      return socket;
    });
    await sleep(500);
    await both.reset();
    await worksOn();
    const grown = (await memory()) - before;
    for (const socket of sockets) socket.destroy();
    say(`800 silent connections: ${Math.round(grown / 1e6)} MB more`);
    expect(grown).toBeLessThan(100e6);
  });
});

test("peer certificates and their authority are replaced without a restart, while old and new overlap", async () => {
  const next = await createPeerAuthority();
  const write = (region: "a" | "b", name: string, text: string) =>
    writeFile(join(both.region(region).folder, name), text, { mode: 0o600 });
  const overlapping = both.peerAuthority.certificate + next.certificate;
  const steps: readonly (() => Promise<void>)[] = [
    async () => {
      for (const region of ["a", "b"] as const) await write(region, "peer-ca.pem", overlapping);
    },
    async () => {
      for (const region of ["a", "b"] as const) {
        const { folder, nodes } = both.region(region);
        for (const node of nodes) {
          const issued = await issuePeer(next, region, undefined, node.name);
          await writePeerCertificate(folder, node.name, issued);
        }
      }
    },
    async () => {
      for (const region of ["a", "b"] as const)
        await write(region, "peer-ca.pem", next.certificate);
    },
  ];
  for (const step of steps) {
    await step();
    await both.readFiles();
    // Existing connections would hide a mistake.
    await both.reset();
    await worksOn();
  }
  expect(await call(await theNode())).toMatch(/^(refused|closed)/);
  expect(await call(await theNode(next))).toMatch(/^answered/);
});
