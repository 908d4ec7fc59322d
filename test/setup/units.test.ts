import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { expect, test } from "vitest";
import { hasAll } from "../support/containers.ts";

const root = join(import.meta.dirname, "../..");

test
  .skipIf(!hasAll("systemd-analyze"))
  .each(["deploy/systemd/holdfast.service", "deploy/redis/holdfast-redis@.service"])(
  "%s is a valid unit (needs systemd, and root)",
  (path) => {
    const folder = mkdtempSync(join(tmpdir(), "holdfast-unit-"));
    try {
      const text = readFileSync(join(root, path), "utf8");
      const file = join(folder, basename(path).replace("@", "@redis"));
      // The program's path depends on the installation, so the test uses another program.
      writeFileSync(file, text.replace(/^(ExecStart=)\/\S+/m, "$1/bin/true"));
      const { status, stderr } = spawnSync("systemd-analyze", ["verify", file], {
        encoding: "utf8",
      });
      expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
      writeFileSync(file, text.replace("[Service]", "[Service]\nRestrt=always"));
      expect(spawnSync("systemd-analyze", ["verify", file]).stderr.toString()).toContain("Restrt");
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
);
