/** Why a connection failed, by error code; mostly the words of `packages/client`, for KMIP. */
const reasons: readonly (readonly [RegExp, string])[] = [
  [/^ECONNREFUSED$/, "connection refused: nothing listens there"],
  [
    /^(ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|UND_ERR_CONNECT_TIMEOUT)$/,
    "cannot be reached: check the address and the route",
  ],
  [/^(ENOTFOUND|EAI_AGAIN)$/, "its name cannot be resolved"],
  [/^(ECONNRESET|EPIPE|UND_ERR_SOCKET)$/, "the connection was reset"],
  [
    /^ERR_TLS_CERT_ALTNAME_INVALID$/,
    "the server's certificate does not name this host: connect by a name or address that it lists",
  ],
  [
    /^(CERT_SIGNATURE_FAILURE|SELF_SIGNED_CERT_IN_CHAIN|DEPTH_ZERO_SELF_SIGNED_CERT|UNABLE_TO_VERIFY_LEAF_SIGNATURE|UNABLE_TO_GET_ISSUER_CERT(_LOCALLY)?)$/,
    "the server's certificate does not come from a certificate authority that is trusted here: give the one that issued it",
  ],
  [/^CERT_HAS_EXPIRED$/, "the server's certificate has expired"],
  [/^ERR_SSL_.*(WRONG_VERSION_NUMBER|PACKET_LENGTH|HTTP_REQUEST)/, "no TLS server answers there"],
];

/** The text for a code; undefined if the code has no text. */
export function reasonOfCode(code: string): string | undefined {
  return reasons.find(([pattern]) => pattern.test(code))?.[1];
}
