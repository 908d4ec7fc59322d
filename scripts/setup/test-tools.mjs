import { existsSync } from "node:fs";
import { findExecutable } from "../redis-path.mjs";
import { aptInstall, canInstallSystemPackages } from "./apt.mjs";
import { say } from "./common.mjs";

/** What only tests need: an independent KMIP client, an independent TLS implementation, a load balancer. */
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
    isThere: () => findExecutable("openssl") !== undefined,
    without: "the tests against OpenSSL will be skipped",
  },
  {
    aptPackage: "haproxy",
    isThere: () => findExecutable("haproxy", "/usr/sbin") !== undefined,
    without: "the tests with HAProxy will be skipped",
  },
];

/** Brings the test tools where this user may, and says in one line what is skipped where not. */
export async function bringTestTools() {
  const missing = tools.filter((tool) => !tool.isThere());
  if (missing.length > 0 && canInstallSystemPackages()) {
    say("bringing tools for the tests");
    await aptInstall(missing.map((tool) => tool.aptPackage));
  }
  for (const tool of missing.filter((candidate) => !candidate.isThere())) {
    say(`${tool.without}; for them run: sudo apt-get install -y ${tool.aptPackage}`);
  }
}
