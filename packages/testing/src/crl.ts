import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** The properties of a revocation list to make. */
export interface CrlRequest {
  /** Serial numbers of revoked certificates, hex. */
  readonly serials?: readonly string[];
  /** The CRL number; undefined = none. */
  readonly number?: number | undefined;
  /** Milliseconds since the epoch; an hour ago, and in an hour, if left out. */
  readonly thisUpdateMs?: number;
  readonly nextUpdateMs?: number;
  /** Further lines of the section of extensions, and what they refer to, as OpenSSL's configuration writes them. */
  readonly extensions?: readonly string[];
  readonly sections?: readonly string[];
  /** Further options of `openssl ca`. */
  readonly options?: readonly string[];
}

const hourMs = 3_600_000;

/** Has OpenSSL make a revocation list (PEM) of an authority, whose certificate and key are PEM. */
export function makeCrl(
  authority: { readonly certificate: string; readonly key: string },
  request: CrlRequest,
): string {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-crl-"));
  try {
    const write = (name: string, lines: readonly string[]) =>
      writeFileSync(join(folder, name), lines.map((line) => `${line}\n`).join(""));
    write("ca.pem", [authority.certificate]);
    write("ca.key", [authority.key]);
    const { serials = [], number, extensions = [], sections = [], options = [] } = request;
    write("index.txt", serials.map(revoked));
    write("number", [even((number ?? 0).toString(16))]);
    const common = ["database = index.txt", "default_md = sha256", "default_crl_days = 1"];
    const numbered = number === undefined ? [] : ["crlnumber = number"];
    const extended = extensions.length === 0 ? [] : ["crl_extensions = more"];
    write("config", [
      ...["[ca]", "default_ca = own", "[own]", ...common, ...numbered, ...extended],
      ...["[more]", ...extensions, ...sections],
    ]);
    const { thisUpdateMs = Date.now() - hourMs, nextUpdateMs = Date.now() + hourMs } = request;
    const times = [
      "-crl_lastupdate",
      timeOf(thisUpdateMs),
      "-crl_nextupdate",
      timeOf(nextUpdateMs),
    ];
    const files = ["-cert", "ca.pem", "-keyfile", "ca.key", "-out", "list.pem"];
    const all = ["ca", "-gencrl", "-config", "config", ...files, ...times, ...options];
    execFileSync("openssl", all, { cwd: folder, stdio: "pipe" });
    return readFileSync(join(folder, "list.pem"), "utf8");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A line of OpenSSL's list of certificates. */
function revoked(serial: string): string {
  const reason = "260101000000Z,keyCompromise";
  return ["R", "491231235959Z", reason, even(serial).toUpperCase(), "unknown", "/CN=x"].join("\t");
}

function even(hex: string): string {
  return hex.length % 2 === 0 ? hex : `0${hex}`;
}

/** YYYYMMDDHHMMSSZ. */
function timeOf(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19).replaceAll(/\D/g, "")}Z`;
}
