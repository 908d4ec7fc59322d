import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Pkcs11Settings } from "@holdfast/root-of-trust";

export const softHsmMissing =
  "SoftHSM or a compiler for pkcs11js is missing: apt-get install -y softhsm2 g++ make python3, as root, then node scripts/setup.mjs --for=pkcs11";
const addOn = join(
  import.meta.dirname,
  "../../packages/root-of-trust/node_modules/pkcs11js/build/Release/pkcs11.node",
);

/** Finds the module in the folders of Debian and similar distributions. */
function softHsmModule(): string | undefined {
  const folders = ["/usr/lib", "/usr/lib64", "/usr/local/lib"].filter(existsSync);
  const nested = folders.flatMap((folder) =>
    readdirSync(folder)
      .filter((name) => name.endsWith("-linux-gnu"))
      .map((name) => join(folder, name)),
  );
  return [...folders, ...nested]
    .map((folder) => join(folder, "softhsm", "libsofthsm2.so"))
    .find(existsSync);
}

/** Whether this machine can make tokens, and has the compiled add-on that calls them. */
export function hasSoftHsm(): boolean {
  if (softHsmModule() === undefined || !existsSync(addOn)) return false;
  return spawnSync("softhsm2-util", ["--version"]).status === 0;
}

/** Builds the module that slows down another one, in a folder; undefined without a compiler. */
function buildSlowHsm(directory: string): string | undefined {
  const source = join(import.meta.dirname, "slow-hsm.c");
  const module = join(directory, "slow-hsm.so");
  for (const compiler of ["cc", "gcc", "clang"]) {
    const built = spawnSync(compiler, ["-shared", "-fPIC", "-o", module, source, "-ldl"]);
    if (built.status === 0) return module;
  }
  return undefined;
}

/** Child processes that use tokens for this process. */
export function tokenHosts(): readonly number[] {
  return readdirSync("/proc")
    .map(Number)
    .filter((pid) => Number.isInteger(pid) && parentOf(pid) === process.pid && isHost(pid));
}

function parentOf(pid: number): number | undefined {
  const fields = procFile(pid, "stat").split(") ").at(-1)?.split(" ");
  return fields?.[1] === undefined ? undefined : Number(fields[1]);
}

function isHost(pid: number): boolean {
  return procFile(pid, "cmdline").includes("pkcs11/host-main.ts");
}

function procFile(pid: number, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, "utf8");
  } catch {
    return "";
  }
}

/** SoftHSM with its own folder for tokens. */
export class SoftHsm implements AsyncDisposable {
  readonly directory: string;
  environment: Readonly<Record<string, string>>;
  module: string;
  readonly token: string;
  readonly pin: string = randomBytes(6).toString("hex");
  readonly soPin: string = randomBytes(6).toString("hex");

  private constructor(directory: string, token: string, module: string) {
    this.directory = directory;
    this.token = token;
    this.module = module;
    this.environment = {
      PATH: process.env["PATH"] ?? "",
      SOFTHSM2_CONF: join(directory, "softhsm2.conf"),
    };
  }

  /** Makes it with one token. */
  static async open(token = "holdfast"): Promise<SoftHsm> {
    const directory = await mkdtemp(join(tmpdir(), "holdfast-softhsm-"));
    const hsm = new SoftHsm(directory, token, softHsmModule() ?? "");
    await mkdir(hsm.#tokens);
    const lines = [`directories.tokendir = ${hsm.#tokens}`, "objectstore.backend = file"];
    await writeFile(join(directory, "softhsm2.conf"), `${lines.join("\n")}\n`);
    hsm.addToken(token);
    return hsm;
  }

  /** Loads the slow module in front, which then follows `faults`; false if it cannot be built. */
  slowDown(): boolean {
    const slow = buildSlowHsm(this.directory);
    if (slow === undefined) return false;
    this.environment = {
      ...this.environment,
      HSM_MODULE: this.module,
      HSM_FAULTS: this.#faultsFile,
    };
    this.module = slow;
    return true;
  }

  /** Sets the slow module's delay per encryption and signature, result code, and whether it hangs. */
  async faults({ delayMs = 0, code = 0, hang = false }): Promise<void> {
    await writeFile(this.#faultsFile, `${delayMs} ${code} ${hang ? 1 : 0}\n`);
  }

  /** Has the slow module end the login before the next search for keys, as an HSM may. */
  async endLogin(): Promise<void> {
    await writeFile(`${this.#faultsFile}.logout`, "");
  }

  /** The number of logins through the slow module. */
  logins(): number {
    const file = `${this.#faultsFile}.logins`;
    return existsSync(file) ? readFileSync(file).length : 0;
  }

  /** Makes a token. */
  addToken(label: string): void {
    const pins = ["--so-pin", this.soPin, "--pin", this.pin];
    this.#util(["--init-token", "--free", "--label", label, ...pins]);
  }

  /** Removes the tokens. */
  async takeOut(): Promise<void> {
    await rename(this.#tokens, `${this.#tokens}.out`);
    await mkdir(this.#tokens);
  }

  /** Puts the removed tokens back. */
  async putBack(): Promise<void> {
    await rm(this.#tokens, { recursive: true });
    await rename(`${this.#tokens}.out`, this.#tokens);
  }

  /** Makes the token empty, as its manufacturer would. */
  async wipe(): Promise<void> {
    await rm(this.#tokens, { recursive: true });
    await mkdir(this.#tokens);
    this.addToken(this.token);
  }

  /** Reverts everything that a test did to the HSM. */
  async restore(): Promise<void> {
    await this.faults({});
    if (existsSync(`${this.#tokens}.out`)) await this.putBack();
  }

  settings(given: Partial<Pkcs11Settings> = {}): Pkcs11Settings {
    return {
      type: "pkcs11",
      module: this.module,
      token: this.token,
      rootKey: "crk",
      pin: async () => this.pin,
      environment: this.environment,
      deadlineMs: 10_000,
      inFlightMax: 8,
      ...given,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.directory, { recursive: true, force: true });
  }

  get #faultsFile(): string {
    return join(this.directory, "faults");
  }

  get #tokens(): string {
    return join(this.directory, "tokens");
  }

  #util(args: readonly string[]): void {
    const { status, stderr } = spawnSync("softhsm2-util", args, {
      env: this.environment,
      encoding: "utf8",
    });
    if (status !== 0) throw new Error(`softhsm2-util ${args[0]}: ${stderr}`);
  }
}
