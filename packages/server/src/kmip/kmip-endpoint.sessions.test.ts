import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { readIdentity } from "../base/tls.ts";
import {
  ask,
  connectTls,
  makePki,
  message,
  startEndpoint,
  tlsSettings,
} from "../testing/endpoint.ts";

const pki = await makePki();

async function openssl(given: readonly string[]): Promise<string> {
  const run = promisify(execFile)("openssl", given);
  run.child.stdin?.end();
  const { stdout } = await run.catch((error: { stdout: string }) => error);
  return stdout;
}

async function begun(port: number, version: "TLSv1.2" | "TLSv1.3") {
  const socket = await connectTls(pki, port, pki.issued, only(version));
  let session: Buffer | undefined;
  socket.on("session", (newer) => {
    session = newer;
  });
  await ask(socket, message());
  const ticket = socket.getTLSTicket();
  session ??= socket.getSession();
  socket.destroy();
  return { session, ticket };
}
const only = (version: "TLSv1.2" | "TLSv1.3") => ({ minVersion: version, maxVersion: version });

test("sessions of TLS 1.3, begun at one node, are resumed at another of the region, with a key exchange of their own", async () => {
  const ticketSecret = Buffer.alloc(48, 1);
  await using one = await startEndpoint(pki, { ticketSecret });
  // Node derives the default session context from the arguments, which differ in another process.
  process.argv.push("--another-process");
  await using other = await startEndpoint(pki, { ticketSecret });
  process.argv.pop();
  const { session } = await begun(one.port, "TLSv1.3");
  const second = await connectTls(pki, other.port, pki.issued, { ...only("TLSv1.3"), session });
  expect(await ask(second, message())).toEqual(message());
  expect(second.isSessionReused()).toBe(true);
  expect(second.getEphemeralKeyInfo()).toMatchObject({
    name: expect.stringMatching(/X25519|P-256/),
  });
});

test("sessions of TLS 1.2 have no ticket and are not resumed, also after a reload", async () => {
  await using running = await startEndpoint(pki);
  running.endpoint.setIdentity(readIdentity(tlsSettings(pki, "again", pki.server)));
  const { session, ticket } = await begun(running.port, "TLSv1.2");
  expect(ticket).toBeUndefined();
  const second = await connectTls(pki, running.port, pki.issued, { ...only("TLSv1.2"), session });
  expect(await ask(second, message())).toEqual(message());
  expect(second.isSessionReused()).toBe(false);
  const { port } = running;
  const text = (version: string) =>
    openssl(["s_client", version, "-connect", `127.0.0.1:${port}`, "-servername", "localhost"]);
  expect(await text("-tls1_2")).toMatch(/Protocol\s*: TLSv1.2/);
  expect(await text("-tls1_2")).not.toMatch(/session ticket/i);
});
