import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, readdirSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Pkcs11Settings } from "@holdfast/root-of-trust";

export const softHsmMissing = "SoftHSM is missing: apt-get install -y softhsm2, as root";

/** Where Debian and its neighbours put the module. */
export function softHsmModule(): string | undefined {
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

/** Whether tokens can be made here, and whether the add-on that calls them was built. */
export function hasSoftHsm(): boolean {
  return softHsmModule() !== undefined && spawnSync("softhsm2-util", ["--version"]).status === 0;
}

/** SoftHSM with a folder of its own for its tokens. */
export class SoftHsm implements AsyncDisposable {
  readonly directory: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly module: string;
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

  /** Makes a token. */
  addToken(label: string): void {
    const pins = ["--so-pin", this.soPin, "--pin", this.pin];
    this.#util(["--init-token", "--free", "--label", label, ...pins]);
  }

  /** Takes the tokens out of their reader. */
  async takeOut(): Promise<void> {
    await rename(this.#tokens, `${this.#tokens}.out`);
    await mkdir(this.#tokens);
  }

  /** Puts them back. */
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
