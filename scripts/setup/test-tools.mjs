import { existsSync, mkdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { findExecutable, valkeyDirectory } from "../redis-path.mjs";
import { addOnIsThere, bringAddOn, canCompile, compilerPackages } from "./add-on.mjs";
import { aptInstall, canInstallSystemPackages } from "./apt.mjs";
import { SetUpError, say } from "./common.mjs";

const softHsm = "softhsm/libsofthsm2.so";

/**
 * Whether all of these programs are on PATH.
 * @param {readonly string[]} names
 */
const onPath =
  (...names) =>
  () =>
    names.every((name) => findExecutable(name) !== undefined);

/** What only tests need: the packages, whether they are there, and what is skipped without them. */
const tools = [
  {
    aptPackage: "python3-pykmip",
    isThere: () =>
      existsSync("/usr/bin/python3") &&
      existsSync("/usr/lib/python3/dist-packages/kmip/__init__.py"),
    without: "the PyKMIP interop tests will be skipped",
  },
  {
    aptPackage: "openssl",
    isThere: onPath("openssl"),
    without: "the tests against OpenSSL will be skipped",
  },
  {
    aptPackage: "softhsm2",
    isThere: () =>
      findExecutable("softhsm2-util") !== undefined &&
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
    aptPackage: "prometheus prometheus-alertmanager",
    isThere: onPath("promtool", "prometheus", "prometheus-alertmanager"),
    without: "the tests of the alerts will be skipped",
  },
  {
    aptPackage: "chromium tmux",
    isThere: onPath("chromium", "tmux"),
    without: "the tests of the dashboards will be skipped",
  },
  {
    aptPackage: "haproxy",
    isThere: () => findExecutable("haproxy", "/usr/sbin") !== undefined,
    without: "the tests with HAProxy will be skipped",
  },
  {
    aptPackage: "mmdebstrap podman runc",
    isThere: onPath("mmdebstrap", "podman", "runc"),
    without: "the tests of the Debian package and of the container image will be skipped",
  },
  {
    aptPackage: "kubectl",
    isThere: onPath("kubectl"),
    without: "the Kubernetes files will not be built",
  },
  {
    aptPackage: "valkey-server",
    isThere: onPath("valkey-server"),
    without: "the store's tests on Valkey will be skipped",
  },
];

/** Brings the test tools where this user may, and says in one line what is skipped where not. */
export async function bringTestTools() {
  const missing = tools.filter((tool) => !tool.isThere());
  if (missing.length > 0 && canInstallSystemPackages()) {
    say("bringing tools for the tests");
    await aptInstall(missing.flatMap((tool) => tool.aptPackage.split(" ")));
  }
  for (const tool of missing.filter((candidate) => !candidate.isThere())) {
    say(`${tool.without}; for them run: sudo apt-get install -y ${tool.aptPackage}`);
  }
  linkValkey();
  if (addOnIsThere() || !canCompile()) return;
  await bringAddOn().catch((error) => {
    if (!(error instanceof SetUpError)) throw error;
    say(`${error.message}; the PKCS#11 tests will be skipped`);
  });
}

/** Valkey under the names of Redis' programs, in a folder of its own. */
function linkValkey() {
  const [server, cli] = [findExecutable("valkey-server"), findExecutable("valkey-cli")];
  if (server === undefined || cli === undefined) return;
  mkdirSync(valkeyDirectory, { recursive: true });
  const links = { "redis-server": server, "redis-sentinel": server, "redis-cli": cli };
  for (const [name, target] of Object.entries(links)) {
    const link = join(valkeyDirectory, name);
    rmSync(link, { force: true });
    symlinkSync(target, link);
  }
}
