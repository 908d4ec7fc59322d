import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type CrlRequest, makeCrl } from "@holdfast/testing/crl";
import { type Authority, createAuthority, type Issued, selfSigned } from "@holdfast/testing/pki";
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { loadInstances } from "../instances.ts";
import { Trust } from "../trust.ts";
import { crlBytesMax } from "./read-crl.ts";
import { type CrlSettings, RevocationLists } from "./revocation-lists.ts";

const hourMs = 3_600_000;
const startMs = Math.floor(Date.now() / 1000) * 1000;
const valid = { notBeforeMs: startMs - 24 * hourMs, days: 3 };

let folder: string;
let one: Authority;
/** The same name, and another key. */
let other: Authority;
let lost: Issued;
let kept: Issued;
let wallMs = startMs;
let events: string[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-crls-"));
  one = await createAuthority({ commonName: "CA", ...valid });
  other = await createAuthority({ commonName: "CA", ...valid });
  [lost, kept] = (await Promise.all(
    ["lost", "kept"].map((commonName) => one.issue({ commonName, ...valid })),
  )) as [Issued, Issued];
  writeFileSync(join(folder, "ca.pem"), one.certificate);
});
beforeEach(() => {
  wallMs = startMs;
  events = [];
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const certificateOf = ({ certificate }: Issued) => new X509Certificate(certificate);
const serialOf = (issued: Issued) => certificateOf(issued).serialNumber;
const file = (name: string) => join(folder, name);
const times = (fromH: number, untilH: number) => ({
  thisUpdateMs: startMs + fromH * hourMs,
  nextUpdateMs: startMs + untilH * hourMs,
});
/** A list of the first authority; it revokes `lost` unless the request says otherwise. */
const listOf = (request: CrlRequest) =>
  makeCrl(one, { serials: [serialOf(lost)], ...times(-1, 1), ...request });

/** The part of a list with this number, which is also its CRL number. */
const partOf = (number: number): CrlRequest => ({
  ...{ number, ...times(number - 2, number) },
  extensions: ["issuingDistributionPoint = critical, @part"],
  sections: ["[part]", `fullname = URI:http://127.0.0.1/part${number}.crl`],
});

function open(settings: Partial<CrlSettings>, random = 0): RevocationLists {
  const common = { authority: file("ca.pem"), files: [], urls: [], required: false };
  const lists = new RevocationLists([{ ...common, everySeconds: 3600, ...settings }], {
    wallMs: () => wallMs,
    // Both clocks move together.
    monotonicMs: () => wallMs,
    random: () => random,
    observe: ({ loaded, detail }) => events.push(`${loaded ? "good" : "bad"}: ${detail}`),
  });
  onTestFinished(() => lists[Symbol.dispose]());
  return lists;
}

function verdict(lists: RevocationLists, issued: Issued): string | undefined {
  const all = lists.of(certificateOf(issued)).map(({ by, serial }) => by.verdict(serial));
  return all.find((one) => one !== undefined);
}
const stateOf = (lists: RevocationLists) =>
  lists.list().map(({ inTime, fault }) => ({ inTime, fault }));

/** A web server on loopback; `ask` counts the requests. */
async function serve(answer: RequestListener): Promise<{ url: string; asked: () => number }> {
  let asked = 0;
  const server: Server = createServer((request, response) => {
    asked += 1;
    answer(request, response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/ca.crl`, asked: () => asked };
}

describe("a list in a file", () => {
  test("takes back what the authority issued, until it is replaced; a change is noticed", async () => {
    writeFileSync(file("1.crl"), listOf({ number: 1 }));
    const lists = open({ files: [file("1.crl")] });
    const changes: string[] = [];
    lists.onChange(() => changes.push("changed"));
    await lists.reload();
    expect([verdict(lists, lost), verdict(lists, kept)]).toEqual(["revoked", undefined]);
    expect(changes).toEqual(["changed"]);
    expect(events).toEqual([expect.stringMatching(/^good: list 1 with 1 revoked certificates/)]);
    writeFileSync(file("1.crl"), listOf({ number: 2, serials: [serialOf(kept)] }));
    await lists.look();
    // A file that is being written is not read yet.
    expect(verdict(lists, lost)).toBe("revoked");
    await lists.look();
    expect([verdict(lists, lost), verdict(lists, kept)]).toEqual([undefined, "revoked"]);
    expect(changes).toHaveLength(2);
    await lists.look();
    expect(events).toHaveLength(2);
  });

  test("is about this key of the authority only", async () => {
    writeFileSync(file("2.crl"), listOf({ number: 1 }));
    const lists = open({ files: [file("2.crl")] });
    await lists.reload();
    const twin = await other.issue({ commonName: "lost", ...valid });
    expect(lists.of(certificateOf(lost))).toHaveLength(1);
    expect(lists.of(certificateOf(twin))).toEqual([]);
    const own = await selfSigned({ commonName: "CA", ...valid });
    expect(lists.of(certificateOf(own))).toEqual([]);
  });

  test.each<[string, CrlRequest, CrlRequest, RegExp]>([
    [
      "with a lower number",
      { number: 16 },
      { number: 15 },
      /older \(CRL number 15\) than the last one \(16\)/,
    ],
    [
      "of an earlier time with the same number",
      { number: 1 },
      { number: 1, ...times(-2, 2) },
      /it is older \(of /,
    ],
    ["of an earlier time without numbers", {}, times(-2, 2), /it is older \(of /],
    ["of another part", partOf(1), partOf(2), /not the part of the list that the last one was/],
    ["of a part", { number: 1 }, partOf(2), /issuing distribution point/],
    ["of the whole", partOf(1), { number: 2, ...times(0, 2) }, /issuing distribution point/],
    ["that lost its number", { number: 1 }, times(0, 2), /has no CRL number/],
  ])("is not replaced by one %s", async (_, first, second, fault) => {
    writeFileSync(file("3.crl"), listOf(first));
    const lists = open({ files: [file("3.crl")] });
    await lists.reload();
    writeFileSync(file("3.crl"), listOf({ ...second, serials: [] }));
    await lists.reload();
    expect(stateOf(lists)).toEqual([{ inTime: true, fault: expect.stringMatching(fault) }]);
    expect(verdict(lists, lost)).toBe("revoked");
    expect(events.at(-1)).toMatch(/^bad: .*; the last list counts \(until /);
  });

  test("that cannot be read is reported, and the last one counts on; it is tried again", async () => {
    writeFileSync(file("4.crl"), listOf({ number: 1 }));
    const lists = open({ files: [file("4.crl")] });
    await lists.reload();
    renameSync(file("4.crl"), file("4.away"));
    await lists.look();
    await lists.look();
    expect(stateOf(lists)).toEqual([{ inTime: true, fault: "no such file" }]);
    expect(verdict(lists, lost)).toBe("revoked");
    renameSync(file("4.away"), file("4.crl"));
    await lists.look();
    await lists.look();
    expect(stateOf(lists)).toEqual([{ inTime: true, fault: "" }]);
    // A file from the future becomes good without a change.
    writeFileSync(file("4.crl"), listOf({ number: 2, serials: [], ...times(1, 3) }));
    await lists.reload();
    expect(stateOf(lists)[0]?.fault).toMatch(/from the future/);
    wallMs += hourMs;
    await lists.look();
    expect(stateOf(lists)).toEqual([{ inTime: true, fault: "" }]);
  });

  test.each([
    ["missing", "none.crl", "no such file"],
    ["a folder", "", "it is not a file"],
    ["too large", "large.crl", `it is larger than ${crlBytesMax} bytes`],
  ])("%s is refused", async (_, name, fault) => {
    writeFileSync(file("large.crl"), Buffer.alloc(crlBytesMax + 1));
    const lists = open({ files: [file(name)] });
    await lists.reload();
    expect(stateOf(lists)).toEqual([{ inTime: false, fault }]);
    expect(events).toEqual([`bad: ${fault}; no list counts`]);
    expect(verdict(lists, lost)).toBeUndefined();
  });
});

describe("a list that has ended", () => {
  test("counts on, and is reported once", async () => {
    writeFileSync(file("5.crl"), listOf({ number: 1 }));
    const lists = open({ files: [file("5.crl")] });
    await lists.reload();
    wallMs += hourMs + 1;
    for (let round = 0; round < 3; round++) await lists.look();
    expect(stateOf(lists)).toEqual([{ inTime: false, fault: "" }]);
    expect([verdict(lists, lost), verdict(lists, kept)]).toEqual(["revoked", undefined]);
    expect(events.slice(1)).toEqual([
      expect.stringMatching(/^bad: it has ended, .*it still counts$/),
    ]);
  });

  test("shuts out all certificates of its authority if it is required, until a newer one is there", async () => {
    const lists = open({ files: [file("6.crl")], required: true });
    const changes: string[] = [];
    lists.onChange(() => changes.push("changed"));
    await lists.reload();
    expect([lost, kept].map((issued) => verdict(lists, issued))).toEqual([
      "revocationUnknown",
      "revocationUnknown",
    ]);
    writeFileSync(file("6.crl"), listOf({ number: 1 }));
    await lists.reload();
    expect([lost, kept].map((issued) => verdict(lists, issued))).toEqual(["revoked", undefined]);
    changes.length = 0;
    wallMs += hourMs + 1;
    await lists.look();
    expect(changes).toEqual(["changed"]);
    expect([lost, kept].map((issued) => verdict(lists, issued))).toEqual([
      "revoked",
      "revocationUnknown",
    ]);
    expect(events.at(-1)).toMatch(/its authority's clients are refused$/);
    writeFileSync(file("6.crl"), listOf({ number: 2, ...times(1, 3) }));
    await lists.reload();
    expect(verdict(lists, kept)).toBeUndefined();
  });

  test("and is one of several that are required shuts out all, too", async () => {
    writeFileSync(file("7.crl"), listOf({ number: 1 }));
    writeFileSync(file("8.crl"), listOf({ number: 1, serials: [serialOf(kept)], ...times(-1, 5) }));
    const lists = open({ files: [file("7.crl"), file("8.crl")], required: true });
    await lists.reload();
    expect([lost, kept].map((issued) => verdict(lists, issued))).toEqual(["revoked", "revoked"]);
    const third = await one.issue({ commonName: "third", ...valid });
    expect(verdict(lists, third)).toBeUndefined();
    wallMs += 2 * hourMs;
    expect(verdict(lists, third)).toBe("revocationUnknown");
  });
});

describe("a distribution point", () => {
  test("is asked again at half of its list's time, at most as often as is set, and soon after a failure", async () => {
    let list = listOf({ number: 1, ...times(-1, 1) });
    let status = 200;
    const { url, asked } = await serve((_, response) => response.writeHead(status).end(list));
    const lists = open({ urls: [url], everySeconds: 3600 });
    await lists.look();
    expect(verdict(lists, lost)).toBe("revoked");
    wallMs += hourMs / 2 - 1;
    await lists.look();
    expect(asked()).toBe(1);
    wallMs += 1;
    status = 500;
    await lists.look();
    expect(stateOf(lists)).toEqual([
      { inTime: true, fault: "the server answered with status 500" },
    ]);
    wallMs += 59_999;
    await lists.look();
    expect(asked()).toBe(2);
    wallMs += 1;
    status = 200;
    list = listOf({ number: 2, serials: [], ...times(0, 40) });
    await lists.look();
    expect(verdict(lists, lost)).toBeUndefined();
    wallMs += hourMs - 1;
    await lists.look();
    expect(asked()).toBe(3);
    wallMs += 1;
    await lists.look();
    expect(asked()).toBe(4);
  });

  test("is asked at different times by different nodes", async () => {
    const list = listOf({ number: 1, ...times(-1, 40) });
    const { url, asked } = await serve((_, response) => response.end(list));
    const lists = open({ urls: [url] }, 1);
    await lists.look();
    wallMs += 0.9 * hourMs;
    await lists.look();
    expect(asked()).toBe(2);
  });

  test("that does not answer delays no other list", async () => {
    writeFileSync(file("9.crl"), listOf({ number: 1 }));
    const { url, asked } = await serve(() => undefined);
    const lists = open({ urls: [url], files: [file("9.crl")] });
    void lists.look();
    await lists.look();
    await expect.poll(() => verdict(lists, lost)).toBe("revoked");
    expect(asked()).toBe(1);
  });

  test.each<[string, RequestListener, RegExp]>([
    [
      "a redirect, which may lead to another host",
      (_, response) => response.writeHead(302, { location: "http://127.0.0.1:1/x" }).end(),
      /status 302, and redirects are not followed/,
    ],
    ["no list", (_, response) => response.end("<html>"), /neither DER nor PEM/],
    [
      "more than is read",
      (_, response) => {
        response.on("error", () => undefined);
        for (let at = 0; at < 21; at++) response.write(Buffer.alloc(1024 * 1024));
        response.end();
      },
      /the answer is larger than 20971520 bytes/,
    ],
    [
      "half an answer",
      (_, response) => void response.writeHead(200).write("x", () => response.destroy()),
      /aborted/,
    ],
  ])("that answers %s is refused", async (_, answer, fault) => {
    const { url } = await serve(answer);
    const lists = open({ urls: [url] });
    await lists.look();
    expect(stateOf(lists)).toEqual([{ inTime: false, fault: expect.stringMatching(fault) }]);
  });

  test("that nobody serves is refused, with the system's reason", async () => {
    const lists = open({ urls: ["http://127.0.0.1:1/ca.crl"] });
    await lists.look();
    expect(stateOf(lists)[0]?.fault).toMatch(/ECONNREFUSED/);
  });
});

test.each<[string, () => string, RegExp]>([
  ["no file", () => file("none.pem"), /crls\[0\]\.authority: .*none\.pem: no such file/],
  [
    "a client's certificate",
    () => lost.certificate,
    /^crls\[0\]\.authority: must hold one certificate, that of/,
  ],
  ["two", () => one.certificate + other.certificate, /must hold one certificate/],
])("an authority that is %s ends the start", (_, authority, fault) => {
  expect(() => open({ authority: authority(), files: ["x"] })).toThrow(fault);
});

test("trust refuses what a list takes back, however it was admitted", async () => {
  writeFileSync(file("t.crl"), listOf({ number: 1, serials: [] }));
  const lists = open({ files: [file("t.crl")] });
  const entry = { id: undefined, users: [] };
  const instances = loadInstances([
    { ...entry, name: "a", certificates: [lost.certificate], authorities: [one.certificate] },
  ]);
  const trust = new Trust(instances, lists);
  await lists.reload();
  const [byItself, byAuthority] = [lost, kept].map((issued) => {
    const admission = trust.check(certificateOf(issued), startMs);
    if (typeof admission === "string") throw new Error(admission);
    return admission;
  });
  if (byAuthority === undefined || byItself === undefined) throw new Error("not admitted");
  expect([byAuthority, byItself].map((one) => trust.isCurrent(one))).toEqual([true, true]);
  writeFileSync(file("t.crl"), listOf({ number: 2, serials: [lost, kept].map(serialOf) }));
  await lists.reload();
  expect([byAuthority, byItself].map((one) => trust.isCurrent(one))).toEqual([false, false]);
  for (const issued of [lost, kept]) {
    expect(trust.check(certificateOf(issued), startMs)).toBe("revoked");
  }
  // A stranger's certificate is not looked up.
  const stranger = await other.issue({ commonName: "x", ...valid });
  expect(trust.check(certificateOf(stranger), startMs)).toBe("unknownCertificate");
});
