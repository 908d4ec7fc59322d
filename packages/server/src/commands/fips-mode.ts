import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { checkFipsMode, isFipsMode, providerVariable } from "../base/fips.ts";
import { codeOf, OperatorError, reasonOf } from "../base/operator-error.ts";
import type { Environment, Machine } from "../base/system.ts";
import { loadConfig } from "../config/config.ts";

/** Where Debian, and distributions with `lib64`, have the modules of OpenSSL's providers. */
const moduleFolders = [
  "/usr/lib/x86_64-linux-gnu/ossl-modules",
  "/usr/lib/aarch64-linux-gnu/ossl-modules",
  "/usr/lib64/ossl-modules",
];
const folderPrefix = "holdfast-fips-";
/** The files of an installation: Node's configuration of OpenSSL, and the parameters of the provider. */
const configFileName = "openssl.cnf";
const parametersFileName = "fipsmodule.cnf";
const fileNames: readonly string[] = [configFileName, parametersFileName];
/** By then a program that installs or tries the provider has ended, also on a slow machine. */
const programMs = 60_000;
const configOption = "--openssl-config=";
const install = "apt-get install openssl openssl-provider-fips";

/**
 * If the configuration has `fips: required`, makes this process run with OpenSSL's FIPS provider: installs the provider's
 * module for this start (`openssl fipsinstall` runs its self-tests), and executes this program again, under the same process
 * identifier. Returns if that is not required, or done. Throws an `OperatorError` if it cannot be done.
 */
export function enterFipsMode(configFile: string, { environment }: Machine): void {
  // A process that this function started need not read the configuration again.
  const isStarted = environment[providerVariable] !== undefined && isFipsMode();
  if (!isStarted && loadConfig(configFile).fips === "off") return;
  if (isFipsMode()) {
    removeInstallation(process.execArgv, environment);
    checkFipsMode();
    return;
  }
  if (process.platform !== "linux" || process.execve === undefined) {
    throw refused("it needs Linux");
  }
  const { flags, provider } = installProvider(environment);
  const { execPath, execArgv, argv } = process;
  const args = [execPath, ...execArgv, ...flags, ...argv.slice(1)];
  process.execve(execPath, args, { ...environment, [providerVariable]: provider });
}

/**
 * Removes the installation that this process started with: Node has read its files. Keeps every folder that `enterFipsMode`
 * did not name, or that contains anything else.
 */
export function removeInstallation(execArgv: readonly string[], environment: Environment): void {
  if (environment[providerVariable] === undefined) return;
  const option = execArgv.findLast((arg) => arg.startsWith(configOption));
  const folder = dirname(option?.slice(configOption.length) ?? "");
  if (!basename(folder).startsWith(folderPrefix) || !existsSync(folder)) return;
  if (readdirSync(folder).some((name) => !fileNames.includes(name))) return;
  rmSync(folder, { recursive: true, force: true });
}

/** What `installProvider` made. */
interface Installation {
  /** Its files; Node reads them once, when it starts. */
  readonly folder: string;
  /** Options of Node. */
  readonly flags: readonly string[];
  /** Name and version, such as `OpenSSL FIPS Provider 3.5.7`. */
  readonly provider: string;
}

/**
 * Installs the module of OpenSSL's FIPS provider into a new folder, and tries it with this Node. Throws an `OperatorError` if
 * it is not there, or does not start within `timeoutMs`.
 */
export function installProvider(environment: Environment, timeoutMs = programMs): Installation {
  const folders =
    environment["OPENSSL_MODULES"] === undefined ? moduleFolders : [environment["OPENSSL_MODULES"]];
  const module = folders.map((folder) => join(folder, "fips.so")).find((file) => existsSync(file));
  if (module === undefined) {
    throw refused(`OpenSSL's FIPS provider is not installed (no fips.so in ${folders.join(", ")})`);
  }
  const folder = newFolder(environment);
  try {
    return installInto(folder, module, { environment, timeoutMs });
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}

/** In systemd's folder for this unit, which the image has too, or in the one for temporary files. */
function newFolder({ RUNTIME_DIRECTORY }: Environment): string {
  const reasons: string[] = [];
  for (const parent of [...(RUNTIME_DIRECTORY?.split(":") ?? []), tmpdir()]) {
    try {
      return mkdtempSync(join(parent, folderPrefix));
    } catch (error) {
      reasons.push(reasonOf(error));
    }
  }
  throw new OperatorError(
    `fips: required, but its files cannot be written: ${reasons.join("; ")}; name a writable folder in TMPDIR`,
  );
}

/** How programs are run. */
interface Running {
  readonly environment: Environment;
  readonly timeoutMs: number;
}

function installInto(folder: string, module: string, running: Running): Installation {
  const parameters = join(folder, parametersFileName);
  const config = join(folder, configFileName);
  const said = run("openssl", ["fipsinstall", "-module", module, "-out", parameters], running);
  writeFileSync(config, configText(module, parameters), { mode: 0o600 });
  const flags = [`${configOption}${config}`, "--force-fips"];
  run(process.execPath, [...flags, "--eval", ""], running);
  const part = (name: string) => new RegExp(`^\\s*${name}:\\s*(\\S.*)$`, "m").exec(said)?.[1] ?? "";
  return { folder, flags, provider: `${part("name")} ${part("version")}`.trim() };
}

/** Runs a program; returns what it wrote to standard error. */
function run(
  program: string,
  args: readonly string[],
  { environment, timeoutMs }: Running,
): string {
  // Options of another OpenSSL configuration must not change what is installed and tried here.
  const { OPENSSL_CONF: _conf, NODE_OPTIONS: _options, ...env } = environment;
  const options = { env, encoding: "utf8", timeout: timeoutMs, killSignal: "SIGKILL" } as const;
  const { error, status, stderr } = spawnSync(program, args, options);
  if (error !== undefined) {
    const late = `did not end within ${timeoutMs / 1_000} s`;
    const why: Readonly<Record<string, string>> = { ENOENT: "is not installed", ETIMEDOUT: late };
    throw refused(
      `the program ${basename(program)} ${why[codeOf(error) ?? ""] ?? reasonOf(error)}`,
    );
  }
  if (status === 0) return stderr;
  const last = stderr.trim().split("\n").at(-1) ?? "";
  throw refused(`OpenSSL's FIPS provider does not start: ${last}`);
}

/** The first line is for Node, whose section in OpenSSL's files has this name. */
function configText(module: string, parameters: string): string {
  return `nodejs_conf = init
.include ${parameters}
[init]
providers = providers
alg_section = algorithms
[providers]
fips = fips_sect
base = base_sect
[base_sect]
activate = 1
[fips_sect]
module = ${module}
[algorithms]
default_properties = fips=yes
`;
}

function refused(why: string): OperatorError {
  return new OperatorError(
    `fips: required, but ${why}: run \`${install}\`, or set \`fips: off\` (docs/fips.md)`,
  );
}
