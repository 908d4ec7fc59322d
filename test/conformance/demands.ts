/**
 * What a profile requires in Query's lists (KMIP Profiles 1.4 and 2.1, section 5; KMIP 1.0, 12.1). A sample answer may
 * show more; a test case requires nothing.
 */
const baseline = [
  "Locate",
  "Check",
  "Get",
  "GetAttributes",
  "GetAttributeList",
  "AddAttribute",
  "ModifyAttribute",
  "DeleteAttribute",
  "Activate",
  "Revoke",
  "Destroy",
  "Query",
];

interface Demand {
  readonly operations: readonly string[];
  readonly objectTypes: readonly string[];
}

const families: Readonly<Record<string, Demand>> = {
  BL: { operations: [], objectTypes: [] },
  SKLC: { operations: ["Create"], objectTypes: ["SymmetricKey"] },
  SKFF: { operations: ["Create"], objectTypes: ["SymmetricKey"] },
  AKLC: { operations: ["CreateKeyPair"], objectTypes: ["PublicKey", "PrivateKey"] },
  SASED: { operations: ["Register"], objectTypes: ["SecretData"] },
  OMOS: { operations: ["Register"], objectTypes: ["OpaqueObject"] },
  TL: { operations: ["Create"], objectTypes: ["SymmetricKey"] },
};

/** Names that Query must list for a file of this family. */
export function demanded(
  family: string | undefined,
  version: string,
): ReadonlySet<string> | undefined {
  if (family === undefined) return undefined;
  const demand = families[family];
  const versions = version === "1.0" ? [] : ["DiscoverVersions"];
  const template = family === "SASED" && version.startsWith("1.") ? ["Template"] : [];
  return new Set([
    ...baseline,
    ...versions,
    ...template,
    ...(demand?.operations ?? []),
    ...(demand?.objectTypes ?? []),
  ]);
}
