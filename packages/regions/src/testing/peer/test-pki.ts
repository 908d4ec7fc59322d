import { createAuthority } from "@holdfast/testing/pki";
import type { PeerTls } from "../../peer/peer-tls.ts";

/** A certificate authority of a test. */
export interface TestAuthority {
  readonly ca: string;
  /** A certificate with these DNS names, and the authorities that its owner trusts: this one where none are given. */
  issue(
    commonName: string,
    dnsNames: readonly string[],
    options?: { readonly trust?: string; readonly endsMs?: number },
  ): Promise<PeerTls>;
  /** The node of region a, b or c. */
  node(region: "a" | "b" | "c", trust?: string): PeerTls;
}

const dayMs = 86_400_000;
const days = 365;

function endingAt(endsMs: number) {
  return { notBeforeMs: endsMs - days * dayMs, days };
}

/** Makes a certificate authority with a node of each region. */
export async function testAuthority(commonName: string): Promise<TestAuthority> {
  const lastMs = Date.now() + (days - 1) * dayMs;
  const authority = await createAuthority({ commonName, ...endingAt(lastMs) });
  const ca = authority.certificate;
  const issue: TestAuthority["issue"] = async (subject, dnsNames, options = {}) => {
    const { trust = ca, endsMs = lastMs } = options;
    const hosts = dnsNames.length > 0 ? { hosts: dnsNames } : {};
    const leaf = { commonName: subject, ...hosts, ...endingAt(endsMs) };
    return { ca: trust, ...(await authority.issue(leaf)) };
  };
  const node = (region: string) => issue(`node of ${region}`, [`${region}.peer.holdfast`]);
  const nodes = { a: await node("a"), b: await node("b"), c: await node("c") };
  return { ca, issue, node: (region, trust = ca) => ({ ...nodes[region], ca: trust }) };
}
