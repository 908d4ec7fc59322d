// Installs what Holdfast needs and does not have yet: packages, Node 24, Redis, and for tests PyKMIP and
// OpenSSL. Runs before every npm script that needs them; if nothing is missing, it only checks.
// This first file must parse on any Node with modules, so that an old Node prints a clear message.

const nodeMajorMin = 20;

if (Number(process.versions.node.split(".")[0]) < nodeMajorMin) {
  process.stderr.write(
    `set-up: Node ${nodeMajorMin} or newer is needed, this is ${process.versions.node}: install a newer Node and try again\n`,
  );
  process.exit(1);
}

const { setUp } = await import("./setup/main.mjs");
process.exitCode = await setUp({
  forTest: process.argv.includes("--for=test"),
  forPkcs11: process.argv.includes("--for=pkcs11"),
  forDashboards: process.argv.includes("--for=dashboards"),
});
