import { readFileSync, writeFileSync } from "node:fs";
import type { Issued } from "@holdfast/testing/pki";
import { beforeAll, describe, expect, test } from "vitest";
import { fingerprintOf } from "../base/certificates.ts";
import { certificatesOf } from "../management/certificates/metric-certificates.ts";
import type { NodeEvent } from "../observe/events.ts";
import {
  ask,
  connectTls,
  issueServer,
  makePki,
  message,
  startEndpoint,
  type TestPki,
  tlsSettings,
} from "../testing/endpoint.ts";
import { CertificateFiles, kmipCertificates } from "./certificate-files.ts";

let pki: TestPki;
let newer: Issued;
beforeAll(async () => {
  pki = await makePki();
  newer = await issueServer(pki.serverAuthority, "RSA-2048");
});

function openFiles(name: string) {
  const tls = tlsSettings(pki, name, pki.server);
  const events: NodeEvent[] = [];
  const files = new CertificateFiles(
    kmipCertificates(tls),
    (event) => events.push(event),
    3_600_000,
  );
  const write = (part: Partial<Issued>) => {
    if (part.certificate !== undefined)
      writeFileSync(tls.certificate[0] as string, part.certificate);
    if (part.key !== undefined) writeFileSync(tls.key[0] as string, part.key);
  };
  return { files, events, write, tls };
}

const look = async (files: { poll(): Promise<void> }) => {
  await files.poll();
  await files.poll();
};

describe("the server's certificate files", () => {
  test("a changed pair is served without restart, and open connections stay", async () => {
    const { files, events, write } = openFiles("changed");
    await look(files);
    await using running = await startEndpoint(pki, { identity: files.identity });
    files.onChange((identity) => running.endpoint.setIdentity(identity));
    const old = await connectTls(pki, running.port, pki.pinned);
    write(newer);
    await files.poll();
    expect(events).toEqual([]);
    await files.poll();
    expect(events).toEqual([
      {
        type: "certificate",
        purpose: "kmip",
        loaded: true,
        detail: expect.stringContaining("CN=node until 20"),
      },
    ]);
    const socket = await connectTls(pki, running.port, pki.pinned);
    expect(socket.getPeerX509Certificate()?.toString()).toBe(newer.certificate);
    expect(await ask(old, message())).toEqual(message());
    expect(await ask(socket, message())).toEqual(message());
    files.close();
  });

  test("a second pair, for another kind of key, is watched too", async () => {
    const [first, second] = [
      tlsSettings(pki, "first", pki.server),
      tlsSettings(pki, "second", newer),
    ];
    const tls = {
      ...first,
      certificate: [...first.certificate, ...second.certificate],
      key: [...first.key, ...second.key],
    };
    const files = new CertificateFiles(kmipCertificates(tls), () => undefined, 3_600_000);
    await look(files);
    const newest = await issueServer(pki.serverAuthority, "RSA-2048");
    writeFileSync(second.certificate[0] as string, newest.certificate);
    writeFileSync(second.key[0] as string, newest.key);
    await look(files);
    expect(files.identity.leaves.map(String)).toEqual([pki.server.certificate, newest.certificate]);
    const told = certificatesOf(files.identity, [], undefined).map(
      ({ fingerprint }) => fingerprint,
    );
    expect(told).toEqual(files.identity.leaves.map(fingerprintOf));
    files.close();
  });

  test("a change before the first poll is seen too", async () => {
    const { files, events, write } = openFiles("early");
    write(newer);
    await look(files);
    expect(events).toMatchObject([{ loaded: true }]);
    expect(files.identity.leaves[0]?.toString()).toBe(newer.certificate);
    files.close();
  });

  test("files that `reload` has read are not read again by the polls", async () => {
    const { files, events, write } = openFiles("asked");
    write(newer);
    expect(files.reload()).toBe(true);
    await look(files);
    expect(events).toHaveLength(1);
    write(pki.server);
    await look(files);
    expect(events).toHaveLength(2);
    files.close();
  });

  test("a pair that does not match is refused, reported once, and accepted when the second file is written", async () => {
    const { files, events, write, tls } = openFiles("half");
    await look(files);
    write({ certificate: newer.certificate });
    await look(files);
    await look(files);
    expect(events).toEqual([
      {
        type: "certificate",
        purpose: "kmip",
        loaded: false,
        detail: `tls.key: ${tls.key[0]} is not the key of tls.certificate ${tls.certificate[0]}; the certificate in use is kept`,
      },
    ]);
    expect(files.identity.leaves[0]?.toString()).toBe(pki.server.certificate);
    write({ key: newer.key });
    await look(files);
    expect(events[1]).toMatchObject({ loaded: true });
    expect(files.identity.leaves[0]?.toString()).toBe(newer.certificate);
    files.close();
  });

  test.each([
    ["garbage", "hello"],
    ["nothing", ""],
    ["a key", "KEY"],
  ])("%s in place of the certificate is refused without any of its content", (name, text) => {
    const { files, events, write } = openFiles(name.replace(" ", ""));
    write({ certificate: text === "KEY" ? pki.server.key : text });
    expect(files.reload()).toBe(false);
    expect(JSON.stringify(events)).toContain("holds no PEM certificate");
    expect(JSON.stringify(events)).not.toContain(pki.server.key.slice(40, 80));
    files.close();
  });

  test("unchanged files are not read again", async () => {
    const { files, events, tls } = openFiles("same");
    await look(files);
    await look(files);
    expect(events).toEqual([]);
    expect(readFileSync(tls.key[0] as string, "utf8")).toBe(pki.server.key);
    files.close();
  });
});
