/** Parts of the paths of the tests that `npm run test:fips` runs. */
export const applies: readonly string[] = [
  "packages/engine/",
  "packages/kmip/",
  "packages/redis/",
  "packages/regions/",
  "packages/root-of-trust/",
  "packages/server/",
  "packages/client/",
  "packages/admin/",
  "packages/cli/",
  "test/conformance/",
  "test/interop/vcenter",
  "test/interop/pykmip",
  "test/cluster/admin-access",
  "test/cluster/two-regions.test",
];

/** Files that cannot run in a process in FIPS mode, and why. */
export const doesNotApply: Readonly<Record<string, string>> = {
  "test/cluster/fips.test.ts":
    "its clients use X25519 and scrypt, to show that a node refuses them; `npm test` runs it",
};
