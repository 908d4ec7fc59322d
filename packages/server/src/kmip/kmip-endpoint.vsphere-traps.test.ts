import "reflect-metadata";
import { getFips, webcrypto, X509Certificate } from "node:crypto";
import { connect, createServer } from "node:net";
import { type Issued, selfSigned } from "@holdfast/testing/pki";
import {
  AuthorityInfoAccessExtension,
  CRLDistributionPointsExtension,
  X509CertificateGenerator,
} from "@peculiar/x509";
import { describe, expect, test } from "vitest";
import { loadInstances } from "../access/instances.ts";
import { Trust } from "../access/trust.ts";
import { purposes } from "../base/certificates.ts";
import { readIdentity } from "../base/tls.ts";
import {
  ask,
  connectPlain,
  connectTls,
  issueServer,
  makePki,
  message,
  startEndpoint,
  startRelay,
  tlsSettings,
  until,
  untilClosed,
} from "../testing/endpoint.ts";

/*
 * The known mistakes of KMIP servers with vSphere that concern the endpoint. The engine's tests have those of messages
 * and objects, and `test/cluster/region-load.test.ts` has those that need a whole region (26, 29).
 */

const pki = await makePki();

const since = () => ({ notBeforeMs: Date.now() - 1000, days: 1 });

/** An endpoint that admits one pinned certificate. */
function endpointFor(certificate: string) {
  const entry = { id: undefined, name: "a", authorities: [], users: [] };
  return startEndpoint(pki, {
    trust: new Trust(loadInstances([{ ...entry, certificates: [certificate] }])),
  });
}

test("trap 13: bare TLS connections without a request are cheap and no failure", async () => {
  await using running = await startEndpoint(pki);
  const bare = Array.from({ length: 20 }, async () => {
    const socket = await connectTls(pki, running.port, pki.pinned);
    socket.end();
    await untilClosed(socket);
  });
  await Promise.all(bare);
  await until(() => running.endpoint.connectionCount === 0);
  expect(running.endpoint.handshakeCount).toBe(0);
  const handshakes = running.events.filter(({ type }) => type === "handshake");
  expect(handshakes).toHaveLength(20);
  for (const event of handshakes) expect(event).toMatchObject({ outcome: "accepted" });
  const types = new Set(running.events.map(({ type }) => type));
  expect(types).toEqual(new Set(["listener", "handshake", "connectionEnded"]));
});

test("trap 14: handshakes that fail in a burst, while trust is set up, ban nobody", async () => {
  await using running = await startEndpoint(pki);
  const failed = Array.from({ length: 20 }, async () => {
    const plain = await connectPlain(running.port);
    plain.end("hello");
    await untilClosed(plain);
    const unknown = await connectTls(pki, running.port, pki.stranger);
    await untilClosed(unknown);
  });
  await Promise.all(failed);
  await until(() => running.endpoint.connectionCount === 0);
  await until(() => running.endpoint.handshakeCount === 0);
  const types = new Set(running.events.map(({ type }) => type));
  expect(types).toEqual(new Set(["listener", "handshake", "handshakeFailed"]));
  // From the same address, and at once.
  const socket = await connectTls(pki, running.port, pki.pinned);
  expect(await ask(socket, message())).toEqual(message());
});

test("trap 15: one certificate may be used from many addresses at the same time", async () => {
  await using running = await startEndpoint(pki);
  const hosts = ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.3"];
  const sockets = await Promise.all(
    hosts.map((localAddress) => {
      const socket = connect({ host: "127.0.0.1", port: running.port, localAddress });
      return connectTls(pki, running.port, pki.pinned, { socket });
    }),
  );
  expect(sockets.map(({ localAddress }) => localAddress)).toEqual(hosts);
  for (const [mark, socket] of sockets.entries()) {
    expect(await ask(socket, message(64, mark))).toEqual(message(64, mark));
  }
  expect(running.endpoint.connectionCount).toBe(hosts.length);
});

describe("trap 17: a client's certificate need not say that it is for clients", () => {
  test.each([
    ["pinned, without a purpose", undefined],
    ["pinned, for servers only", [purposes.serverAuth]],
    ["pinned, for servers and clients", [purposes.serverAuth, purposes.clientAuth]],
  ])("a certificate %s, is accepted", async (_name, named) => {
    const given = { commonName: "kmipClient", ...since() };
    const client = await selfSigned(named === undefined ? given : { ...given, purposes: named });
    await using running = await endpointFor(client.certificate);
    const socket = await connectTls(pki, running.port, client);
    expect(await ask(socket, message())).toEqual(message());
  });

  test.each([
    ["issued, without a purpose", undefined],
    ["issued, for servers and clients", [purposes.serverAuth, purposes.clientAuth]],
  ])("a certificate %s, is accepted", async (_name, named) => {
    const given = { commonName: "kmipClient", ...since() };
    const request = named === undefined ? given : { ...given, purposes: named };
    await using running = await startEndpoint(pki);
    const socket = await connectTls(pki, running.port, await pki.clientAuthority.issue(request));
    expect(await ask(socket, message())).toEqual(message());
  });
});

describe("trap 18: there is a common suite", () => {
  const offered = [
    ["TLSv1.3", "TLS_AES_256_GCM_SHA384", "default"],
    ["TLSv1.3", "TLS_AES_128_GCM_SHA256", "default"],
    ["TLSv1.2", "ECDHE-RSA-AES256-GCM-SHA384", "default"],
    ["TLSv1.2", "ECDHE-RSA-AES128-GCM-SHA256", "default"],
    ["TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384", "default"],
    // What an old vCenter offers.
    ["TLSv1.2", "AES128-SHA256", "kmip-basic"],
  ] as const;
  const chacha = ["TLSv1.2", "ECDHE-ECDSA-CHACHA20-POLY1305", "default"] as const;

  async function connectsWith(
    version: "TLSv1.2" | "TLSv1.3",
    ciphers: string,
    suites: "default" | "kmip-basic",
  ): Promise<void> {
    const rsa = await issueServer(pki.serverAuthority, "RSA-2048");
    const identity = readIdentity(tlsSettings(pki, "both", pki.server, rsa));
    await using running = await startEndpoint(pki, { identity, suites });
    const only = { minVersion: version, maxVersion: version, ciphers };
    const socket = await connectTls(pki, running.port, pki.pinned, only);
    expect(socket.getCipher().name).toBe(ciphers);
    expect(await ask(socket, message())).toEqual(message());
  }

  test.each(offered)("%s, %s (%s)", connectsWith);
  test.skipIf(getFips() === 1)(
    `${chacha.join(", ")} (needs ChaCha20, which FIPS mode refuses)`,
    () => connectsWith(...chacha),
  );
});

test("trap 19: the server's certificate has its address and its name, and the whole chain is sent", async () => {
  const { certificate, key } = pki.server;
  const chained = { certificate: certificate + pki.serverAuthority.certificate, key };
  const identity = readIdentity(tlsSettings(pki, "chain", chained));
  await using running = await startEndpoint(pki, { identity });
  await using relay = await startRelay(running.port);
  for (const named of [{}, { servername: "localhost" }]) {
    // In TLS 1.2 the certificates are in clear.
    const options = { maxVersion: "TLSv1.2", ...named } as const;
    const socket = await connectTls(pki, relay.port, pki.pinned, options);
    expect(await ask(socket, message())).toEqual(message());
    socket.destroy();
  }
  const sent = Buffer.concat(relay.fromServer);
  for (const pem of [certificate, pki.serverAuthority.certificate]) {
    expect(sent.includes(new X509Certificate(pem).raw)).toBe(true);
  }
});

test("trap 20: no handshake waits for a responder that a certificate names", async () => {
  let asked = 0;
  const silent = createServer(() => asked++);
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  const address = silent.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const client = await naming(`http://127.0.0.1:${port}/`);
  await using running = await endpointFor(client.certificate);
  const socket = await connectTls(pki, running.port, client);
  expect(await ask(socket, message())).toEqual(message());
  expect(asked).toBe(0);
  silent.close();
});

/** A self-signed client certificate that names where to ask for its revocation. */
async function naming(url: string): Promise<Issued> {
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    keys,
    name: "CN=kmipClient",
    signingAlgorithm: algorithm,
    extensions: [
      new AuthorityInfoAccessExtension({ ocsp: url }),
      new CRLDistributionPointsExtension([url]),
    ],
  });
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey));
  const key = `-----BEGIN PRIVATE KEY-----\n${pkcs8.toString("base64")}\n-----END PRIVATE KEY-----\n`;
  return { certificate: certificate.toString("pem"), key };
}
