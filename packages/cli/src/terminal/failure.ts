import { X509Certificate } from "node:crypto";
import { closeSync, existsSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { printable } from "@holdfast/admin/approval-text";

/** What went wrong and how to fix it, on one line; the user sees nothing else of the error. */
export class Failure extends Error {
  override readonly name = "Failure";
}

/** The message of anything thrown, on one line; what is not a space, and could mislead its reader, is escaped. */
export function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return printable(text.replace(/[\s\p{Cc}]+/gu, " ").trim());
}

const standardInput = 0;

const fileFaults: Readonly<Record<string, string>> = {
  ENOENT: "no such file; give another path",
  ENOTDIR: "no such file; give another path",
  EISDIR: "is a directory; give a file",
  EACCES: "permission denied; make it readable, or give another path",
};

/** Reads a file that an option or argument names, if any; `-` is standard input. */
export function readGiven(option: string, path: string): Buffer {
  try {
    return readFileSync(path === "-" ? standardInput : path);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    throw new Failure(`${option} ${path}: ${fileFaults[code] ?? reasonOf(error)}`.trimStart());
  }
}

/** Refuses a path at which something is: it may hold another key. */
export function refuseExisting(option: string, path: string): void {
  if (existsSync(path)) throw new Failure(`${option} ${path} exists already; give another path`);
}

/** Writes a new file; it never replaces one, and leaves none that is cut short. */
export function writeNew(option: string, path: string, text: string, mode = 0o600): void {
  refuseExisting(option, path);
  try {
    const file = openSync(path, "wx", mode);
    try {
      writeWhole(file, text);
    } catch (error) {
      rmSync(path, { force: true });
      throw error;
    }
  } catch (error) {
    throw new Failure(`${option} ${path}: ${reasonOf(error)}`);
  }
}

/** Writes a file to the disk and closes it: some disks say only then that they are full. */
function writeWhole(file: number, text: string): void {
  try {
    writeFileSync(file, text, { flush: true });
  } finally {
    closeSync(file);
  }
}

/** Reads a PEM file with a certificate. */
export function readCertificate(option: string, path: string): string {
  const pem = readGiven(option, path).toString("utf8");
  if (!pem.includes("-----BEGIN CERTIFICATE-----")) {
    throw new Failure(
      `${option} ${path}: holds no certificate (-----BEGIN CERTIFICATE-----)`.trimStart(),
    );
  }
  try {
    new X509Certificate(pem);
    return pem;
  } catch (error) {
    throw new Failure(
      `${option} ${path}: holds no usable certificate: ${reasonOf(error)}`.trimStart(),
    );
  }
}
