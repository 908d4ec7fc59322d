import type { X509Certificate } from "node:crypto";
import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";

/** The certificate that a server showed when it was connected to by TLS. */
export interface ShownCertificate {
  readonly kind: "redis" | "sentinel" | "lockMaster";
  /** The server's `host:port`, as the configuration, a Sentinel or the primary names it. */
  readonly address: string;
  readonly certificate: X509Certificate;
}

/** Reports the certificate that a server shows at a new connection; a connection without TLS reports nothing. */
export function reportCertificate(
  stream: Socket,
  { kind, address }: Omit<ShownCertificate, "certificate">,
  report: ((shown: ShownCertificate) => void) | undefined,
): void {
  const certificate = stream instanceof TLSSocket ? stream.getPeerX509Certificate() : undefined;
  if (certificate !== undefined) report?.({ kind, address, certificate });
}
