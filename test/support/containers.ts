import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findExecutable } from "../../scripts/redis-path.mjs";

/** Podman with its own storage, which is removed with it. */
export class Podman implements Disposable {
  readonly #folder = mkdtempSync(join(tmpdir(), "holdfast-podman-"));
  /** The command without a subcommand. */
  readonly command: readonly string[];

  constructor() {
    const settings = join(this.#folder, "containers.conf");
    // Podman's default limits are higher than a small machine allows.
    const limits = 'default_ulimits = ["nofile=20000:20000", "nproc=20000:20000"]';
    writeFileSync(settings, `[containers]\n${limits}\n`);
    this.command = [
      "env",
      `CONTAINERS_CONF=${settings}`,
      "PODMAN_IGNORE_CGROUPSV1_WARNING=1",
      "podman",
      ...["--root", join(this.#folder, "root"), "--runroot", join(this.#folder, "run")],
      ...["--runtime", "runc"],
    ];
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Whether this process is root and has the programs for building and installing packages. */
export function hasAll(...programs: readonly string[]): boolean {
  return process.getuid?.() === 0 && programs.every((name) => findExecutable(name) !== undefined);
}
