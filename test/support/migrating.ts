import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { KmipClient } from "@holdfast/client";
import { firstToken } from "./admin-api.ts";
import { kill, spawnBound } from "./child.ts";
import { commandLine, type Said } from "./command-line.ts";
import { answered, keyBytes as bytesAt, stateOf as stateAt } from "./keys.ts";
import type { KmipTarget } from "./kmip-socket.ts";
import { program } from "./program.ts";
import type { Region } from "./region.ts";

/** The key's bytes; a busy node is asked again. */
export function keyBytes(at: KmipClient, id: string): Promise<string> {
  return answered(() => bytesAt(at, id));
}

/** The key's State; a busy node is asked again. */
export function stateOf(at: KmipClient, id: string): Promise<string> {
  return answered(() => stateAt(at, id));
}

/** A line of a plan or of a report. */
export type FileLine = Readonly<Record<string, unknown>>;

/** `holdfast migrate` at a region, with all its files in one folder. */
export class Migrating implements Disposable {
  readonly folder = mkdtempSync(join(tmpdir(), "holdfast-migrate-"));
  /** Everything that commands printed. */
  said = "";
  readonly #withinMs: number;
  #site: readonly string[] = [];
  #sides = 0;

  private constructor(withinMs: number) {
    this.#withinMs = withinMs;
  }

  /** `withinMs`: how long a command may run. */
  static async at(region: Region, withinMs = 300_000): Promise<Migrating> {
    const migrating = new Migrating(withinMs);
    const token = await firstToken({ node: region.node(0), ca: region.ca });
    migrating.#site = [
      ...["--url", `https://${region.node(0).host}:${region.node(0).admin}`],
      ...["--ca", migrating.write("admin-ca.pem", region.ca)],
      ...["--token-file", migrating.write("token", `${token}\n`)],
    ];
    return migrating;
  }

  file(name: string): string {
    return join(this.folder, name);
  }

  write(name: string, text: string): string {
    writeFileSync(this.file(name), text, { mode: 0o600 });
    return this.file(name);
  }

  /** The options for the server of a side. */
  side(side: "source" | "target", { host, port, ...target }: KmipTarget): readonly string[] {
    this.#sides += 1;
    const file = (name: string, text: string) => this.write(`side-${this.#sides}-${name}`, text);
    return [
      ...[`--${side}-endpoint`, `${host}:${port}`],
      ...[`--${side}-cert`, file("cert.pem", target.certificate)],
      ...[`--${side}-key`, file("key.pem", target.key)],
      ...[`--${side}-ca`, file("ca.pem", target.ca)],
    ];
  }

  /** Runs a command that asks the management API too. */
  site(...args: readonly string[]): Promise<Said> {
    return this.run(...args, ...this.#site);
  }

  /** Runs a command. */
  async run(...args: readonly string[]): Promise<Said> {
    const env = { XDG_CONFIG_HOME: this.folder };
    const said = await commandLine(["migrate", ...args], {
      env,
      cwd: this.folder,
      withinMs: this.#withinMs,
    });
    this.said += said.out + said.err;
    // On a slow machine there are lines about the progress.
    return { ...said, err: said.err.replaceAll(/^holdfast: \w+: \d+ of \d+, .* left\n/gm, "") };
  }

  /** Begins a command that is killed with SIGKILL as soon as `reached` is true; false if it ended before. */
  async killed(
    args: readonly string[],
    reached: () => Promise<boolean>,
    asksSite = true,
  ): Promise<boolean> {
    const { PATH = "", HOME = "" } = process.env;
    const all = [...args, ...(asksSite ? this.#site : [])];
    const child = spawnBound(process.execPath, [program(), "migrate", ...all], {
      env: { PATH, HOME, XDG_CONFIG_HOME: this.folder },
      cwd: this.folder,
      stdio: "ignore",
    });
    try {
      while (child.exitCode === null) if (await reached()) return true;
      return false;
    } finally {
      await kill(child);
    }
  }

  /** The lines of a plan or a report; the first one says what it is. */
  lines(name: string): readonly FileLine[] {
    const text = readFileSync(this.file(name), "utf8");
    const lines = text.split("\n").filter((line) => line !== "");
    return lines.map((line) => JSON.parse(line) as FileLine);
  }

  /** The line of an object. */
  line(name: string, id: string | undefined): FileLine | undefined {
    return this.lines(name).findLast((line) => line["id"] === id);
  }

  /** The files, and what was printed, in which any of these secrets is, in any form. */
  leaks(secrets: readonly string[], more: readonly string[] = []): readonly string[] {
    const forms = secrets.flatMap((hex) => {
      const bytes = Buffer.from(hex, "hex");
      return [hex, hex.toUpperCase(), bytes.toString("base64"), bytes.toString("latin1")];
    });
    const has = (text: string) => forms.some((form) => text.includes(form));
    const files = readdirSync(this.folder, { recursive: true, encoding: "utf8" })
      .map((name) => this.file(name))
      .filter((path) => statSync(path).isFile());
    const inFiles = files.filter((path) => has(readFileSync(path, "latin1")));
    return [...inFiles, ...[this.said, ...more].filter(has)];
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** SHA-256 of bytes in hex, in hex. */
export function sha256Of(hex: string): string {
  return createHash("sha256").update(Buffer.from(hex, "hex")).digest("hex");
}
