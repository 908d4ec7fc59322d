import { createECDH, createPrivateKey } from "node:crypto";
import { createAuthority } from "@holdfast/testing/pki";
import type { PeerTls } from "../../peer/peer-tls.ts";
import { publicHalf, RegionKeys, readPeerKey, readRegionKey } from "../../peer/region-keys.ts";
import type { Sealing } from "../../peer/server/peer-handlers.ts";

/** A certificate authority of a test. */
export interface TestAuthority {
  readonly ca: string;
  /**
   * A certificate with these DNS names, the authorities that its owner trusts (this one where none are given), and the keys
   * of a region: the first of the names, or a.
   */
  issue(
    commonName: string,
    dnsNames: readonly string[],
    options?: { readonly trust?: string; readonly endsMs?: number; readonly keysOf?: string },
  ): Promise<PeerTls>;
  /** The node of region a, b or c. */
  node(region: "a" | "b" | "c", trust?: string): PeerTls;
}

const dayMs = 86_400_000;
const days = 365;

function endingAt(endsMs: number) {
  return { notBeforeMs: endsMs - days * dayMs, days };
}

const regionKeys = new Map(["a", "b", "c"].map((region) => [region, fixedRegionKey(region)]));

/** Always the same key for a region, so that recorded answers which are sealed to it can be opened. */
function fixedRegionKey(region: string): string {
  const pair = createECDH("prime256v1");
  pair.setPrivateKey(Buffer.alloc(32, region));
  const point = pair.getPublicKey();
  const [d, x, y] = [pair.getPrivateKey(), point.subarray(1, 33), point.subarray(33)];
  const encoded = {
    d: d.toString("base64url"),
    x: x.toString("base64url"),
    y: y.toString("base64url"),
  };
  const key = createPrivateKey({ key: { kty: "EC", crv: "P-256", ...encoded }, format: "jwk" });
  return key.export({ type: "pkcs8", format: "pem" }).toString();
}

/** A region's key, and the public key of the other one: b's for a and c, a's for b. */
export function testKeys(region: string): Pick<PeerTls, "regionKey" | "peerKeys"> {
  const keyOf = (name: string) => regionKeys.get(name) ?? "";
  const other = region === "b" ? "a" : "b";
  return { regionKey: keyOf(region), peerKeys: [publicHalf(readRegionKey(keyOf(other)))] };
}

/** What a handler of region b seals to, for region a. */
export const testSealing: Sealing = {
  asking: "a",
  keys: () => keysOfRegion("b"),
};

/** The keys of a region, read. */
export function keysOfRegion(region: string): RegionKeys {
  const { regionKey, peerKeys } = testKeys(region);
  return new RegionKeys(readRegionKey(regionKey), peerKeys.map(readPeerKey));
}

/** The names of a node's certificate. */
export function testNames(region: string, node: string = `${region}1`): readonly string[] {
  return [`${region}.peer.holdfast`, `${node}.${region}.peer.holdfast`];
}

function regionIn(dnsNames: readonly string[]): string {
  return /([abc])\.peer\.holdfast/.exec(dnsNames.join(" "))?.[1] ?? "a";
}

/** Makes a certificate authority with a node of each region. */
export async function testAuthority(commonName: string): Promise<TestAuthority> {
  const lastMs = Date.now() + (days - 1) * dayMs;
  const authority = await createAuthority({ commonName, ...endingAt(lastMs) });
  const ca = authority.certificate;
  const issue: TestAuthority["issue"] = async (subject, dnsNames, options = {}) => {
    const { trust = ca, endsMs = lastMs, keysOf = regionIn(dnsNames) } = options;
    const hosts = dnsNames.length > 0 ? { hosts: dnsNames } : {};
    const leaf = { commonName: subject, ...hosts, ...endingAt(endsMs) };
    return { ca: trust, ...(await authority.issue(leaf)), ...testKeys(keysOf) };
  };
  const node = (region: string) => issue(`node of ${region}`, testNames(region));
  const nodes = { a: await node("a"), b: await node("b"), c: await node("c") };
  return { ca, issue, node: (region, trust = ca) => ({ ...nodes[region], ca: trust }) };
}
