import { existsSync } from "node:fs";
import { addOnIsThere, bringAddOn, canCompile, compilerPackages } from "./add-on.mjs";
import { aptInstall, canInstallSystemPackages } from "./apt.mjs";
import { SetUpError, say } from "./common.mjs";
import { bringServices, findTool, nameValkey, withoutServices } from "./services.mjs";

const alertmanager = "prometheus-alertmanager";
const softHsm = "softhsm/libsofthsm2.so";

/**
 * Returns a function that checks whether all these programs are available.
 * @param {readonly string[]} names
 */
const onPath =
  (...names) =>
  () =>
    names.every((name) => findTool(name) !== undefined);

/**
 * Tools that only tests need: the packages, a check for them, and what is skipped without them. `services` are programs
 * of packages that are unpacked, not installed.
 * @type {readonly { aptPackage: string, isThere: () => boolean, without: string, services?: readonly string[] }[]}
 */
const tools = [
  {
    aptPackage: "python3-pykmip",
    isThere: () =>
      existsSync("/usr/bin/python3") &&
      existsSync("/usr/lib/python3/dist-packages/kmip/__init__.py"),
    without: "the PyKMIP interop tests will be skipped",
  },
  {
    aptPackage: "python3-pyvmomi",
    isThere: () =>
      existsSync("/usr/bin/python3") &&
      existsSync("/usr/lib/python3/dist-packages/pyVmomi/__init__.py"),
    without: "calls of vCenter's API will not be compared with VMware's own library",
  },
  {
    aptPackage: "openssl",
    isThere: onPath("openssl"),
    without: "the tests against OpenSSL will be skipped",
  },
  {
    aptPackage: "openssl-provider-fips",
    isThere: () =>
      ["x86_64-linux-gnu", "aarch64-linux-gnu"].some((folder) =>
        existsSync(`/usr/lib/${folder}/ossl-modules/fips.so`),
      ),
    without: "the tests with OpenSSL's FIPS provider will be skipped",
  },
  {
    aptPackage: "softhsm2",
    isThere: () =>
      findTool("softhsm2-util") !== undefined &&
      [`/usr/lib/${softHsm}`, `/usr/lib64/${softHsm}`, `/usr/local/lib/${softHsm}`].some((file) =>
        existsSync(file),
      ),
    without: "the PKCS#11 tests will be skipped",
  },
  {
    aptPackage: compilerPackages,
    isThere: () => addOnIsThere() || canCompile(),
    without: "pkcs11js cannot be compiled and the PKCS#11 tests will be skipped",
  },
  {
    aptPackage: "prometheus",
    isThere: onPath("promtool", "prometheus"),
    services: ["promtool", "prometheus"],
    without: "the tests of the alerts will be skipped",
  },
  {
    // It runs only if Debian has installed its templates.
    aptPackage: alertmanager,
    isThere: onPath("amtool", alertmanager),
    without: "the tests of the alerts will be skipped",
  },
  {
    aptPackage: "chromium tmux",
    isThere: onPath("chromium", "tmux"),
    without: "the tests of the dashboards will be skipped",
  },
  {
    aptPackage: "haproxy",
    isThere: onPath("haproxy"),
    services: ["haproxy"],
    without: "the tests with HAProxy will be skipped",
  },
  {
    aptPackage: "mmdebstrap podman runc",
    isThere: onPath("mmdebstrap", "podman", "runc"),
    without: "the tests of the Debian package and of the container image will be skipped",
  },
  {
    aptPackage: "minisign",
    isThere: onPath("minisign"),
    without: "the tests of signed checksums will be skipped",
  },
  {
    aptPackage: "sigsum-go litetlog",
    isThere: onPath("sigsum-key", "sigsum-witness", "spicy-litetlog"),
    services: ["sigsum-key", "sigsum-witness", "spicy-litetlog"],
    without: "the tests with an independent witness of the audit log will be skipped",
  },
  {
    aptPackage: "bubblewrap iproute2",
    isThere: onPath("bwrap", "ip"),
    without: "the services of docker-compose.yml will not be started",
  },
  {
    aptPackage: "kubectl",
    isThere: onPath("kubectl"),
    without: "the Kubernetes files will not be built",
  },
  {
    aptPackage: "valkey-server valkey-tools",
    isThere: onPath("valkey-server", "valkey-cli"),
    services: ["valkey-server", "valkey-cli"],
    without: "the store's tests on Valkey will be skipped",
  },
];

/** Installs the test tools if this user may do so; otherwise prints one line for each skipped group of tests. */
export async function bringTestTools() {
  const missing = tools.filter((tool) => !tool.isThere());
  const packagesOf = (/** @type {typeof tools} */ some) =>
    some.flatMap((tool) => tool.aptPackage.split(" "));
  const services = missing.filter((tool) => tool.services !== undefined);
  const others = missing.filter((tool) => tool.services === undefined);
  const mayInstall = canInstallSystemPackages();
  if (services.length > 0 || (mayInstall && others.length > 0)) say("installing tools for tests");
  if (services.length > 0) {
    await bringServices(
      packagesOf(services),
      services.flatMap((tool) => tool.services ?? []),
    );
  }
  if (mayInstall && others.length > 0) {
    await withoutServices(() => aptInstall(packagesOf(others)), [alertmanager]);
  }
  for (const tool of missing.filter((candidate) => !candidate.isThere())) {
    say(`${tool.without}; for them run: sudo apt-get install -y ${tool.aptPackage}`);
  }
  nameValkey();
  if (addOnIsThere() || !canCompile()) return;
  await bringAddOn().catch((error) => {
    if (!(error instanceof SetUpError)) throw error;
    say(`${error.message}; the PKCS#11 tests will be skipped`);
  });
}
