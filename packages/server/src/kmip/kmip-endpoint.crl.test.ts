import { X509Certificate } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { makeCrl } from "@holdfast/testing/crl";
import type { Issued } from "@holdfast/testing/pki";
import { expect, test } from "vitest";
import { RevocationLists } from "../access/crl/revocation-lists.ts";
import { Trust } from "../access/trust.ts";
import {
  ask,
  connectTls,
  makePki,
  message,
  startEndpoint,
  testInstances,
  until,
  untilClosed,
} from "../testing/endpoint.ts";

const pki = await makePki();
const authority = join(pki.folder, "client-ca.pem");
const list = join(pki.folder, "client-ca.crl");
writeFileSync(authority, pki.clientAuthority.certificate);
const other = await pki.clientAuthority.issue({
  commonName: "other",
  notBeforeMs: Date.now() - 3_600_000,
  days: 1,
});

function write(number: number, ...revoked: readonly Issued[]): void {
  const serials = revoked.map(({ certificate }) => new X509Certificate(certificate).serialNumber);
  writeFileSync(list, makeCrl(pki.clientAuthority, { serials, number }));
}

/** An endpoint whose trust follows the list. */
async function start(required: boolean) {
  const lists = new RevocationLists(
    [{ authority, files: [list], urls: [], required, everySeconds: 3600 }],
    {
      wallMs: Date.now,
      monotonicMs: () => performance.now(),
      random: () => 0,
      observe: () => undefined,
    },
  );
  const running = await startEndpoint(pki, { trust: new Trust(testInstances(pki), lists) });
  lists.onChange(() => running.endpoint.trustChanged());
  return { running, lists };
}

async function sessionOf(port: number, client: Issued, session?: Buffer) {
  const socket = await connectTls(pki, port, client, session && { session });
  let last: Buffer | undefined;
  socket.on("session", (made) => {
    last = made;
  });
  const answered = await ask(socket, message()).then(
    () => true,
    () => false,
  );
  const resumed = socket.isSessionReused();
  socket.destroy();
  return { session: last, answered, resumed };
}

test("a certificate that its authority revokes loses its open connections and its sessions, and no other does", async () => {
  write(1);
  const { running, lists } = await start(false);
  await using _ = running;
  using _lists = lists;
  await lists.reload();
  const { port } = running;
  const open = await connectTls(pki, port, pki.issued);
  const bystander = await connectTls(pki, port, other);
  for (const socket of [open, bystander]) await ask(socket, message());
  const { session } = await sessionOf(port, pki.issued);
  expect(await sessionOf(port, pki.issued, session)).toMatchObject({
    answered: true,
    resumed: true,
  });
  // Only the file changes: nothing else tells the endpoint.
  write(2, pki.issued);
  await untilClosed(open);
  expect(await sessionOf(port, pki.issued)).toMatchObject({ answered: false });
  expect(await sessionOf(port, pki.issued, session)).toMatchObject({ answered: false });
  expect(await ask(bystander, message())).toEqual(message());
  expect(await sessionOf(port, other)).toMatchObject({ answered: true });
  expect(running.endpoint.refused.list).toMatchObject([
    { reason: "revoked", subject: "CN=client" },
  ]);
  expect(running.events).toContainEqual(
    expect.objectContaining({ type: "connectionEnded", ending: "trustEnded" }),
  );
  bystander.destroy();
});

test("while a required list is missing, its authority's clients are refused, and others are not", async () => {
  writeFileSync(list, "");
  const { running, lists } = await start(true);
  await using _ = running;
  using _lists = lists;
  await lists.reload();
  const { port } = running;
  expect(await sessionOf(port, pki.issued)).toMatchObject({ answered: false });
  expect(await sessionOf(port, pki.pinned)).toMatchObject({ answered: true });
  expect(running.endpoint.refused.list).toMatchObject([{ reason: "revocationUnknown" }]);
  write(1, other);
  await until(() => lists.list().every(({ inTime }) => inTime));
  expect(await sessionOf(port, pki.issued)).toMatchObject({ answered: true });
  expect(await sessionOf(port, other)).toMatchObject({ answered: false });
});
