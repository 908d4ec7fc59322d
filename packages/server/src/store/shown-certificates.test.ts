import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, createServer as createPlainServer, type Server } from "node:net";
import { createServer } from "node:tls";
import { type Authority, createAuthority } from "@holdfast/testing/pki";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { ShownCertificates } from "./shown-certificates.ts";

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const notBeforeMs = Math.floor(Date.now() / 1000) * 1000 - 30 * dayMs;

let authority: Authority;
beforeAll(async () => {
  authority = await createAuthority({ commonName: "Redis CA", notBeforeMs, days: 100 });
});

function issue(commonName: string, days: number) {
  return authority.issue({ commonName, hosts: ["127.0.0.1"], notBeforeMs, days });
}

async function listening(server: Server): Promise<string> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A TLS server, what a node's connection saw of it at time 0, and the time. */
async function shownBy(days: number) {
  const { certificate: cert, key } = await issue("old", days);
  const server = createServer({ cert, key });
  const address = await listening(server);
  const time = { ms: 0 };
  const shown = new ShownCertificates({ ca: authority.certificate }, () => time.ms);
  shown.note({ kind: "redis", address, certificate: new X509Certificate(cert) });
  const subjects = () => shown.list().map(({ certificate }) => certificate.subject);
  return { server, address, time, shown, subjects };
}

test("a renewed certificate counts once the server shows it, and nobody asks soon after a connection", async () => {
  const { server, time, shown, subjects } = await shownBy(60);
  const { certificate: cert, key } = await issue("new", 60);
  time.ms = hourMs;
  await shown.ask(hourMs);
  expect(subjects()).toEqual(["CN=old"]);
  server.setSecureContext({ cert, key });
  time.ms += hourMs - 1;
  await shown.ask(hourMs);
  expect(subjects()).toEqual(["CN=old"]);
  time.ms += 1;
  await shown.ask(hourMs);
  expect(subjects()).toEqual(["CN=new"]);
});

test("a certificate that has ended is read too", async () => {
  const { server, time, shown, subjects } = await shownBy(60);
  const { certificate: cert, key } = await issue("ended", 10);
  server.setSecureContext({ cert, key });
  time.ms = hourMs;
  await shown.ask(hourMs);
  expect(subjects()).toEqual(["CN=ended"]);
});

test("a server that is gone, or shows no certificate, is forgotten after a day", async () => {
  const { server, time, shown, subjects } = await shownBy(60);
  server.close();
  await once(server, "close");
  const plain = createPlainServer((socket) => socket.end("-ERR no TLS\r\n"));
  const [one] = shown.list();
  if (one !== undefined) shown.note({ ...one, address: await listening(plain) });
  time.ms = dayMs - 1;
  await shown.ask(hourMs);
  expect(subjects()).toEqual(["CN=old", "CN=old"]);
  time.ms = dayMs;
  await shown.ask(hourMs);
  expect(shown.list()).toEqual([]);
});

test("a store that is its own lock master is one server", async () => {
  const { shown, address } = await shownBy(60);
  for (const one of shown.list()) shown.note({ ...one, kind: "lockMaster" });
  expect(shown.list()).toMatchObject([{ kind: "redis", address }]);
});
