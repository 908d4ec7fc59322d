import { enumerations, isVersion1, type Response, type Version, valuesOf } from "@holdfast/kmip";
import type { EngineSettings } from "../../ports/operation-context.ts";

type Profile = Response<"Query">["profiles"][number];
type ProfileName = keyof (typeof enumerations)["ProfileName"];

/** The names of the server profiles, without their version. */
const families = [
  "BaselineServerTLSV1_2",
  "SymmetricKeyLifecycleServer",
  "SymmetricKeyFoundryServer",
  "StorageArrayWithSelfEncryptingDriveServer",
  "TapeLibraryServer",
  "OpaqueManagedObjectStoreServer",
];

const claimed = (Object.keys(enumerations.ProfileName) as ProfileName[]).filter((name) =>
  families.some((family) => name.startsWith(`${family}KMIPV1_`)),
);

/**
 * The profiles that the server implements completely: those of 1.x, if the listener offers the cipher suites that they
 * require, and none of 2.x, since Baseline Server 2.x requires operations that do not exist here yet (KMIP Profiles
 * 2.1, 5.2).
 */
export function profilesOf(
  version: Version,
  { profileSuites }: EngineSettings,
): readonly Profile[] {
  if (!profileSuites || !isVersion1(version)) return [];
  const known = valuesOf(enumerations.ProfileName, version);
  return claimed.filter((name) => known.has(name)).map((profileName) => ({ profileName }));
}
