import { getFips } from "node:crypto";
import { type OperationName, type OperationRow, operations } from "@holdfast/kmip";
import type { CorpusFile } from "./corpus.ts";

/**
 * Files whose operations all exist, but which need something else that does not exist yet, or describe another
 * server. A file that passes is not skipped, even if its name matches.
 */
const knownGaps: readonly { readonly file: RegExp; readonly lacks: string }[] = [
  { file: /TC_11[12]_/, lacks: "needs named users of one instance, told apart by Credential" },
  { file: /TC_142_|TC-WRAP-|TC-SENSITIVE-/, lacks: "needs Get with a Key Wrapping Specification" },
  { file: /TC_151_/, lacks: "needs a default object group with keys made in advance" },
  {
    file: /TC_ECC_3_11|TC_ECC_2_12|TC-ECC-2-/,
    lacks: "shows another encoding of the private key than the one that was registered",
  },
  { file: /TC-OTP-/, lacks: "needs one-time passwords registered in advance" },
  { file: /TC-PKCS12-/, lacks: "needs PKCS#12 containers made by the server" },
  { file: /TC-Q-CAP-|TC-Q-S2C-1-/, lacks: "describes a server with capabilities of its own" },
  { file: /TC-Q-PROF-|TC-Q-S2C-PROF-/, lacks: "describes a server that claims whole profiles" },
  { file: /TC-Q-RNGS-/, lacks: "describes a server with random number generators of its own" },
];

/** Files with a key that is not approved: 3DES, Skipjack, RSA of 1024 bits, the curve P-192. */
const notApproved = /(SKFF-M-(8|12)|SKFF-O-[246]|BL-M-(9|13))-|TC_(82|313)_|TC_ECC_3_12(_|$)/;

/** Whether a file's keys are refused, since this process and its server run in FIPS mode. */
export function isRefused(file: string): boolean {
  return getFips() === 1 && notApproved.test(file);
}

/** The missing feature that a file needs; undefined if the file must pass. */
export function lackOf(file: CorpusFile): string | undefined {
  const missing = file.operations.filter((name) => {
    const row: OperationRow | undefined = operations[name as OperationName];
    return row?.request === undefined;
  });
  if (missing.length > 0) return `needs ${missing.join(", ")}`;
  if (isRefused(file.path)) return "needs a key that FIPS mode refuses";
  return knownGaps.find((gap) => gap.file.test(file.path))?.lacks;
}
