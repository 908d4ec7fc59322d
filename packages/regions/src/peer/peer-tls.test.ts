import { X509Certificate } from "node:crypto";
import { connect as connectTcp } from "node:net";
import { setTimeout } from "node:timers/promises";
import { type ConnectionOptions, connect as connectTls } from "node:tls";
import { selfSigned } from "@holdfast/testing/pki";
import { describe, expect, test } from "vitest";
import { provenSocket } from "../testing/peer/test-grpc.ts";
import {
  eventually,
  TestPeerStore,
  TestPeers,
  testId,
  testObject,
} from "../testing/peer/test-peer.ts";
import { testAuthority, testNames } from "../testing/peer/test-pki.ts";
import { fingerprintOf, issuedBy, type PeerTls, readPeerTls, regionOf } from "./peer-tls.ts";
import type { ServerLimits } from "./server-limits.ts";

const authority = await testAuthority("peers");
const other = await testAuthority("clients");

function refusals(peers: TestPeers): readonly string[] {
  return peers.events.flatMap((event) => (event.type === "peerRefused" ? [event.reason] : []));
}

async function server(limits: Partial<ServerLimits> = {}) {
  const peers = new TestPeers(authority);
  const { server: opened, address } = await peers.serve(new TestPeerStore("b"), { limits });
  const port = Number(address.split(":")[1]);
  return {
    peers,
    server: opened,
    port,
    address,
    [Symbol.asyncDispose]: () => peers[Symbol.asyncDispose](),
  };
}

/** Connects, and waits until the other side ends it. */
async function refused(port: number, options: ConnectionOptions): Promise<void> {
  const socket = connectTls({
    host: "127.0.0.1",
    port,
    rejectUnauthorized: false,
    ALPNProtocols: ["h2"],
    ...options,
  });
  await new Promise<void>((resolve) => {
    socket.on("error", () => undefined);
    socket.on("close", () => resolve());
  });
}

const as = (tls: PeerTls) => ({ cert: tls.certificate, key: tls.key });

const strangers: readonly [string, ConnectionOptions, RegExp][] = [
  ["no certificate", {}, /^no certificate$/],
  ["another authority", as(other.node("a")), /not of the peers' authority .*: CN=node of a$/],
  [
    "a KMIP client",
    as(await other.issue("vcenter", [])),
    /not of the peers' authority .*: CN=vcenter$/,
  ],
  [
    "another name",
    as(await authority.issue("x", ["c.peer.holdfast"])),
    /does not name a\.peer\.holdfast: CN=x$/,
  ],
  [
    "a wildcard",
    as(await authority.issue("x", ["*.peer.holdfast"])),
    /does not name a\.peer\.holdfast/,
  ],
  [
    "the name as common name only",
    as(await authority.issue("a.peer.holdfast", [])),
    /does not name/,
  ],
  ["this region itself", as(authority.node("b")), /does not name a\.peer\.holdfast/],
  [
    "an expired certificate",
    as(await authority.issue("x", testNames("a"), { endsMs: Date.now() - 1_000 })),
    /CERT_HAS_EXPIRED/,
  ],
  [
    "no node's name",
    as(await authority.issue("x", ["a.peer.holdfast"])),
    /does not name one node, as NODE\.a\.peer\.holdfast: CN=x$/,
  ],
  [
    "the names of two nodes",
    as(await authority.issue("x", [...testNames("a"), "a2.a.peer.holdfast"])),
    /does not name one node/,
  ],
  [
    "the name of another region's node",
    as(await authority.issue("x", ["a.peer.holdfast", "b1.b.peer.holdfast"])),
    /does not name one node/,
  ],
  ["TLS 1.2", { ...as(authority.node("a")), maxVersion: "TLSv1.2" }, /the TLS handshake failed/],
  ["no HTTP/2", { ...as(authority.node("a")), ALPNProtocols: [] }, /does not speak HTTP\/2/],
  [
    "TLS 1.1",
    {
      ...as(authority.node("a")),
      minVersion: "TLSv1",
      maxVersion: "TLSv1.1",
      ciphers: "ALL@SECLEVEL=0",
    },
    /the TLS handshake failed/,
  ],
];

describe("the peer port", () => {
  test.each(strangers)("refuses a connection, and says why: %s", async (_, options, reason) => {
    await using all = await server();
    await refused(all.port, options);
    await eventually(() => refusals(all.peers).length > 0);
    expect(refusals(all.peers)).toEqual([expect.stringMatching(reason)]);
    expect(all.peers.events).toEqual([expect.objectContaining({ address: "127.0.0.1" })]);
    expect(all.server.connections("a")).toBe(0);
  });

  test("never resumes a session", async () => {
    await using all = await server();
    const tls = authority.node("a");
    const first = await provenSocket(all.port, tls);
    let session: Buffer | undefined;
    first.on("session", (given) => {
      session = given;
    });
    await eventually(() => all.server.connections("a") === 1);
    session ??= first.getSession();
    first.destroy();
    const second = await provenSocket(all.port, tls, session && { session });
    expect(second.isSessionReused()).toBe(false);
    second.destroy();
  });

  test.each([
    [
      "plaintext",
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
      600_000,
      /the TLS handshake failed/,
      "stranger",
    ],
    ["garbage", "\0".repeat(100_000), 600_000, /the TLS handshake failed/, "stranger"],
    ["half a record", "\x16\x03\x01", 200, /^the TLS handshake took too long$/, "unfinished"],
    ["nothing", "", 200, /^the TLS handshake took too long$/, "unfinished"],
  ])("refuses a connection that sends %s", async (_, text, handshakeMs, reason, kind) => {
    await using all = await server({ handshakeMs });
    const socket = connectTcp(all.port, "127.0.0.1", () => socket.write(text));
    socket.on("error", () => undefined);
    socket.on("data", () => undefined);
    await eventually(() => socket.closed && refusals(all.peers).length > 0);
    expect(all.peers.events).toEqual([
      { type: "peerRefused", address: "127.0.0.1", reason: expect.stringMatching(reason), kind },
    ]);
  });

  test("accepts a peer during a flood of silent connections", async () => {
    await using all = await server({ handshakeMs: 600_000 });
    const sockets = Array.from({ length: 300 }, () => {
      const socket = connectTcp(all.port, "127.0.0.1");
      socket.on("error", () => undefined);
      return socket;
    });
    await eventually(() => refusals(all.peers).length > 200);
    const client = await all.peers.connected([all.address]);
    expect((await client.hello()).region).toBe("b");
    for (const socket of sockets) socket.destroy();
    expect(new Set(refusals(all.peers))).toEqual(new Set(["too many unfinished handshakes"]));
  });

  test("limits the connections of a region", async () => {
    await using peers = new TestPeers(authority);
    const { server: opened } = await peers.serve(new TestPeerStore("b"), {
      limits: { connections: 2 },
    });
    const { port } = opened.address;
    const proven = () => provenSocket(port, authority.node("a"));
    const sockets = await Promise.all([proven(), proven()]);
    await eventually(() => opened.connections("a") === 2);
    await refused(port, as(authority.node("a")));
    await eventually(() => refusals(peers).length === 1);
    expect(refusals(peers)).toEqual(["too many connections of this region"]);
    for (const socket of sockets) socket.destroy();
  });
});

const impostors: readonly [string, PeerTls][] = [
  ["of another authority", other.node("b")],
  ["with another region's name", authority.node("c")],
  ["with a wildcard", await authority.issue("x", ["*.peer.holdfast"])],
];

describe("a client", () => {
  test.each(impostors)("does not talk to a server %s", async (_, tls) => {
    await using peers = new TestPeers(authority);
    const { address } = await peers.serve(new TestPeerStore("b"), {
      tls: { ...tls, ca: authority.ca },
    });
    const client = peers.connect([address]);
    await eventually(() => peers.events.some(({ type }) => type === "peer"));
    expect(client.state()).toBe("down");
    await expect(client.hello()).rejects.toThrow("region b cannot be asked");
  });

  test("does not accept a region that answers for another one", async () => {
    await using peers = new TestPeers(authority);
    const { address } = await peers.serve(new TestPeerStore("elsewhere"));
    const client = peers.connect([address]);
    await eventually(() => peers.events.some(({ type }) => type === "peer"));
    expect(client.state()).toBe("down");
    await expect(client.hello()).rejects.toThrow("answers as region elsewhere");
  });
});

describe("certificates that change", () => {
  test("an authority is replaced without a failed call: old, both, new", async () => {
    const [before, after] = [await testAuthority("old"), await testAuthority("new")];
    const both = before.ca + after.ca;
    await using peers = new TestPeers(before);
    const { server: opened, address } = await peers.serve(new TestPeerStore("b"), {
      tls: before.node("b"),
    });
    const client = await peers.connected([address], { tls: before.node("a") });
    const steps: readonly [PeerTls, PeerTls][] = [
      [before.node("b", both), before.node("a", both)],
      [after.node("b", both), after.node("a", both)],
      [after.node("b"), after.node("a")],
    ];
    for (const [ofServer, ofClient] of steps) {
      opened.setTls(ofServer);
      client.setTls(ofClient);
      // Two probes, so that nothing from before is left.
      for (let call = 0; call < 20; call += 1) {
        expect((await client.hello()).region).toBe("b");
        await setTimeout(20);
      }
    }
    expect(refusals(peers)).toEqual([]);
  });

  test("a call at the moment of a renewal is made on the new connection, and the peer stays up", async () => {
    await using all = await server();
    const client = await all.peers.connected([all.address]);
    const states: string[] = [];
    client.onState((state) => states.push(state));
    for (const turns of [0, 1, 2, 3]) {
      const asked = client.hello();
      for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
      client.setTls(authority.node("a"));
      // The new connection is under way still.
      client.setTls(authority.node("a"));
      expect((await asked).region).toBe("b");
    }
    expect(states).toEqual([]);
  });

  test("a peer whose authority is no longer trusted is cut off", async () => {
    const [before, after] = [await testAuthority("old"), await testAuthority("new")];
    await using peers = new TestPeers(before);
    const { server: opened, address } = await peers.serve(new TestPeerStore("b"), {
      tls: before.node("b"),
    });
    const client = await peers.connected([address], {
      tls: before.node("a", before.ca + after.ca),
    });
    opened.setTls(after.node("b"));
    await eventually(() => client.state() === "down");
    expect(refusals(peers)[0]).toBe("its authority is no longer trusted (node a1): CN=node of a");
    client.setTls(after.node("a"));
    await eventually(() => client.state() === "up");
  });

  test("bad files are refused in one line, and the old ones stay in use", async () => {
    await using all = await server();
    const client = await all.peers.connected([all.address]);
    const two = await authority.issue("node of b", testNames("b", "b2"));
    const one = authority.node("b");
    const wrong: readonly [PeerTls, string][] = [
      [{ ...one, key: two.key }, "the peer key is not the key of the peer certificate"],
      [{ ...one, certificate: "nothing" }, "the peer certificate holds no certificate in PEM"],
      [{ ...one, ca: one.ca.replace(/\n[A-Za-z0-9+/]{20}/, "\n") }, "the peer CA cannot be read"],
      [{ ...one, key: "nothing" }, "the peer key cannot be read"],
    ];
    for (const [tls, message] of wrong) {
      expect(() => all.server.setTls(tls)).toThrow(message);
      expect(() => client.setTls(tls)).toThrow(message);
    }
    expect((await client.hello()).region).toBe("b");
  });

  test("the earliest expiry counts", async () => {
    const endsMs = Math.floor(Date.now() / 1000) * 1000 + 86_400_000;
    const tls = await authority.issue("x", testNames("a"), { endsMs });
    expect(readPeerTls(tls).notAfterMs).toBe(endsMs);
  });
});

describe("a certificate that is denied", () => {
  test.each(["server", "client"] as const)(
    "ends the link at the %s that denies it, and until it is lifted",
    async (side) => {
      await using peers = new TestPeers(authority);
      const denied = new Set<string>();
      let times = 0;
      const isDenied = (fingerprint: string) => {
        const found = denied.has(fingerprint);
        if (found) times += 1;
        return found;
      };
      const { server: opened, address } = await peers.serve(
        new TestPeerStore("b"),
        side === "server" ? { isDenied } : {},
      );
      const client = await peers.connected([address], side === "client" ? { isDenied } : {});
      const recheck = () => (side === "server" ? opened : client).recheck();
      const fingerprint = (region: "a" | "b") =>
        fingerprintOf(readPeerTls(authority.node(region)).leaf);
      expect(client.shown()).toMatchObject([{ node: "b1", fingerprint: fingerprint("b") }]);
      expect(opened.nodes()).toMatchObject([
        { region: "a", node: "a1", fingerprint: fingerprint("a") },
      ]);
      // Another certificate: nothing happens.
      denied.add(fingerprint(side === "server" ? "b" : "a"));
      recheck();
      expect(client.state()).toBe("up");
      denied.add(fingerprint(side === "server" ? "a" : "b"));
      recheck();
      await eventually(() => client.state() === "down");
      // It was tried again, and refused each time.
      await eventually(() => times > 4);
      await expect(client.hello()).rejects.toThrow("region b cannot be asked");
      await eventually(() => opened.connections("a") === 0);
      if (side === "server") {
        await eventually(() => refusals(peers).length > 1);
        for (const reason of refusals(peers)) {
          expect(reason).toBe("its certificate is on the deny list (node a1): CN=node of a");
        }
      } else expect(client.shown()).toEqual([]);
      denied.clear();
      await eventually(() => client.state() === "up");
      expect((await client.hello()).region).toBe("b");
    },
  );
});

test.each(["first", "second"] as const)(
  "the %s of two certificates that a node showed ends both connections when it is denied",
  async (which) => {
    await using peers = new TestPeers(authority);
    const denied = new Set<string>();
    const { server: opened, address } = await peers.serve(new TestPeerStore("b"));
    const client = await peers.connected([address], {
      isDenied: (fingerprint) => denied.has(fingerprint),
    });
    const first = authority.node("b");
    const second = await authority.issue("new node of b", testNames("b", "b2"));
    opened.setTls(second);
    // The connection for large messages is made only now, and shows the new certificate.
    const large = testObject(testId(1), { bytes: 600_000 });
    expect(await client.push([large])).toEqual(["durable"]);
    expect(opened.connections("a")).toBe(2);
    const [gone, left] = which === "first" ? [first, second] : [second, first];
    opened.setTls(left);
    denied.add(fingerprintOf(readPeerTls(gone).leaf));
    client.recheck();
    expect(client.state()).toBe("down");
    await eventually(() => client.state() === "up");
    const { leaf } = readPeerTls(left);
    expect(client.shown()).toMatchObject([{ fingerprint: fingerprintOf(leaf) }]);
    await eventually(() => opened.connections("a") === 1);
  },
);

test("a certificate that names two regions speaks for neither", async () => {
  const tls = await authority.issue("x", ["a.peer.holdfast", "b.peer.holdfast"]);
  const { leaf } = readPeerTls(tls);
  expect(regionOf(leaf, ["a", "b"])).toBeUndefined();
  expect(regionOf(leaf, ["a", "c"])).toBe("a");
});

test("an authority of the same name and another key has not issued a certificate", async () => {
  const twin = await testAuthority("peers");
  const { leaf, authorities } = readPeerTls(authority.node("a"));
  expect(issuedBy(leaf, authorities)).toBe(true);
  expect(issuedBy(leaf, readPeerTls(twin.node("a")).authorities)).toBe(false);
  // This one names the authority, and no key of it: only the signature tells.
  const forged = await selfSigned({ commonName: "peers", notBeforeMs: Date.now(), days: 1 });
  const certificate = new X509Certificate(forged.certificate);
  expect(certificate.checkIssued(authorities[0] as X509Certificate)).toBe(true);
  expect(issuedBy(certificate, authorities)).toBe(false);
});
