import { spawnSync } from "node:child_process";
import { join } from "node:path";

const python = "/usr/bin/python3";

/** Whether Debian's pyVmomi is installed: VMware's own library, with the types of vCenter's API. */
export function hasPyvmomi(): boolean {
  return spawnSync(python, ["-c", "import pyVmomi"], { stdio: "ignore" }).status === 0;
}

/** How to install it. */
export const pyvmomiMissing = "pyVmomi is missing: apt-get install -y python3-pyvmomi, as root";

/** A call of the API, and what the stand-in answered. */
export interface Exchange {
  readonly type: string;
  readonly method: string;
  readonly body: unknown;
  readonly result?: unknown;
}

/** What in these calls, and not in their answers, has names that pyVmomi does not know: objects of tests have few fields. */
export function unknownNames(exchanges: unknown): readonly string[] {
  const calls = (exchanges as readonly Exchange[]).map((one) => ({ ...one, result: null }));
  return shapeFaults(calls).filter((fault) => !fault.includes(" needs the property "));
}

/** What in these calls and answers (`Exchange`s) does not have the shapes that pyVmomi knows. */
export function shapeFaults(exchanges: unknown): readonly string[] {
  const { stdout, stderr, status } = spawnSync(
    python,
    ["-I", join(import.meta.dirname, "pyvmomi_check.py")],
    { input: JSON.stringify(exchanges), encoding: "utf8", maxBuffer: 1 << 26 },
  );
  if (status !== 0) throw new Error(`pyvmomi_check.py: ${stderr}`);
  return JSON.parse(stdout) as readonly string[];
}
