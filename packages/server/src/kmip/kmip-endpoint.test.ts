import type { Client } from "@holdfast/engine";
import "reflect-metadata";
import { getFips, webcrypto, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { createAuthority, selfSigned } from "@holdfast/testing/pki";
import { X509CertificateGenerator } from "@peculiar/x509";
import { describe, expect, test } from "vitest";
import { loadInstances } from "../access/instances.ts";
import { hashPassword } from "../access/passwords.ts";
import { Trust } from "../access/trust.ts";
import { fingerprintOf, purposes } from "../base/certificates.ts";
import { OperatorError } from "../base/operator-error.ts";
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
  type TestPki,
  tlsSettings,
  until,
  untilClosed,
} from "../testing/endpoint.ts";

const pki = await makePki();

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe.each(["TLSv1.2", "TLSv1.3"] as const)("which clients are accepted (%s)", (version) => {
  const options = { minVersion: version, maxVersion: version };

  test("pinned and issued certificates give access to their instances", async () => {
    const clients: Client[] = [];
    await using running = await startEndpoint(pki, {
      execute: async (request, client) => {
        clients.push(client);
        return request;
      },
    });
    for (const certificate of [pki.pinned, pki.issued]) {
      const socket = await connectTls(pki, running.port, certificate, options);
      expect(await ask(socket, message())).toEqual(message());
      socket.destroy();
    }
    const [pinned, issued] = clients;
    expect(pinned?.instance).not.toBe(issued?.instance);
    expect(pinned?.fingerprint).toMatch(/^[0-9a-f]{64}$/);
    expect(pinned?.verifyPassword).toBeUndefined();
    const { lastConnections } = running.endpoint;
    const authority = new X509Certificate(pki.clientAuthority.certificate);
    for (const by of [pinned?.fingerprint ?? "", fingerprintOf(authority)]) {
      expect(lastConnections.of(by)).toBeGreaterThan(Date.now() - 3_600_000);
    }
    // The client of an authority counts for the authority, which is what an administrator added.
    expect(lastConnections.of(issued?.fingerprint ?? "")).toBeUndefined();
  });

  test.each<[string, (pki: TestPki) => Promise<TestPki["issued"] | undefined>, string]>([
    ["without a certificate", async () => undefined, "noCertificate"],
    ["with an unknown certificate", async ({ stranger }) => stranger, "unknownCertificate"],
    [
      "with a certificate from another authority of the same name",
      async () => {
        const since = { notBeforeMs: Date.now() - 1000, days: 1 };
        const forger = await createAuthority({ commonName: "Client CA", ...since });
        return forger.issue({ commonName: "client", ...since });
      },
      "unknownCertificate",
    ],
    [
      "with a certificate for servers only",
      async ({ clientAuthority }) =>
        clientAuthority.issue({
          commonName: "x",
          notBeforeMs: Date.now() - 1000,
          days: 1,
          purposes: [purposes.serverAuth],
        }),
      "wrongPurpose",
    ],
    [
      "with an expired certificate",
      async ({ clientAuthority }) =>
        clientAuthority.issue({
          commonName: "x",
          notBeforeMs: Date.now() - 3 * 86_400_000,
          days: 1,
        }),
      "expired",
    ],
    [
      "with a certificate that is valid from tomorrow",
      async ({ clientAuthority }) =>
        clientAuthority.issue({ commonName: "x", notBeforeMs: Date.now() + 86_400_000, days: 1 }),
      "notYetValid",
    ],
  ])("a client %s is refused and its connection is closed cleanly", async (_name, make, reason) => {
    await using running = await startEndpoint(pki);
    const socket = await connectTls(pki, running.port, await make(pki), options);
    let broken: Error | undefined;
    socket.once("error", (error) => {
      broken = error;
    });
    socket.write(message());
    socket.resume();
    await once(socket, "end");
    expect(broken).toBeUndefined();
    expect(running.endpoint.refused.list.at(-1)).toMatchObject({ reason });
    expect(running.endpoint.connectionCount).toBe(0);
  });
});

describe("suites", () => {
  test("default has no RSA key exchange, even with an RSA certificate; kmip-basic has it", async () => {
    const rsa = await issueServer(pki.serverAuthority, "RSA-2048");
    const tls = tlsSettings(pki, "rsa", pki.server, rsa);
    const identity = readIdentity(tls);
    const old = { maxVersion: "TLSv1.2", ciphers: "AES128-SHA256" } as const;
    await using strict = await startEndpoint(pki, { identity });
    await expect(connectTls(pki, strict.port, pki.pinned, old)).rejects.toThrow(/handshake/);
    await using basic = await startEndpoint(pki, { identity, suites: "kmip-basic" });
    for (const ciphers of ["AES128-SHA256", "AES256-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"]) {
      const socket = await connectTls(pki, basic.port, pki.pinned, { ...old, ciphers });
      expect(socket.getCipher().name).toBe(ciphers);
      expect(await ask(socket, message())).toEqual(message());
      socket.destroy();
    }
  });

  const short = "a key that OpenSSL finds too short is refused with the file's name";
  test.skipIf(getFips() === 1)(
    `${short} (needs to make one, which FIPS mode refuses)`,
    async () => {
      const algorithm = {
        name: "RSASSA-PKCS1-v1_5",
        hash: "SHA-256",
        modulusLength: 1024,
        publicExponent: new Uint8Array([1, 0, 1]),
      };
      const { subtle } = webcrypto;
      const keys = await subtle.generateKey(algorithm, true, ["sign", "verify"]);
      const weak = await X509CertificateGenerator.createSelfSigned({ keys, name: "CN=weak" });
      const pkcs8 = Buffer.from(await subtle.exportKey("pkcs8", keys.privateKey));
      const key = `-----BEGIN PRIVATE KEY-----\n${pkcs8.toString("base64")}\n-----END PRIVATE KEY-----\n`;
      const settings = tlsSettings(pki, "short", { certificate: weak.toString("pem"), key });
      expect(() => readIdentity(settings)).toThrow(OperatorError);
      expect(() => readIdentity(settings)).toThrow(`tls.certificate: ${settings.certificate[0]}: `);
    },
  );

  test("kmip-basic without an RSA certificate is refused at start", () => {
    const tls = { ...tlsSettings(pki, "ec", pki.server), suites: "kmip-basic" as const };
    expect(() => readIdentity(tls)).toThrow("tls.suites: kmip-basic needs an RSA certificate");
  });
});

describe("requests", () => {
  test("pipelined ones are answered one after another in their order, even if split at any byte", async () => {
    let running = 0;
    let together = 0;
    await using server = await startEndpoint(pki, {
      execute: async (request) => {
        together = Math.max(together, ++running);
        await wait(request[20] === 0 ? 20 : 0);
        running--;
        return request;
      },
    });
    const socket = await connectTls(pki, server.port, pki.pinned);
    const sent = Array.from({ length: 40 }, (_, at) => message(64, at));
    const answers = receive(socket, 40);
    const bytes = Buffer.concat(sent);
    for (let at = 0; at < bytes.length; at += 37) socket.write(bytes.subarray(at, at + 37));
    expect((await answers).map((answer) => answer[20])).toEqual(sent.map((one) => one[20]));
    expect(together).toBe(1);
  });

  test("more requests than the pipeline holds pause reading, and none is lost", async () => {
    await using server = await startEndpoint(pki, { limits: { pipelineMax: 2 } });
    const socket = await connectTls(pki, server.port, pki.pinned);
    const answers = receive(socket, 2000);
    for (let at = 0; at < 2000; at++) socket.write(message(1024, at % 251));
    const got = await answers;
    expect(got.map((answer) => answer[20])).toEqual(got.map((_, at) => at % 251));
  });

  test("while requests wait, the node does not read the client's bytes", async () => {
    let release: (() => void) | undefined;
    let waits: Promise<void> | undefined = new Promise((resolve) => {
      release = resolve;
    });
    await using server = await startEndpoint(pki, {
      execute: async () => {
        await waits;
        return message();
      },
    });
    const socket = await connectTls(pki, server.port, pki.pinned);
    const count = 4000;
    const answers = receive(socket, count);
    for (let at = 0; at < count; at++) socket.write(message(8192));
    await wait(500);
    expect(socket.writableLength).toBeGreaterThan(0);
    waits = undefined;
    release?.();
    expect(await answers).toHaveLength(count);
  });

  test("responses are delivered after the client has closed its side", async () => {
    await using server = await startEndpoint(pki, {
      execute: async (request) => {
        await wait(50);
        return request;
      },
    });
    const socket = await connectTls(pki, server.port, pki.pinned, {});
    const answers = receive(socket, 2);
    socket.write(message(64, 1));
    socket.end(message(64, 2));
    expect((await answers).map((answer) => answer[20])).toEqual([1, 2]);
    await untilClosed(socket);
  });

  test("requests before unframeable bytes are answered, then the connection closes", async () => {
    await using server = await startEndpoint(pki);
    const socket = await connectTls(pki, server.port, pki.pinned);
    const answers = receive(socket, 1);
    socket.write(Buffer.concat([message(64, 5), Buffer.from("GET / HTTP/1.1\r\n\r\n")]));
    expect((await answers)[0]).toEqual(message(64, 5));
    await untilClosed(socket);
    expect(await endingOf(server)).toMatchObject({ ending: "unframeable" });
  });

  test("unframeable bytes are answered once, after the requests before them", async () => {
    const refused: string[] = [];
    await using server = await startEndpoint(pki, {
      refuse: ({ message: why }, beginning) => {
        refused.push(`${Buffer.from(beginning)}: ${why}`);
        return message(64, 6);
      },
    });
    const socket = await connectTls(pki, server.port, pki.pinned);
    const answers = receive(socket, 2);
    const http = "GET / HTTP/1.1\r\n\r\n";
    socket.write(Buffer.concat([message(64, 5), Buffer.from(http)]));
    for (let more = 0; more < 100; more++) socket.write(http);
    expect(await answers).toEqual([message(64, 5), message(64, 6)]);
    await untilClosed(socket);
    expect(refused).toHaveLength(1);
    expect(refused[0]).toMatch(/^GET \/ HTTP.*: not the header of a KMIP message/s);
  });

  test("an executor that rejects closes the connection, and the client gets no response", async () => {
    await using server = await startEndpoint(pki, {
      execute: async () => {
        throw new Error("secret: hunter2");
      },
    });
    const socket = await connectTls(pki, server.port, pki.pinned);
    const bytes: Buffer[] = [];
    socket.on("data", (chunk: Buffer) => bytes.push(chunk));
    socket.write(message());
    await untilClosed(socket);
    expect(bytes).toEqual([]);
    expect(server.events.find(({ type }) => type === "requestFailed")).toMatchObject({
      requestId: "request-1",
    });
  });

  test("a client that reads no responses is cut off, and its memory is freed", async () => {
    const big = message(1 << 20);
    await using server = await startEndpoint(pki, {
      limits: { requestDeadlineMs: 300 },
      execute: async () => big,
    });
    const socket = await connectTls(pki, server.port, pki.pinned);
    socket.pause();
    for (let at = 0; at < 64; at++) socket.write(message());
    await until(() => server.endpoint.heldBytes > 0);
    expect(await endingOf(server)).toMatchObject({ ending: "answerDeadline" });
    expect(server.endpoint.heldBytes).toBe(0);
    socket.destroy();
  });
});

describe("limits", () => {
  test("at its instance's bound the longest idle connection is closed, and the others continue", async () => {
    await using server = await startEndpoint(pki, { limits: { connectionsMax: 4 } });
    const one = await connectTls(pki, server.port, pki.pinned);
    const two = await connectTls(pki, server.port, pki.pinned);
    await ask(two, message());
    await ask(one, message());
    const three = await connectTls(pki, server.port, pki.pinned);
    expect(await ask(three, message())).toEqual(message());
    await untilClosed(two);
    expect(await endingOf(server)).toMatchObject({ ending: "displaced" });
    expect(await ask(one, message())).toEqual(message());
    expect(server.endpoint.connectionCount).toBe(2);
  });

  test("an idle connection is closed cleanly, a used one stays", async () => {
    let laterMs = 0;
    const monotonicMs = () => systemClock.monotonicMs() + laterMs;
    await using server = await startEndpoint(pki, { clock: { ...systemClock, monotonicMs } });
    const idle = await connectTls(pki, server.port, pki.pinned);
    const used = await connectTls(pki, server.port, pki.pinned);
    laterMs = 400_000;
    await ask(used, message());
    laterMs = 700_000;
    await untilClosed(idle);
    await ask(used, message());
    expect(await endingOf(server)).toMatchObject({ ending: "idle" });
  });
});

describe("users", () => {
  test("an instance with users gives the engine a password check, remembered per connection", async () => {
    const users = [{ name: "vc", passwordHash: await hashPassword("right") }];
    const [instance] = loadInstances([
      { id: undefined, name: "a", certificates: [pki.pinned.certificate], authorities: [], users },
    ]);
    const seen: (boolean | undefined)[] = [];
    await using server = await startEndpoint(pki, {
      trust: new Trust(instance === undefined ? [] : [instance]),
      execute: async (request, client) => {
        seen.push(await client.verifyPassword?.("vc", request[20] === 1 ? "right" : "wrong"));
        return request;
      },
    });
    const socket = await connectTls(pki, server.port, pki.pinned);
    for (const mark of [1, 2, 1]) await ask(socket, message(64, mark));
    expect(seen).toEqual([true, false, true]);
  });
});

describe("the listener", () => {
  test("refuses new connections while it is shut, keeps open ones, and opens again on the same port", async () => {
    await using server = await startEndpoint(pki);
    const socket = await connectTls(pki, server.port, pki.pinned);
    for (let round = 0; round < 2; round++) {
      await server.endpoint.shut();
      await expect(connectPlain(server.port)).rejects.toThrow("ECONNREFUSED");
      expect(await ask(socket, message())).toEqual(message());
      await server.endpoint.open();
      const again = await connectTls(pki, server.port, pki.pinned);
      expect(await ask(again, message())).toEqual(message());
      again.destroy();
    }
    expect(server.events.filter(({ type }) => type === "listener")).toHaveLength(5);
  });

  test("reports an address in use with the setting, the address and how to fix it", async () => {
    await using server = await startEndpoint(pki);
    const listen = { host: "127.0.0.1", port: server.port };
    const second = startEndpoint(pki, { limits: { listen } });
    await expect(second).rejects.toThrow(OperatorError);
    await expect(second).rejects.toThrow(
      `kmip.listen: 127.0.0.1:${server.port} is in use; stop what listens there or choose another port`,
    );
  });

  test("answers begun requests while it drains, closes idle connections, and cuts off what does not end", async () => {
    const release: (() => void)[] = [];
    await using server = await startEndpoint(pki, {
      execute: async (request) => {
        await new Promise<void>((resolve) => release.push(resolve));
        return request;
      },
    });
    const idle = await connectTls(pki, server.port, pki.pinned);
    const busy = await connectTls(pki, server.port, pki.pinned);
    const sending = await connectTls(pki, server.port, pki.pinned);
    const stuck = await connectTls(pki, server.port, pki.pinned);
    const answered = receive(busy);
    const completed = receive(sending);
    busy.write(message(64, 1));
    sending.write(message(64, 2).subarray(0, 30));
    stuck.write(message(64, 3).subarray(0, 30));
    await until(() => release.length === 1);
    await wait(50);
    const drained = server.endpoint.drain(400);
    await untilClosed(idle);
    expect(busy.closed).toBe(false);
    release[0]?.();
    expect((await answered)[0]).toEqual(message(64, 1));
    sending.write(message(64, 2).subarray(30));
    await until(() => release.length === 2);
    release[1]?.();
    expect((await completed)[0]).toEqual(message(64, 2));
    await drained;
    await untilClosed(stuck);
    expect(server.endpoint.connectionCount).toBe(0);
  });

  test("closes a connection whose handshake ends during the drain, after one request at most", async () => {
    const release: (() => void)[] = [];
    await using server = await startEndpoint(pki, {
      execute: async (request) => {
        if (request[request.length - 1] === 1)
          await new Promise<void>((resolve) => release.push(resolve));
        return request;
      },
    });
    const busy = await connectTls(pki, server.port, pki.pinned);
    const answered = receive(busy);
    busy.write(message(64, 1));
    await until(() => release.length === 1);
    const begun = [await connectPlain(server.port), await connectPlain(server.port)];
    await until(() => server.endpoint.handshakeCount === 2);
    const drained = server.endpoint.drain(600_000);
    await until(() => !server.endpoint.listening);
    const [silent, asking] = await Promise.all(
      begun.map((socket) => connectTls(pki, server.port, pki.pinned, { socket })),
    );
    if (silent === undefined || asking === undefined) throw new Error("no connection");
    expect(await ask(asking, message(64, 2))).toEqual(message(64, 2));
    await Promise.all([untilClosed(silent), untilClosed(asking)]);
    release[0]?.();
    expect((await answered)[0]).toEqual(message(64, 1));
    await drained;
  });
});

test("refused clients are listed, each once with its number of attempts", async () => {
  await using server = await startEndpoint(pki);
  const other = await selfSigned({ commonName: "last", notBeforeMs: Date.now() - 1000, days: 1 });
  for (const client of [pki.stranger, other, pki.stranger, undefined]) {
    await untilClosed(await connectTls(pki, server.port, client));
  }
  expect(server.endpoint.refused.list).toMatchObject([
    { subject: "CN=last", times: 1, reason: "unknownCertificate" },
    { subject: "CN=stranger", times: 2, reason: "unknownCertificate" },
    { subject: "", reason: "noCertificate" },
  ]);
});
