import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { kill, spawnBound } from "../child.ts";
import { commandLine, type Said } from "../command-line.ts";

/** The user of the stand-in. */
export const vcenterUser = "administrator@vsphere.local";
const password = "a password of vCenter";
const program = join(import.meta.dirname, "main.ts");

/** A stand-in for a vCenter in a process of its own, and the command line at it. */
export class StandIn implements AsyncDisposable {
  readonly port: number;
  /** PEM of its authority. */
  readonly ca: string;
  readonly certificate: string;
  readonly #child: ChildProcess;
  readonly #folder: string;

  constructor(
    child: ChildProcess,
    folder: string,
    {
      port,
      ca,
      certificate,
    }: { readonly port: number; readonly ca: string; readonly certificate: string },
  ) {
    this.#child = child;
    this.#folder = folder;
    this.port = port;
    this.ca = ca;
    this.certificate = certificate;
    writeFileSync(this.file("ca.pem"), ca);
    writeFileSync(this.file("password"), `${password}\n`, { mode: 0o600 });
  }

  get url(): string {
    return `https://localhost:${this.port}`;
  }

  /** The password, which must never be shown. */
  get password(): string {
    return password;
  }

  file(name: string): string {
    return join(this.#folder, name);
  }

  /** Tells it what it has or what goes wrong next, or asks it what was called. */
  async tell(path: string, body: object = {}): Promise<unknown> {
    const asked = request({
      ...{ host: "localhost", port: this.port, path, method: "POST", ca: this.ca, agent: false },
    });
    asked.end(JSON.stringify(body));
    const [answer] = (await once(asked, "response")) as [NodeJS.ReadableStream];
    const said = await text(answer);
    return said === "" ? undefined : JSON.parse(said);
  }

  /** Runs `holdfast vcenter` with the right user, password and authority; later options win. */
  async command(
    [verb = "", ...words]: readonly string[],
    how: readonly string[] = ["--vcenter-ca", this.file("ca.pem")],
  ): Promise<Said> {
    const login = ["--user", vcenterUser, "--password-file", this.file("password")];
    const args = ["vcenter", verb, ...login, ...how, ...words];
    return await commandLine(args, { env: { XDG_CONFIG_HOME: this.#folder }, cwd: this.#folder });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await kill(this.#child);
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Starts it. */
export async function startVcenter(): Promise<StandIn> {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-vcenter-"));
  const child = spawnBound(process.execPath, [program, vcenterUser, password], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream });
  const [line] = (await once(lines, "line")) as [string];
  return new StandIn(child, folder, JSON.parse(line) as ConstructorParameters<typeof StandIn>[2]);
}
