import { type TagName, tags } from "@holdfast/kmip";

/**
 * Where an attribute's value lives in a `ManagedObject`.
 *
 * - `object`: computed from the object's own fields: `uniqueIdentifier`, `objectType`, `lastChange`, or a constant.
 * - `facts`: from `facts`. A planned Activation or Deactivation Date is a register until the fact exists; the fact
 *   then hides the register.
 * - `fixed`: an item in `fixed`, set once by the server and never changed. Of a registered object, the client sets
 *   Original Creation Date and Random Number Generator, at registration or later; these are registers.
 * - `registers`: everything that a client may add, set, modify or delete, and what follows from it. Without a register
 *   Sensitive, Always Sensitive and Never Extractable are False and Extractable is True. Usage Limits is stored without
 *   its Usage Limits Count: that always equals the total, since no operation allocates usage.
 */
export type AttributeHome = "object" | "facts" | "fixed" | "registers";

const homes = {
  UniqueIdentifier: "object",
  /** SHA-256 of the Unique Identifier's text. */
  ShortUniqueIdentifier: "object",
  ObjectType: "object",
  LastChangeDate: "object",
  /** Always `leaseTimeSeconds`. */
  LeaseTime: "object",
  /** Always Software. */
  ProtectionStorageMask: "object",

  State: "facts",
  /** False once `served`. */
  Fresh: "facts",
  ActivationDate: "facts",
  DeactivationDate: "facts",
  CompromiseDate: "facts",
  CompromiseOccurrenceDate: "facts",
  RevocationReason: "facts",
  DestroyDate: "facts",

  InitialDate: "fixed",
  OriginalCreationDate: "fixed",
  CryptographicAlgorithm: "fixed",
  CryptographicLength: "fixed",
  KeyFormatType: "fixed",
  /** Only if the material is not secret; else it is sealed (`object-digest.ts`). */
  Digest: "fixed",
  /** Present, and False, only when a key was registered without its value. */
  KeyValuePresent: "fixed",
  RandomNumberGenerator: "fixed",
  OpaqueDataType: "fixed",
  CertificateType: "fixed",
  CertificateLength: "fixed",
  DigitalSignatureAlgorithm: "fixed",
  X_509CertificateIdentifier: "fixed",
  X_509CertificateSubject: "fixed",
  X_509CertificateIssuer: "fixed",
  CertificateIdentifier: "fixed",
  CertificateSubject: "fixed",
  CertificateIssuer: "fixed",
} as const satisfies Partial<Record<TagName, AttributeHome>>;

const byTag: ReadonlyMap<number, AttributeHome> = new Map(
  Object.entries(homes).map(([name, home]) => [tags[name as keyof typeof homes].tag, home]),
);

/** The home of an attribute by its tag; `registers` for all that are not listed above. */
export function homeOf(tag: number): AttributeHome {
  const certificateField =
    tag >= tags.CertificateSubjectCN.tag && tag <= tags.CertificateIssuerDNQualifier.tag;
  return certificateField ? "fixed" : (byTag.get(tag) ?? "registers");
}

/** Every object's Lease Time (KMIP 2.1, 4.30). */
export const leaseTimeSeconds = 3600;
