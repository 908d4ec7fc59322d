import { createHash, createHmac, generateKeyPairSync, hkdfSync, randomBytes } from "node:crypto";
import { describe, expect, test, vi } from "vitest";
import { keysOfRegion, testKeys } from "../testing/peer/test-pki.ts";
import {
  type LinkEnds,
  linkProofBytes,
  makeRegionKey,
  publicHalf,
  RegionKeys,
  readPeerKey,
  readRegionKey,
} from "./region-keys.ts";

const ends: LinkEnds = {
  client: { region: "a", fingerprint: "aa".repeat(32) },
  server: { region: "b", fingerprint: "bb".repeat(32) },
  exporter: randomBytes(32),
};
const [a, b] = [keysOfRegion("a"), keysOfRegion("b")];
const idOf = (keys: RegionKeys) => Buffer.from(keys.id).toString("hex");
const keysOf = (own: string, ...peers: readonly string[]) =>
  new RegionKeys(
    readRegionKey(own),
    peers.map((peer) => readPeerKey(publicHalf(readRegionKey(peer)))),
  );

test("a MAC for the own store is of the region's private key, of the purpose and of the data", () => {
  const { regionKey } = testKeys("a");
  const own = readRegionKey(regionKey);
  const keys = keysOf(regionKey, testKeys("b").regionKey);
  const { d = "" } = own.export({ format: "jwk" });
  const info = createHash("sha256").update("holdfast-local-1 order").digest();
  const key = hkdfSync("sha256", Buffer.from(d, "base64url"), Buffer.alloc(0), info, 32);
  const mac = createHmac("sha256", Buffer.from(key)).update("data").digest();
  const exported = vi.spyOn(Object.getPrototypeOf(own) as typeof own, "export");
  expect(keys.localMac("order", "data")).toEqual(mac);
  expect(keys.localMac("order", "data")).toEqual(mac);
  expect(keys.localMac("other", "data")).not.toEqual(mac);
  expect(keys.localMac("order", "other")).not.toEqual(mac);
  // No text of the private key is made for each MAC.
  expect(exported).not.toHaveBeenCalled();
  exported.mockRestore();
});

describe("a proof of the region key", () => {
  test("is accepted from each side, and names the key", () => {
    const [ofClient, ofServer] = [a.prove("client", ends), b.prove("server", ends)];
    expect(ofClient).toHaveLength(linkProofBytes);
    expect(b.check("client", ends, ofClient)).toEqual({ key: idOf(a) });
    expect(a.check("server", ends, ofServer)).toEqual({ key: idOf(b) });
  });

  test("says nothing in another session, of another role, region or certificate", () => {
    const sent = a.prove("client", ends);
    const others: readonly [string, "client" | "server", LinkEnds][] = [
      ["session", "client", { ...ends, exporter: randomBytes(32) }],
      ["role", "server", ends],
      ["region", "client", { ...ends, client: { ...ends.client, region: "c" } }],
      ["own region", "client", { ...ends, server: { ...ends.server, region: "c" } }],
      ["client", "client", { ...ends, client: { ...ends.client, fingerprint: "cc" } }],
      ["server", "client", { ...ends, server: { ...ends.server, fingerprint: "cc" } }],
    ];
    for (const [what, role, other] of others) {
      const fault = { fault: expect.stringContaining("does not hold the region key") };
      expect(b.check(role, other, sent), what).toEqual(fault);
    }
    // What a side sent does not prove the other side to itself.
    expect(a.check("server", ends, sent)).toEqual({ fault: expect.stringContaining(idOf(a)) });
  });

  test("is refused with any bit of name or MAC changed, and if it is cut or longer", () => {
    const single = keysOf(testKeys("a").regionKey, testKeys("b").regionKey);
    const sent = single.prove("client", ends);
    const used = linkProofBytes - 32;
    for (let bit = 0; bit < used * 8; bit += 1) {
      const changed = Buffer.from(sent);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(b.check("client", ends, changed)).toHaveProperty("fault");
    }
    expect(b.check("client", ends, Buffer.alloc(0))).toMatchObject({ cut: true });
    for (const bytes of [sent.subarray(1), Buffer.concat([sent, sent])]) {
      expect(b.check("client", ends, bytes)).toEqual({ fault: "it does not prove a region key" });
    }
  });

  test("of a key that is not in peer.keys is refused, and the key is named", () => {
    const thief = keysOf(makeRegionKey(), testKeys("b").regionKey);
    expect(b.check("client", ends, thief.prove("client", ends))).toEqual({
      fault: `its region key ${idOf(thief)} is not in peer.keys`,
    });
  });

  test("passes between all keys of a rotation: old, both, new", () => {
    const [old, fresh] = [testKeys("a").regionKey, makeRegionKey()];
    const other = testKeys("b").regionKey;
    const rotating = keysOf(other, old, fresh);
    for (const own of [old, fresh]) {
      const mine = keysOf(own, other);
      const key = idOf(mine);
      expect(rotating.check("client", ends, mine.prove("client", ends))).toEqual({ key });
      expect(mine.check("server", ends, rotating.prove("server", ends))).toHaveProperty("key");
    }
    const over = keysOf(other, fresh);
    const late = keysOf(old, other);
    expect(over.check("client", ends, late.prove("client", ends))).toHaveProperty("fault");
    expect(late.check("server", ends, over.prove("server", ends))).toHaveProperty("fault");
  });
});

describe("a sealed KEK", () => {
  const binding = { instance: "i", kekId: "k", asking: "a" };
  const kek = randomBytes(32);

  test("is opened by the region that asked, and differs each time", () => {
    const [one, two] = [b.seal(a.id, binding, kek), b.seal(a.id, binding, kek)];
    expect(Buffer.from(a.open(binding, one) ?? [])).toEqual(kek);
    expect(Buffer.compare(one, two)).not.toBe(0);
    expect(Buffer.from(one).includes(kek)).toBe(false);
  });

  test("is opened by no other key, not even that of the region that sealed it", () => {
    const sealed = b.seal(a.id, binding, kek);
    const thief = keysOf(makeRegionKey(), testKeys("b").regionKey);
    expect(thief.open(binding, sealed)).toBeUndefined();
    expect(b.open(binding, sealed)).toBeUndefined();
  });

  test("is bound to instance, KEK and asker, and every bit counts", () => {
    const sealed = b.seal(a.id, binding, kek);
    for (const part of ["instance", "kekId", "asking"] as const) {
      expect(a.open({ ...binding, [part]: "x" }, sealed), part).toBeUndefined();
    }
    for (let at = 0; at < sealed.length; at += 1) {
      const changed = Buffer.from(sealed);
      changed[at] = (changed[at] ?? 0) ^ 1;
      expect(a.open(binding, changed), `byte ${at}`).toBeUndefined();
    }
    expect(a.open(binding, sealed.subarray(0, 100))).toBeUndefined();
    expect(() => b.seal(randomBytes(32), binding, kek)).toThrow("not in peer.keys");
  });
});

describe("a key that cannot be used is named", () => {
  const p384 = generateKeyPairSync("ec", { namedCurve: "P-384" });
  const pkcs8 = { type: "pkcs8", format: "pem" } as const;
  const spki = { type: "spki", format: "pem" } as const;

  test.each([
    ["nothing", "", "holds no usable private key in PEM"],
    ["the public half", publicHalf(readRegionKey(makeRegionKey())), "holds no usable private key"],
    [
      "another curve",
      p384.privateKey.export(pkcs8).toString(),
      "holds a key that is not an EC key on P-256",
    ],
  ])("private: %s", (_, pem, says) => {
    expect(() => readRegionKey(pem)).toThrow(says);
  });

  test.each([
    ["nothing", "", "holds no public key in PEM"],
    ["a private key", makeRegionKey(), "holds a private key: give the public half"],
    [
      "another curve",
      p384.publicKey.export(spki).toString(),
      "holds a key that is not an EC key on P-256",
    ],
  ])("public: %s", (_, pem, says) => {
    expect(() => readPeerKey(pem)).toThrow(says);
  });

  test("together: the own key, none, or too many", () => {
    const [own, ...others] = [makeRegionKey(), makeRegionKey(), makeRegionKey(), makeRegionKey()];
    expect(() => keysOf(own, own)).toThrow("this region's own key is given");
    expect(() => keysOf(own)).toThrow("no key of the other region is given");
    expect(() => keysOf(own, ...others)).toThrow("more than 2 keys are given");
  });
});
