import { describe, expect, test } from "vitest";
import { Trust } from "../access/trust.ts";
import { systemClock } from "../base/system.ts";
import { readIdentity } from "../base/tls.ts";
import {
  ask,
  connectPlain,
  connectTls,
  endingOf,
  issueServer,
  makePki,
  message,
  receive,
  startEndpoint,
  startRelay,
  type TestPki,
  testInstances,
  tlsSettings,
  until,
  untilClosed,
} from "../testing/endpoint.ts";

const pki = await makePki();

const versions = ["TLSv1.2", "TLSv1.3"] as const;
const only = (version: (typeof versions)[number]) => ({ minVersion: version, maxVersion: version });

/** Connects, sends one request and returns the session that a later connection can resume. */
async function sessionOf(port: number, client: TestPki["issued"], options: object) {
  const socket = await connectTls(pki, port, client, options);
  let session = socket.getSession();
  socket.on("session", (newer) => {
    session = newer;
  });
  await ask(socket, message());
  await until(() => session !== undefined);
  socket.end();
  await untilClosed(socket);
  return session as Buffer;
}

describe("trap 1: tls.Server leaves the socket open after tlsClientError", () => {
  test("a silent client and a dripped ClientHello are cut after the handshake time-out", async () => {
    await using running = await startEndpoint(pki, { limits: { handshakeTimeoutMs: 300 } });
    const silent = await connectPlain(running.port);
    const drip = await connectPlain(running.port);
    const timer = setInterval(() => drip.write(Buffer.of(0x16)), 50);
    await Promise.all([untilClosed(silent), untilClosed(drip)]);
    clearInterval(timer);
    expect(running.endpoint.handshakeCount).toBe(0);
  });

  test("a plain HTTP client is cut at once", async () => {
    await using running = await startEndpoint(pki);
    const socket = await connectPlain(running.port);
    socket.write("GET / HTTP/1.1\r\n\r\n");
    await untilClosed(socket);
  });
});

describe("trap 2: resumption skips trust", () => {
  test("a resumed session is checked again: its certificate has expired meanwhile", async () => {
    let laterMs = 0;
    const clock = { ...systemClock, wallMs: () => Date.now() + laterMs };
    await using running = await startEndpoint(pki, { clock });
    const session = await sessionOf(running.port, pki.issued, only("TLSv1.3"));
    const resumed = await connectTls(pki, running.port, pki.issued, {
      ...only("TLSv1.3"),
      session,
    });
    await ask(resumed, message());
    expect(resumed.isSessionReused()).toBe(true);
    laterMs = 30 * 86_400_000;
    const late = await connectTls(pki, running.port, pki.issued, { ...only("TLSv1.3"), session });
    await untilClosed(late);
    expect(running.events.filter(({ type }) => type === "handshake").at(-1)).toMatchObject({
      outcome: "expired",
      resumed: true,
    });
  });
});

describe.each(versions)("trap 2: resumption skips trust (%s)", (version) => {
  test("a ticket from a node that trusts more is not accepted: ticket keys are bound to the trust", async () => {
    const ticketSecret = Buffer.alloc(48, 7);
    await using more = await startEndpoint(pki, { ticketSecret });
    const session = await sessionOf(more.port, pki.issued, only(version));
    const trust = new Trust(testInstances(pki).filter(({ name }) => name === "pinned"));
    await using less = await startEndpoint(pki, { ticketSecret, trust });
    const socket = await connectTls(pki, less.port, pki.issued, { ...only(version), session });
    await untilClosed(socket);
    expect(less.events.find(({ type }) => type === "handshake")).toMatchObject({
      outcome: "unknownCertificate",
      resumed: false,
    });
  });

  test("removing trust ends tickets and open connections", async () => {
    await using running = await startEndpoint(pki);
    const session = await sessionOf(running.port, pki.issued, only(version));
    const open = await connectTls(pki, running.port, pki.issued, only(version));
    const stays = await connectTls(pki, running.port, pki.pinned, only(version));
    await ask(open, message());
    await ask(stays, message());
    running.endpoint.setTrust(
      new Trust(testInstances(pki).filter(({ name }) => name === "pinned")),
    );
    await untilClosed(open);
    const again = await connectTls(pki, running.port, pki.issued, { ...only(version), session });
    await untilClosed(again);
    expect(running.endpoint.refused.list.at(-1)).toMatchObject({ reason: "unknownCertificate" });
    expect(running.events.filter(({ type }) => type === "handshake").at(-1)).toMatchObject({
      resumed: false,
    });
    expect(await ask(stays, message(64, 3))).toEqual(message(64, 3));
  });
});

describe("trap 3: setSecureContext accepts a pair that does not match", () => {
  test("an RSA or EC certificate with another EC key is refused with both file names", async () => {
    const rsa = await issueServer(pki.serverAuthority, "RSA-2048");
    const otherEc = await issueServer(pki.serverAuthority);
    for (const certificate of [rsa.certificate, otherEc.certificate]) {
      const tls = tlsSettings(pki, "mixed", { certificate, key: pki.server.key });
      expect(() => readIdentity(tls)).toThrow(
        `tls.key: ${tls.key[0]} is not the key of tls.certificate ${tls.certificate[0]}`,
      );
    }
  });
});

describe("trap 4: setSecureContext forgets every option that is not repeated", () => {
  test("a reload keeps the versions, the suites and the need for a client certificate", async () => {
    const running = await startEndpoint(pki);
    await using _ = running;
    const newer = await issueServer(pki.serverAuthority);
    running.endpoint.setIdentity(readIdentity(tlsSettings(pki, "newer", newer)));
    const socket = await connectTls(pki, running.port, pki.pinned);
    expect(await ask(socket, message())).toEqual(message());
    expect(socket.getPeerX509Certificate()?.toString()).toBe(newer.certificate);
    await expect(
      connectTls(pki, running.port, pki.pinned, {
        minVersion: "TLSv1.1",
        maxVersion: "TLSv1.1",
        ciphers: "DEFAULT@SECLEVEL=0",
      }),
    ).rejects.toThrow(/protocol|version|alert/i);
    await expect(
      connectTls(pki, running.port, pki.pinned, {
        maxVersion: "TLSv1.2",
        ciphers: "ECDHE-ECDSA-AES128-SHA256",
      }),
    ).rejects.toThrow(/handshake failure/);
    const nobody = await connectTls(pki, running.port);
    await untilClosed(nobody);
    expect(running.endpoint.refused.list.at(-1)?.reason).toBe("noCertificate");
  });
});

describe("trap 5: a socket's time-out is reset by every byte", () => {
  test("a dripped request is cut off at its deadline, and each new request gets a new deadline", async () => {
    await using running = await startEndpoint(pki, { limits: { requestDeadlineMs: 400 } });
    const socket = await connectTls(pki, running.port, pki.pinned);
    for (let round = 0; round < 3; round++) {
      await new Promise((resolve) => setTimeout(resolve, 200));
      expect(await ask(socket, message())).toEqual(message());
    }
    const bytes = message(1024);
    let at = 0;
    const timer = setInterval(() => socket.write(bytes.subarray(at, ++at)), 50);
    await untilClosed(socket);
    clearInterval(timer);
    expect(await endingOf(running)).toMatchObject({ ending: "requestDeadline" });
  });
});

describe("trap 6: concatenating every chunk is quadratic", () => {
  test("a 16 MiB request is read in linear time", async () => {
    const bytesMax = (1 << 24) + 64;
    await using running = await startEndpoint(pki, {
      limits: { requestBytesMax: bytesMax, inFlightBytesMax: 1 << 26 },
      execute: async () => message(),
    });
    const socket = await connectTls(pki, running.port, pki.pinned);
    const request = message(1 << 24, 9);
    // CPU time of this process, which other work on the machine does not lengthen.
    const before = process.cpuUsage();
    socket.write(request);
    await receive(socket);
    const { user, system } = process.cpuUsage(before);
    expect((user + system) / 1000).toBeLessThan(2500);
  });

  test("a request over the limit is refused by its header, before its body", async () => {
    await using running = await startEndpoint(pki, { limits: { requestBytesMax: 1024 } });
    const socket = await connectTls(pki, running.port, pki.pinned);
    socket.write(message(4096).subarray(0, 8));
    await untilClosed(socket);
    expect(await endingOf(running)).toMatchObject({
      ending: "unframeable",
      detail: expect.stringContaining("more than the limit of 1024"),
    });
  });
});

describe("trap 7: with ALPN set, a client that offers something else is refused", () => {
  test.each([["h2"], ["kmip"], ["http/1.1"]])("a client offering %s is accepted", async (name) => {
    await using running = await startEndpoint(pki);
    const socket = await connectTls(pki, running.port, pki.pinned, { ALPNProtocols: [name] });
    expect(await ask(socket, message())).toEqual(message());
    expect(socket.alpnProtocol).toBe(false);
  });
});

describe("trap 8: TLS 1.2 renegotiation is on by default", () => {
  test("the first renegotiation is refused", async () => {
    await using running = await startEndpoint(pki);
    const socket = await connectTls(pki, running.port, pki.pinned, { maxVersion: "TLSv1.2" });
    await ask(socket, message());
    const outcome = new Promise<string>((resolve) => {
      socket.once("error", (error) => resolve(error.message));
      socket.once("close", () => resolve("closed"));
      socket.renegotiate({}, (error) => resolve(error === null ? "renegotiated" : error.message));
    });
    expect(await outcome).toMatch(/no renegotiation|closed/);
  });
});

describe("trap 9: getPeerX509Certificate takes the leaf away on the client's side", () => {
  test("the server's own checks can be repeated on an open connection", async () => {
    await using running = await startEndpoint(pki);
    const socket = await connectTls(pki, running.port, pki.pinned);
    await ask(socket, message());
    for (let round = 0; round < 3; round++) {
      running.endpoint.setTrust(new Trust(testInstances(pki)));
      expect(await ask(socket, message(64, round))).toEqual(message(64, round));
    }
  });
});

test("clients are sent no names of authorities", async () => {
  await using running = await startEndpoint(pki);
  await using relay = await startRelay(running.port);
  // In TLS 1.2 the CertificateRequest, which would carry them, is in clear.
  const socket = await connectTls(pki, relay.port, pki.issued, only("TLSv1.2"));
  await ask(socket, message());
  socket.destroy();
  const sent = Buffer.concat(relay.fromServer).toString("latin1");
  expect(sent).toContain("Server CA");
  expect(sent).not.toContain("Client CA");
});
