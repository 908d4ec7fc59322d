import type { ChildProcess } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { type Authority, createAuthority, type Issued, selfSigned } from "@holdfast/testing/pki";
import { kill, spawnBound } from "../child.ts";
import type { KmipTarget } from "../kmip-socket.ts";
import type { Told, toldOf } from "./objects.ts";

const program = join(import.meta.dirname, "main.ts");
const since = { notBeforeMs: Date.now() - 3_600_000, days: 2 };

export interface KmipServerOptions {
  /** The versions of KMIP that it speaks, oldest first. */
  readonly versions: readonly string[];
  readonly imports?: boolean;
  /** The client that it lets in; a new one unless given. */
  readonly client?: Issued;
}

interface Running {
  readonly child: ChildProcess;
  readonly lines: AsyncIterator<string>;
  readonly port: number;
}

/** A KMIP server with faults, in a process of its own. */
export class KmipServer implements AsyncDisposable {
  readonly target: KmipTarget;
  readonly #argument: object;
  #running: Running;
  readonly #told: Told[] = [];

  private constructor(running: Running, argument: object, target: KmipTarget) {
    this.#running = running;
    this.#argument = argument;
    this.target = target;
  }

  static async start({ client, ...options }: KmipServerOptions): Promise<KmipServer> {
    const authority: Authority = await createAuthority({ commonName: "Another CA", ...since });
    const own = await authority.issue({ commonName: "source", hosts: ["127.0.0.1"], ...since });
    const issued = client ?? (await selfSigned({ commonName: "migrating", ...since }));
    const argument = { ...options, ...own, clients: issued.certificate };
    const running = await launched(argument);
    const ca = authority.certificate;
    const target = { host: "127.0.0.1", port: running.port, ca, ...issued };
    return new KmipServer(running, argument, target);
  }

  /** Starts it again after its end, with the same objects and no faults. */
  async restart(): Promise<void> {
    await kill(this.#running.child);
    this.#running = await launched({ ...this.#argument, port: this.target.port });
    await this.#tell("put", this.#told);
  }

  /** Puts objects into it; returns their identifiers. */
  async put(...told: readonly Told[]): Promise<readonly string[]> {
    const ids = (await this.#tell("put", told)) as readonly string[];
    this.#told.push(...told.map((one, at) => ({ ...one, id: ids[at] ?? "" })));
    return ids;
  }

  /** Says what goes wrong from now on. */
  async fault(faults: object): Promise<void> {
    await this.#tell("faults", faults);
  }

  /** How often each operation was asked for. */
  async calls(): Promise<Readonly<Record<string, number>>> {
    return (await this.#tell("calls", null)) as Readonly<Record<string, number>>;
  }

  async objects(): Promise<readonly ReturnType<typeof toldOf>[]> {
    return (await this.#tell("objects", null)) as readonly ReturnType<typeof toldOf>[];
  }

  async #tell(ask: string, body: unknown): Promise<unknown> {
    const { child, lines } = this.#running;
    child.stdin?.write(`${JSON.stringify({ ask, body })}\n`);
    const line = await lines.next();
    if (line.done === true) throw new Error("the stand-in has ended");
    return JSON.parse(line.value);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await kill(this.#running.child);
  }
}

async function launched(argument: object): Promise<Running> {
  const child = spawnBound(process.execPath, [program, JSON.stringify(argument)], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  if (child.stdout === null) throw new Error("no standard output");
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const first = await lines.next();
  if (first.done === true) throw new Error("the stand-in ended at its start");
  const { port } = JSON.parse(first.value) as { readonly port: number };
  return { child, lines, port };
}
