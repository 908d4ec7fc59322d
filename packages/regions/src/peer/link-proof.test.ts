import { once } from "node:events";
import { setTimeout } from "node:timers/promises";
import { connect as connectTls, createServer, type TLSSocket } from "node:tls";
import { describe, expect, test } from "vitest";
import { provenSocket } from "../testing/peer/test-grpc.ts";
import { eventually, TestPeerStore, TestPeers } from "../testing/peer/test-peer.ts";
import { keysOfRegion, testAuthority } from "../testing/peer/test-pki.ts";
import { proveLink } from "./link-proof.ts";
import type { PeerTls } from "./peer-tls.ts";
import { linkProofBytes, makeRegionKey, publicHalf, readRegionKey } from "./region-keys.ts";

const authority = await testAuthority("peers");

/** A thief: a region's certificate, without its key. */
function thiefOf(region: "a" | "b"): PeerTls {
  return { ...authority.node(region), regionKey: makeRegionKey() };
}

function refusals(peers: TestPeers) {
  return peers.events.flatMap((event) => (event.type === "peerRefused" ? [event] : []));
}

/** A connection with region a's certificate that proves nothing. */
function bare(port: number, send: (socket: TLSSocket) => void = () => undefined): TLSSocket {
  const { ca, certificate: cert, key } = authority.node("a");
  const servername = "b.peer.holdfast";
  const socket = connectTls(
    { host: "127.0.0.1", port, ca, cert, key, servername, ALPNProtocols: ["h2"] },
    () => send(socket),
  );
  socket.on("error", () => undefined);
  return socket;
}

describe("a stolen peer certificate", () => {
  test("alone gets no answer: the node closes the connection, and reports the key", async () => {
    await using peers = new TestPeers(authority);
    const store = new TestPeerStore("b");
    const asked: string[] = [];
    store.before = (method) => void asked.push(method);
    const { server, address } = await peers.serve(store);
    const client = peers.connect([address], { tls: thiefOf("a") });
    await eventually(() => refusals(peers).some(({ address: from }) => from === "127.0.0.1"));
    expect(client.state()).toBe("down");
    await expect(client.kek("one", "k")).rejects.toThrow("region b cannot be asked");
    expect(asked).toEqual([]);
    expect(server.connections("a")).toBe(0);
    const [refused] = refusals(peers).filter(({ address: from }) => from === "127.0.0.1");
    expect(refused?.kind).toBe("unproven");
    expect(refused?.reason).toMatch(
      /^its region key [0-9a-f]{64} is not in peer\.keys: CN=node of a$/,
    );
  });

  test.each([
    [
      "HTTP/2 at once",
      (socket: TLSSocket) =>
        void socket.write(`PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${"\0".repeat(200)}`),
    ],
    ["half a proof", (socket: TLSSocket) => void socket.end(Buffer.alloc(50))],
    ["zeros", (socket: TLSSocket) => void socket.write(Buffer.alloc(linkProofBytes))],
  ])("that sends %s instead of a proof is refused and counted", async (_, send) => {
    await using peers = new TestPeers(authority);
    const { server } = await peers.serve(new TestPeerStore("b"));
    const socket = bare(server.address.port, send);
    socket.resume();
    await eventually(() => refusals(peers).length > 0 && socket.closed);
    expect(refusals(peers)).toMatchObject([{ kind: "unproven", address: "127.0.0.1" }]);
    expect(server.connections("a")).toBe(0);
  });

  test("that sends nothing before it ends is counted as unfinished: a node that refuses this one does that", async () => {
    await using peers = new TestPeers(authority);
    const { server } = await peers.serve(new TestPeerStore("b"));
    const socket = bare(server.address.port, (one) => void one.end()).resume();
    await eventually(() => refusals(peers).length > 0 && socket.closed);
    expect(refusals(peers)).toMatchObject([{ kind: "unfinished" }]);
    expect(server.connections("a")).toBe(0);
  });

  test("does not lock its region out with silent connections, and each ends in time", async () => {
    await using peers = new TestPeers(authority);
    const limits = { connections: 2, handshakeMs: 1_000 };
    const { server, address } = await peers.serve(new TestPeerStore("b"), { limits });
    const sockets = Array.from({ length: 20 }, () => bare(server.address.port).resume());
    await Promise.all(sockets.map((socket) => once(socket, "secureConnect")));
    const client = await peers.connected([address]);
    expect((await client.hello()).region).toBe("b");
    await eventually(() => sockets.every(({ closed }) => closed));
    expect(refusals(peers)).toHaveLength(20);
    expect((await client.hello()).region).toBe("b");
  });

  test("of a server is not talked to, and the node says which key it showed", async () => {
    await using peers = new TestPeers(authority);
    const store = new TestPeerStore("b");
    const { address } = await peers.serve(store, { tls: thiefOf("b") });
    const client = peers.connect([address]);
    await eventually(() => peers.events.some(({ type }) => type === "peer"));
    expect(client.state()).toBe("down");
    expect(client.shown()).toEqual([]);
    await expect(client.hello()).rejects.toThrow(/region key [0-9a-f]{64} is not in peer\.keys/);
    await eventually(() => refusals(peers).some(({ address: of }) => of === address));
    expect(store.pushed).toEqual([]);
  });

  test("is no use to somebody between two regions: a proof is bound to its TLS session", async () => {
    await using peers = new TestPeers(authority);
    const { server } = await peers.serve(new TestPeerStore("b"));
    const b = authority.node("b");
    // Has both certificates, and passes every byte on.
    const between = createServer({
      ...{ ca: b.ca, cert: b.certificate, key: b.key, requestCert: true, ALPNProtocols: ["h2"] },
    });
    between.on("secureConnection", (left) => {
      const right = bare(server.address.port);
      left.on("error", () => undefined);
      left.pipe(right).pipe(left);
    });
    between.listen(0, "127.0.0.1");
    await once(between, "listening");
    const { port } = between.address() as { port: number };
    const client = peers.connect([`127.0.0.1:${port}`]);
    await eventually(() => refusals(peers).some(({ address }) => address === "127.0.0.1"));
    expect(refusals(peers)[0]?.reason).toContain("does not hold the region key");
    expect(client.state()).toBe("down");
    between.close();
  });
});

describe("the region key is replaced without a failed call", () => {
  test("the other region names both, then this one uses the new one, then the old one goes", async () => {
    await using peers = new TestPeers(authority);
    const [a, b] = [authority.node("a"), authority.node("b")];
    const fresh = makeRegionKey();
    const half = publicHalf(readRegionKey(fresh));
    const { server, address } = await peers.serve(new TestPeerStore("b"));
    const client = await peers.connected([address]);
    const steps: readonly [PeerTls, PeerTls][] = [
      [{ ...b, peerKeys: [...b.peerKeys, half] }, a],
      [
        { ...b, peerKeys: [...b.peerKeys, half] },
        { ...a, regionKey: fresh },
      ],
      [
        { ...b, peerKeys: [half] },
        { ...a, regionKey: fresh },
      ],
    ];
    for (const [ofServer, ofClient] of steps) {
      server.setTls(ofServer);
      client.setTls(ofClient);
      for (let call = 0; call < 20; call += 1) {
        expect((await client.hello()).region).toBe("b");
        await setTimeout(10);
      }
      // The connection that was replaced is closed once its calls are answered.
      await eventually(() => server.connections("a") === 1);
    }
    expect(refusals(peers)).toEqual([]);
  });

  test("a connection that was proven by a key that is no longer named ends", async () => {
    await using peers = new TestPeers(authority);
    const { server, address } = await peers.serve(new TestPeerStore("b"));
    const client = await peers.connected([address]);
    const other = publicHalf(readRegionKey(makeRegionKey()));
    server.setTls({ ...authority.node("b"), peerKeys: [other] });
    await eventually(() => server.connections("a") === 0 && client.state() === "down");
    expect(refusals(peers)[0]?.reason).toBe(
      "its region key is no longer in peer.keys (node a1): CN=node of a",
    );
  });
});

test("bytes that follow a proof at once reach HTTP/2", async () => {
  await using peers = new TestPeers(authority);
  const { server } = await peers.serve(new TestPeerStore("b"));
  const socket = await provenSocket(server.address.port, authority.node("a"));
  await eventually(() => server.connections("a") === 1);
  expect(socket.destroyed).toBe(false);
  socket.destroy();
});

test("two ends of the same role prove nothing to each other", async () => {
  const b = authority.node("b");
  const listener = createServer({ cert: b.certificate, key: b.key, ca: b.ca, requestCert: true });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address() as { port: number };
  const [accepted] = [once(listener, "secureConnection")];
  const socket = bare(port);
  const [other] = (await accepted) as [TLSSocket];
  const sides = { role: "client", own: "a", other: "b" } as const;
  const found = await Promise.all([
    proveLink(socket, {
      ...sides,
      certificate: socket.getPeerX509Certificate(),
      keys: keysOfRegion("a"),
    }),
    proveLink(other, {
      ...{ ...sides, own: "b", other: "a" },
      certificate: other.getPeerX509Certificate(),
      keys: keysOfRegion("b"),
    }),
  ]);
  expect(found.map((each) => "fault" in each)).toEqual([true, true]);
  socket.destroy();
  other.destroy();
  listener.close();
});
