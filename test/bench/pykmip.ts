import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, until } from "@holdfast/testing";
import type { Message, Target } from "./load-plan.ts";
import { create } from "./messages.ts";
import { Contexts, positionsOf, refusalIn, Wire } from "./wire.ts";

const python = "/usr/bin/python3";
const startMs = 20_000;
/** A Unique Identifier of any length; PyKMIP's identifiers are short numbers. */
const uniqueIdentifier = Buffer.from("42009407", "hex");

/** How to install Debian's PyKMIP if it is missing. */
export const pykmipMissing =
  "PyKMIP is not installed: skipped (sudo apt-get install python3-pykmip)";

/** The installed version; undefined if PyKMIP is not installed. */
export function pykmipVersion(): string | undefined {
  if (!existsSync(python)) return undefined;
  const code = "import importlib.metadata as m, kmip; print(m.version('PyKMIP'))";
  const { status, stdout } = spawnSync(python, ["-W", "ignore", "-c", code], { encoding: "utf8" });
  return status === 0 ? stdout.trim() : undefined;
}

/** PyKMIP's server with SQLite in its own folder; it supports only TLS 1.2. */
export class PykmipServer implements AsyncDisposable {
  readonly target: Target;
  readonly #folder: string;
  #child: ChildProcess | undefined;

  private constructor(target: Target, folder: string) {
    this.target = target;
    this.#folder = folder;
  }

  static async start(pki: {
    readonly ca: string;
    readonly serverCertificate: string;
    readonly serverKey: string;
    readonly clientCertificate: string;
    readonly clientKey: string;
  }): Promise<PykmipServer> {
    const folder = await mkdtemp(join(tmpdir(), "holdfast-pykmip-"));
    const { ca, clientCertificate: certificate, clientKey: key } = pki;
    const target = { host: "127.0.0.1", port: await freePort(), ca, certificate, key };
    const server = new PykmipServer(target, folder);
    try {
      await server.#configure(pki.serverCertificate, pki.serverKey);
      await server.#boot();
      return server;
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** Makes a key, and returns a Get for it. */
  async makeKey(getOf: (id: string) => Message): Promise<Message> {
    const wire = await Wire.open(this.target, new Contexts());
    try {
      const answer = await wire.exchange(Buffer.from(create.bytes, "base64"));
      const refusal = refusalIn(answer);
      const at = positionsOf(answer, uniqueIdentifier)[0];
      if (refusal !== undefined || at === undefined) throw new Error(`PyKMIP: Create: ${refusal}`);
      return getOf(answer.toString("latin1", at + 8, at + 8 + answer.readUInt32BE(at + 4)));
    } finally {
      await wire.destroy();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const child = this.#child;
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      const gone = once(child, "exit");
      child.stdin?.end();
      await gone;
    }
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #configure(serverCertificate: string, serverKey: string): Promise<void> {
    const file = async (name: string, content: string): Promise<string> => {
      const path = join(this.#folder, name);
      await writeFile(path, content, { mode: 0o600 });
      return path;
    };
    await mkdir(join(this.#folder, "policy"));
    const certificate = await file("server.pem", serverCertificate);
    const key = await file("server-key.pem", serverKey);
    const client = await file("client.pem", this.target.certificate);
    const settings = {
      hostname: this.target.host,
      port: this.target.port,
      // Debian's patch gives these two to Python in the wrong order.
      certificate_path: key,
      key_path: certificate,
      ca_path: client,
      auth_suite: "TLS1.2",
      tls_cipher_suites: "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
      enable_tls_client_auth: "False",
      policy_path: join(this.#folder, "policy"),
      database_path: join(this.#folder, "database"),
      logging_level: "CRITICAL",
    };
    const lines = Object.entries(settings).map(([name, value]) => `${name}=${value}`);
    await file("server.conf", ["[server]", ...lines, ""].join("\n"));
  }

  async #boot(): Promise<void> {
    const script = join(import.meta.dirname, "pykmip-server.py");
    const args = ["-W", "ignore", script, join(this.#folder, "server.conf")];
    // It has its own process group: it starts helpers, and ends with them when its input is closed.
    const child = spawn(python, [...args, join(this.#folder, "log")], {
      stdio: ["pipe", "ignore", "ignore"],
      detached: true,
    });
    this.#child = child;
    const contexts = new Contexts();
    await until(
      "PyKMIP's server",
      async () => {
        if (child.exitCode !== null) throw new Error("PyKMIP's server ended at its start");
        const wire = await Wire.open(this.target, contexts).catch(() => undefined);
        await wire?.destroy();
        return wire !== undefined;
      },
      startMs,
    );
  }
}
