import { execFile } from "node:child_process";
import { getFips } from "node:crypto";
import { connect as connectTcp } from "node:net";
import { connect } from "node:tls";
import { expect, test } from "vitest";
import { readIdentity } from "../base/tls.ts";
import {
  issueServer,
  makePki,
  type RunningEndpoint,
  startEndpoint,
  tlsSettings,
  until,
  untilClosed,
} from "../testing/endpoint.ts";

const pki = await makePki();

async function come({ port }: RunningEndpoint, options: object): Promise<void> {
  const socket = connect({ host: "127.0.0.1", port, rejectUnauthorized: false, ...options });
  socket.on("error", () => undefined);
  await untilClosed(socket);
}

const old = { maxVersion: "TLSv1.2" };

async function isListed(reason: string, options: object): Promise<void> {
  await using running = await startEndpoint(pki);
  await come(running, options);
  await until(() => running.endpoint.refused.list.length > 0);
  expect(running.endpoint.refused.list).toMatchObject([{ reason, fingerprint: "", times: 1 }]);
  expect(running.endpoint.refused.list[0]?.remote).toMatch(/^127\.0\.0\.1 [1-9]/);
}

test.each([
  ["needsKmipBasic", { ...old, ciphers: "AES128-SHA256" }],
  ["needsRsaCertificate", { ...old, ciphers: "ECDHE-RSA-AES128-GCM-SHA256" }],
  ["needsRsaCertificate", { minVersion: "TLSv1.3", sigalgs: "RSA-PSS+SHA256" }],
  ["noCommonSuite", { ...old, ciphers: "ECDHE-ECDSA-AES128-SHA256" }],
  ["noCommonSuite", { minVersion: "TLSv1.3", ciphers: "TLS_AES_128_CCM_SHA256" }],
])("a client without a common suite is listed as refused: %s", isListed);

test.skipIf(getFips() === 1)(
  "a client without a common version is listed as refused (needs TLS 1.1, which FIPS mode refuses)",
  () => {
    const older = { minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "ALL@SECLEVEL=0" };
    return isListed("noCommonVersion", older);
  },
);

test("a client with an RSA suite is accepted once the advice is followed", async () => {
  const rsa = await issueServer(pki.serverAuthority, "RSA-2048");
  const tls = { ...tlsSettings(pki, "both", pki.server, rsa), suites: "kmip-basic" as const };
  await using running = await startEndpoint(pki, {
    identity: readIdentity(tls),
    suites: "kmip-basic",
  });
  for (const ciphers of ["AES128-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"]) {
    await come(running, { ...old, ciphers });
  }
  await until(() => running.events.filter(({ type }) => type === "handshake").length === 2);
  expect(running.endpoint.refused.list).toMatchObject([{ reason: "noCertificate", times: 2 }]);
});

test("a client that does not trust the server's certificate is listed as refused", async () => {
  await using running = await startEndpoint(pki);
  const options = ["-connect", `127.0.0.1:${running.port}`, "-verify_return_error"];
  await new Promise<void>((resolve) => {
    execFile("openssl", ["s_client", ...options], () => resolve()).stdin?.end();
  });
  await until(() => running.endpoint.refused.list.length > 0);
  expect(running.endpoint.refused.list).toMatchObject([{ reason: "serverNotTrusted" }]);
});

test("port scans are not listed as refused clients", async () => {
  await using running = await startEndpoint(pki);
  const failures = () => running.events.filter(({ type }) => type === "handshakeFailed").length;
  const { port } = running;
  for (const bytes of ["GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x00\x05hello", ""]) {
    const socket = connectTcp({ host: "127.0.0.1", port });
    socket.on("error", () => undefined);
    socket.end(bytes);
    await untilClosed(socket);
  }
  await until(() => failures() === 3);
  expect(running.endpoint.refused.list).toEqual([]);
});
