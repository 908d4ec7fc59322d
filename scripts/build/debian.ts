import { chmodSync, cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../setup/common.mjs";
import { must } from "./archives.ts";
import { productVersion } from "./bundle.ts";
import { settle } from "./settle.ts";
import { installed, makeTree, type TargetName } from "./tree.ts";

const architectures: Partial<Readonly<Record<TargetName, string>>> = {
  "linux-x64": "amd64",
  "linux-arm64": "arm64",
};
const sources = join(root, "deploy", "debian");

/** Creates `holdfast_VERSION_ARCHITECTURE.deb` in `out` from the files in deploy/debian and deploy/systemd. */
export async function makeDeb(
  target: TargetName,
  out: string,
  version = productVersion(),
): Promise<string> {
  const architecture = architectures[target] ?? "";
  const name = `holdfast_${version}_${architecture}`;
  const folder = join(out, name);
  await makeTree(target, folder, installed);
  cpSync(join(sources, "copyright"), join(folder, installed.doc, "copyright"));
  for (const [from, to] of [
    ["systemd/holdfast.service", "usr/lib/systemd/system/holdfast.service"],
    ["systemd/holdfast.sysusers", "usr/lib/sysusers.d/holdfast.conf"],
  ] as const) {
    mkdirSync(join(folder, to, ".."), { recursive: true });
    cpSync(join(root, "deploy", from), join(folder, to));
    chmodSync(join(folder, to), 0o644);
  }
  mkdirSync(join(folder, "DEBIAN"));
  const control = readFileSync(join(sources, "control"), "utf8");
  const filled = control.replace("@VERSION@", version).replace("@ARCHITECTURE@", architecture);
  writeFileSync(join(folder, "DEBIAN", "control"), filled);
  for (const script of ["postinst", "prerm", "postrm"]) {
    const to = join(folder, "DEBIAN", script);
    cpSync(join(sources, script), to);
    chmodSync(to, 0o755);
  }
  const file = join(out, `${name}.deb`);
  settle(folder);
  // With another number of threads, zstd makes other bytes.
  const compression = ["-Zzstd", "-z3", "--threads-max=1"];
  await must("dpkg-deb", ["--root-owner-group", ...compression, "--build", folder, file]);
  return file;
}
