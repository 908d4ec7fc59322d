import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";
import { kill } from "./child.ts";
import type { KmipTarget } from "./kmip-socket.ts";

const python = "/usr/bin/python3";
const script = join(import.meta.dirname, "pykmip_session.py");
/** Ends a PyKMIP that hangs; a busy machine may take long to start it. */
const answerTimeoutMs = 300_000;

/** Whether Debian's PyKMIP is installed. */
export function hasPykmip(): boolean {
  return spawnSync(python, ["-c", "import kmip"], { stdio: "ignore" }).status === 0;
}

/** How to install it. */
export const pykmipMissing = "PyKMIP is missing: apt-get install -y python3-pykmip, as root";

/** A failure of the operation, with KMIP's reason, or of PyKMIP itself. */
export class PykmipError extends Error {
  override readonly name = "PykmipError";
  /** `failure` for a KMIP result, otherwise the class of the Python exception. */
  readonly kind: string;
  readonly reason: string | undefined;
  constructor(error: {
    readonly kind: string;
    readonly reason?: string;
    readonly message: string;
  }) {
    super(`${error.kind} ${error.reason ?? ""}: ${error.message}`);
    this.kind = error.kind;
    this.reason = error.reason;
  }
}

/** The configuration of PyKMIP. */
export interface PykmipOptions {
  readonly version: string;
  /** Lines of its configuration file, such as `username=`; without them it sends no credential. */
  readonly lines?: readonly string[];
  /** The only version of TLS. */
  readonly tls?: "TLSv1_2" | "TLSv1_3";
}

/** A Python process in which PyKMIP clients run. */
export class PykmipProcess implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #folder: string;
  #sessions = 0;
  /** One call at a time. */
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(child: ChildProcess, lines: Interface, folder: string) {
    this.#child = child;
    this.#lines = lines[Symbol.asyncIterator]();
    this.#folder = folder;
  }

  static async start(): Promise<PykmipProcess> {
    const folder = await mkdtemp(join(tmpdir(), "holdfast-pykmip-"));
    const child = spawn(python, ["-I", script], { stdio: ["pipe", "pipe", "ignore"] });
    if (child.stdout === null) throw new TypeError("no standard output");
    return new PykmipProcess(child, createInterface(child.stdout), folder);
  }

  /** Connects a client; rejects if the server cannot be verified. */
  async open(target: KmipTarget, options: PykmipOptions): Promise<Pykmip> {
    this.#sessions += 1;
    const session = this.#sessions;
    const config = await writeConfig(join(this.#folder, `${session}`), target, options.lines ?? []);
    const { version, tls } = options;
    const opened = await this.call(session, "open", { config, version, ...(tls && { tls }) });
    const about = opened as { readonly tls: string; readonly verifies: boolean };
    if (!about.verifies) throw new Error("PyKMIP does not verify the server");
    return new Pykmip(this, session, about.tls);
  }

  /** Calls a method of a session; rejects with a `PykmipError`. */
  call(session: number, name: string, args: Readonly<Record<string, unknown>>): Promise<unknown> {
    const answer = this.#turn.then(async () => {
      const timer = setTimeout(() => this.#child.kill("SIGKILL"), answerTimeoutMs);
      this.#child.stdin?.write(`${JSON.stringify({ session, call: name, arguments: args })}\n`);
      const line = await this.#lines.next();
      clearTimeout(timer);
      if (line.done === true) throw new Error(`PyKMIP ended, or did not answer ${name} in time`);
      const said = JSON.parse(line.value);
      if (said.error !== undefined) throw new PykmipError(said.error);
      return said.ok;
    });
    this.#turn = answer.catch(() => undefined);
    return answer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await kill(this.#child);
    await rm(this.#folder, { recursive: true, force: true });
  }
}

/** A PyKMIP client with one connection. */
export class Pykmip implements AsyncDisposable {
  /** The negotiated version of TLS. */
  readonly tls: string;
  readonly #process: PykmipProcess;
  readonly #session: number;

  constructor(process: PykmipProcess, session: number, tls: string) {
    this.#process = process;
    this.#session = session;
    this.tls = tls;
  }

  /** Calls a method of the session; rejects with a `PykmipError`. */
  call(name: string, args: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    return this.#process.call(this.#session, name, args);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.call("close");
  }
}

async function writeConfig(
  folder: string,
  target: KmipTarget,
  lines: readonly string[],
): Promise<string> {
  await mkdir(folder);
  const file = async (name: string, text: string): Promise<string> => {
    const path = join(folder, name);
    await writeFile(path, text, { mode: 0o600 });
    return path;
  };
  return file(
    "client.conf",
    [
      "[client]",
      `host=${target.host}`,
      `port=${target.port}`,
      `ca_certs=${await file("ca.pem", target.ca)}`,
      `certfile=${await file("client.pem", target.certificate)}`,
      `keyfile=${await file("client.key", target.key)}`,
      "cert_reqs=CERT_REQUIRED",
      "ssl_version=PROTOCOL_SSLv23",
      "do_handshake_on_connect=True",
      "suppress_ragged_eofs=True",
      ...lines,
      "",
    ].join("\n"),
  );
}
