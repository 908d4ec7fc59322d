import type { Suites } from "../base/tls.ts";
import type { ClientHello } from "./client-hello.ts";

/** Why the handshake with a TLS client failed, if an administrator can fix the cause. */
export const handshakeFaults = [
  "noCommonVersion",
  "noCommonSuite",
  "needsRsaCertificate",
  "needsKmipBasic",
  "serverNotTrusted",
] as const;

/** One of `handshakeFaults`. */
export type HandshakeFault = (typeof handshakeFaults)[number];

const tls12 = 0x03_03;
const ecdheRsa = [0xc0_2f, 0xc0_30, 0xcc_a8];
const ecdheEcdsa = [0xc0_2b, 0xc0_2c, 0xcc_a9];
/** AES128-SHA256 and AES256-SHA256. */
const kmipBasic = [0x00_3c, 0x00_3d];
const versionFault = /UNSUPPORTED_PROTOCOL|VERSION_TOO_LOW|UNKNOWN_PROTOCOL|WRONG_(SSL_)?VERSION/;
const suiteFault = /NO_SHARED_CIPHER|SIGNATURE_ALGORITHM|NO_SHARED_GROUP|NO_SUITABLE_KEY_SHARE/;
const trustFault =
  /ALERT_(UNKNOWN_CA|BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|CERTIFICATE_(UNKNOWN|EXPIRED|REVOKED))/;

/**
 * The fault, from OpenSSL's error code and the client's offer; undefined for scans, time-outs and
 * similar failures.
 */
export function handshakeFault(
  code: string,
  hello: ClientHello | undefined,
  server: { readonly rsa: boolean; readonly suites: Suites },
): HandshakeFault | undefined {
  if (hello === undefined) return undefined;
  if (trustFault.test(code)) return "serverNotTrusted";
  if (versionFault.test(code)) return hello.version < tls12 ? "noCommonVersion" : undefined;
  if (!suiteFault.test(code)) return undefined;
  const offers = (some: readonly number[]) => some.some((suite) => hello.suites.includes(suite));
  const wantsRsa =
    code.includes("SIGNATURE_ALGORITHM") || (offers(ecdheRsa) && !offers(ecdheEcdsa));
  if (!server.rsa && wantsRsa) return "needsRsaCertificate";
  if (server.suites !== "kmip-basic" && offers(kmipBasic)) return "needsKmipBasic";
  return "noCommonSuite";
}
