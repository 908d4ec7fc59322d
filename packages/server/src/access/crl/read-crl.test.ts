import { execFileSync } from "node:child_process";
import { generateKeyPairSync, sign, X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type CrlRequest, makeCrl } from "@holdfast/testing/crl";
import { type Authority, createAuthority } from "@holdfast/testing/pki";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { turnsDuring } from "../../testing/turns-during.ts";
import { elementAt, elementsIn, encoded } from "./der.ts";
import { crlBytesMax, readCrl, serialOf } from "./read-crl.ts";

const seed = 5280;
const hourMs = 3_600_000;
const nowMs = Date.now();
const valid = { notBeforeMs: nowMs - 24 * hourMs, days: 3 };

const folder = mkdtempSync(join(tmpdir(), "holdfast-read-crl-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let one: Authority;
let rsa: Authority;

beforeAll(async () => {
  one = await createAuthority({ commonName: "CA", ...valid });
  rsa = await createAuthority({ commonName: "CA", ...valid, keyType: "RSA-2048" });
});

const certificateOf = ({ certificate }: Authority) => new X509Certificate(certificate);
const derOf = (pem: string) => Buffer.from(pem.split("-----")[2] ?? "", "base64");
const read = (list: string | Uint8Array, authority = one) =>
  readCrl(Buffer.from(list as string), certificateOf(authority), nowMs);

/** A list of this authority whose signed content was changed, and signed again. */
function changed(list: Uint8Array, change: (parts: readonly Buffer[]) => readonly Buffer[]) {
  const outer = elementAt(list, 0, list.length);
  const [tbs, algorithm] = elementsIn(list, outer, 3);
  if (tbs === undefined || algorithm === undefined) throw new Error("no list");
  const cut = ({ start, end }: { start: number; end: number }) =>
    Buffer.from(list.subarray(start, end));
  const signed = encoded(0x30, ...change(elementsIn(list, tbs, 9).map(cut)));
  const signature = sign("sha256", signed, one.key);
  return encoded(0x30, signed, cut(algorithm), encoded(0x03, Buffer.of(0), signature));
}

const serial = (hex: string) => encoded(0x02, Buffer.from(hex, "hex"));
const time = encoded(0x17, Buffer.from("260101000000Z"));
/** An extension of an entry: the last bytes of its identifier 2.5.29.X. */
const extension = (last: number, ...critical: readonly number[]) =>
  encoded(
    0x30,
    encoded(0x06, Buffer.of(0x55, 0x1d, last)),
    ...critical.map((value) => encoded(0x01, Buffer.of(value))),
    encoded(0x04, Buffer.of(0x0a, 0x01, 0x01)),
  );
/** A list with these entries in place of its own. */
function withEntries(entries: readonly Buffer[]) {
  const list = derOf(makeCrl(one, { serials: ["01"], number: 1 }));
  return changed(list, (parts) => putEntries(parts, Buffer.concat(entries)));
}
/** A list's parts with this in place of its entries. */
const putEntries = (parts: readonly Buffer[], entries: Uint8Array) =>
  parts.map((part, at) => (at === 5 ? encoded(0x30, entries) : part));

describe("a revocation list that OpenSSL made is read", () => {
  test("in PEM and DER, with its number, times and serial numbers", async () => {
    const nextUpdateMs = Math.floor(nowMs / 1000) * 1000 + 2 * hourMs;
    const serials = ["00", "7f", "ff", "0a0b0c", "00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff"];
    const pem = makeCrl(one, { serials, number: 0x1234, nextUpdateMs });
    for (const list of [pem, derOf(pem), `Some text\n${pem}`]) {
      const crl = await read(list);
      expect(crl).toMatchObject({ number: 0x1234n, nextUpdateMs });
      const wanted = ["0", "7f", "ff", "a0b0c", "ff00ff00ff00ff00ff00ff00ff00ff00ff00ff"];
      expect([...crl.revoked].toSorted()).toEqual(wanted.toSorted());
    }
  });

  test("and names the certificates that the authority issued as Node shows them", async () => {
    const issued = await Promise.all(
      Array.from({ length: 20 }, () => one.issue({ commonName: "client", ...valid })),
    );
    const leaves = issued.map(({ certificate }) => new X509Certificate(certificate));
    const crl = await read(makeCrl(one, { serials: leaves.map((leaf) => leaf.serialNumber) }));
    for (const leaf of leaves) expect(crl.revoked).toContain(serialOf(leaf));
    expect(crl.number).toBeUndefined();
  });

  test.each<[string, readonly string[]]>([
    ["RSA", []],
    ["RSA with SHA-512", ["-md", "sha512"]],
    ["RSA-PSS", ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"]],
  ])("signed with %s", async (_, options) => {
    expect((await read(makeCrl(rsa, { serials: ["01"], options }), rsa)).revoked.size).toBe(1);
  });

  test("signed with Ed25519", async () => {
    const { privateKey } = generateKeyPairSync("ed25519");
    const key = String(privateKey.export({ format: "pem", type: "pkcs8" }));
    writeFileSync(join(folder, "ed.key"), key);
    const made = ["-x509", "-key", "ed.key", "-subj", "/CN=Edwards", "-out", "ed.pem"];
    execFileSync("openssl", ["req", ...made], { cwd: folder });
    const certificate = readFileSync(join(folder, "ed.pem"), "utf8");
    const list = makeCrl({ certificate, key }, { serials: ["01"], options: ["-md", "null"] });
    const authority = new X509Certificate(certificate);
    expect((await readCrl(Buffer.from(list), authority, nowMs)).revoked.size).toBe(1);
  });

  test("with no certificates, and as one of several parts", async () => {
    const extensions = ["issuingDistributionPoint = critical, @part"];
    const sections = ["[part]", "fullname = URI:http://127.0.0.1/part1.crl", "onlyuser = TRUE"];
    expect((await read(makeCrl(one, { number: 1 }))).revoked.size).toBe(0);
    const part = makeCrl(one, { serials: ["01"], number: 1, extensions, sections });
    expect((await read(part)).revoked.size).toBe(1);
  });

  test("negative numbers and extensions of entries included", async () => {
    const entry = encoded(0x30, serial("ff01"), time, encoded(0x30, extension(0x15, 0xff)));
    const hold = encoded(0x30, serial("05"), time, encoded(0x30, extension(0x18), extension(0x15)));
    expect([...(await read(withEntries([entry, hold]))).revoked]).toEqual(["-ff", "5"]);
    expect(serialOf({ serialNumber: "-00FF" })).toBe("-ff");
  });
});

describe("a list is refused", () => {
  test.each<[string, CrlRequest, RegExp]>([
    ["a delta list", { extensions: ["2.5.29.27 = critical, ASN1:INTEGER:1"] }, /is a delta list/],
    [
      "an indirect list",
      {
        extensions: ["issuingDistributionPoint = critical, @i"],
        sections: ["[i]", "indirectCRL = TRUE"],
      },
      /is an indirect list/,
    ],
    [
      "one of some reasons only",
      {
        extensions: ["issuingDistributionPoint = critical, @i"],
        sections: ["[i]", "onlysomereasons = keyCompromise"],
      },
      /lists some reasons only/,
    ],
    [
      "one of authorities",
      {
        extensions: ["issuingDistributionPoint = critical, @i"],
        sections: ["[i]", "onlyCA = TRUE"],
      },
      /not about the certificates of clients/,
    ],
    [
      "one with an unknown critical extension",
      { extensions: ["1.2.3.4 = critical, ASN1:NULL"] },
      /critical extension that is not known: 1\.2\.3\.4/,
    ],
    [
      "one from the future",
      { thisUpdateMs: nowMs + hourMs, nextUpdateMs: nowMs + 2 * hourMs },
      /compare the clocks/,
    ],
  ])("%s", async (_, request, fault) => {
    await expect(read(makeCrl(one, request))).rejects.toThrow(fault);
  });

  test("of another key with the same name, of another name, and one that was altered", async () => {
    await expect(read(makeCrl(rsa, {}))).rejects.toThrow(/signature is not of the authority's key/);
    const other = await createAuthority({ commonName: "Other", ...valid });
    await expect(read(makeCrl(other, {}))).rejects.toThrow(/of another authority: CN=Other/);
    const altered = derOf(makeCrl(one, { serials: ["0102030405060708"] }));
    const at = altered.indexOf(Buffer.from("0102030405060708", "hex"));
    altered[at] = 0x11;
    await expect(read(altered)).rejects.toThrow(/signature is not of/);
  });

  test("signed with SHA-1", async () => {
    await expect(read(makeCrl(rsa, { options: ["-md", "sha1"] }), rsa)).rejects.toThrow(/too weak/);
  });

  test("of an authority that may not sign lists", async () => {
    const { certificate, key } = await one.issue({ commonName: "CA", ...valid });
    const list = makeCrl({ certificate, key }, {});
    const authority = new X509Certificate(certificate);
    await expect(readCrl(Buffer.from(list), authority, nowMs)).rejects.toThrow(/no cRLSign/);
  });

  test("whose entries have what cannot be obeyed, or read", async () => {
    const one = encoded(0x30, serial("05"), time, encoded(0x30, extension(0x1d, 0xff)));
    await expect(read(withEntries([one]))).rejects.toThrow(/indirect list/);
    const unknown = encoded(0x30, serial("05"), time, encoded(0x30, extension(0x7f, 0xff)));
    await expect(read(withEntries([unknown]))).rejects.toThrow(/entry has a critical extension/);
    for (const entry of [time, encoded(0x30, time), encoded(0x30, serial(""), time)]) {
      await expect(read(withEntries([entry]))).rejects.toThrow(/entry that cannot be read/);
    }
  });

  test("without the time of the next one", async () => {
    const list = changed(derOf(makeCrl(one, { number: 1 })), (parts) =>
      parts.filter((_, at) => at !== 4),
    );
    await expect(read(list)).rejects.toThrow(/when the next one comes/);
  });

  test.each<[string, () => string | Uint8Array, RegExp]>([
    ["nothing", () => "", /not a revocation list/],
    ["text", () => "<html>not found</html>", /neither DER nor PEM/],
    ["a certificate", () => one.certificate, /neither DER nor PEM/],
    ["a certificate in DER", () => certificateOf(one).raw, /more parts than a revocation list/],
    ["a list that is cut off", () => makeCrl(one, {}).slice(0, 200), /cut off: -----END/],
    ["DER that is cut off", () => derOf(makeCrl(one, {})).subarray(0, 100), /cut off/],
    ["two lists", () => makeCrl(one, {}).repeat(2), /more than one list/],
    ["what is too large", () => Buffer.alloc(crlBytesMax + 1), /larger than 20971520 bytes/],
  ])("%s, with a line that says so", async (_, make, fault) => {
    await expect(read(make())).rejects.toThrow(fault);
  });
});

test("a large list is read in slices: other work gets its turn", async () => {
  const entries = Array.from({ length: 100_000 }, (_, at) =>
    encoded(0x30, serial((0x10_000_000 + at).toString(16)), time),
  );
  const list = withEntries(entries);
  let size = 0;
  const turns = await turnsDuring(async () => {
    size = (await read(list)).revoked.size;
  });
  expect(size).toBe(100_000);
  expect(turns).toBeGreaterThan(40);
  await expect(
    read(withEntries(Array.from({ length: 500_001 }, () => entries[0] as Buffer))),
  ).rejects.toThrow(/more than 500000 entries/);
});

test(`damaged bytes never give another list, and always one line (seed ${seed})`, async () => {
  const list = derOf(makeCrl(one, { serials: ["01", "02"], number: 7 }));
  const whole = await read(list);
  const edits = fc.array(fc.tuple(fc.nat(list.length - 1), fc.nat(255)), {
    minLength: 1,
    maxLength: 4,
  });
  await fc.assert(
    fc.asyncProperty(edits, async (changes) => {
      const bytes = Buffer.from(list);
      for (const [at, value] of changes) bytes[at] = value;
      const found = await read(bytes).catch(faultOf);
      if (typeof found !== "string") expect(found).toEqual(whole);
    }),
    { seed, numRuns: 100 },
  );
});

test(`random bytes, also signed by the authority, never do harm (seed ${seed})`, async () => {
  const list = derOf(makeCrl(one, { serials: ["01", "02"], number: 7 }));
  const bytes = fc.uint8Array({ maxLength: 60 });
  const stray = fc.oneof(
    bytes.map((some) => Buffer.of(0x30, ...some)),
    bytes.map((some) => changed(list, (parts) => putEntries(parts, some))),
    bytes.map((some) => changed(list, (parts) => [...parts, Buffer.from(some)])),
  );
  await fc.assert(
    fc.asyncProperty(stray, async (some) => {
      await read(some).catch(faultOf);
    }),
    { seed, numRuns: 150 },
  );
});

/** The one line that says why a list is refused. */
function faultOf(error: unknown): string {
  const text = error instanceof Error ? error.message : "no error";
  expect(text).toMatch(/^[^\n]{1,400}$/);
  expect(text).not.toMatch(/undefined|NaN|is not a function|Cannot read/);
  return text;
}
