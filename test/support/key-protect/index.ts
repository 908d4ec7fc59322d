import { type ChildProcess, fork } from "node:child_process";
import { randomBytes, randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "@holdfast/testing";
import { createAuthority } from "@holdfast/testing/pki";
import { kill } from "../child.ts";
import type { Command, KeyChange, NewKeys, SeenCall } from "./control.ts";
import type { Fault } from "./faults.ts";
import {
  type KeyManagerKind,
  newWorld,
  type Role,
  type Settings,
  worldFile,
  writeWorld,
} from "./world.ts";

const entry = join(import.meta.dirname, "main.ts");
const dayMs = 86_400_000;

/** Starts a stand-in for Key Protect, Dedicated Key Protect or HPCS, with IAM, in its own process. */
export async function startKeyManager(options: {
  readonly kind: KeyManagerKind;
}): Promise<KeyManager> {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-key-manager-"));
  const when = { notBeforeMs: Date.now() - dayMs, days: 3 };
  const authority = await createAuthority({ commonName: "Key manager CA", ...when });
  const hosts = ["127.0.0.1", "localhost"];
  const server = await authority.issue({ commonName: "Key manager", hosts, ...when });
  writeFileSync(join(folder, "ca.crt"), authority.certificate);
  writeFileSync(join(folder, "tls.crt"), server.certificate);
  writeFileSync(join(folder, "tls.key"), server.key, { mode: 0o600 });
  const ports = [await freePort(), await freePort(), await freePort()] as const;
  const manager = new KeyManager(options.kind, folder, authority.certificate, ports);
  const { kind, instanceId, apiKey } = manager;
  writeWorld(join(folder, worldFile), newWorld(kind, instanceId, apiKey));
  await manager.start();
  return manager;
}

/** A stand-in, which can be killed and restarted with all its data. */
export class KeyManager implements AsyncDisposable {
  readonly kind: KeyManagerKind;
  readonly instanceId = randomUUID();
  readonly apiKey: string = randomBytes(33).toString("base64url");
  /** PEM of the authority of both listeners' certificates; `caFile` is the same as a file. */
  readonly ca: string;
  readonly caFile: string;
  /** `host:port` of the key manager and of IAM, for settings; the URLs are for clients. */
  readonly host: string;
  readonly iamHost: string;
  readonly url: string;
  readonly iamUrl: string;
  readonly #folder: string;
  readonly #ports: readonly [number, number, number];
  #child: ChildProcess | undefined;

  constructor(
    kind: KeyManagerKind,
    folder: string,
    ca: string,
    ports: readonly [number, number, number],
  ) {
    this.kind = kind;
    this.ca = ca;
    this.caFile = join(folder, "ca.crt");
    this.#folder = folder;
    this.#ports = ports;
    this.host = `127.0.0.1:${ports[0]}`;
    this.iamHost = `127.0.0.1:${ports[1]}`;
    this.url = `https://${this.host}`;
    this.iamUrl = `https://${this.iamHost}`;
  }

  async start(): Promise<void> {
    const args = [this.#folder, this.#ports.join(",")];
    const child = fork(entry, args, { execArgv: [] });
    this.#child = child;
    const [news] = (await Promise.race([once(child, "message"), once(child, "exit")])) as unknown[];
    if (news !== "ready") throw new Error(`the key manager did not start: exit ${String(news)}`);
  }

  /** Kills it at once, also during a call; from then on connections are refused. */
  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    await kill(child);
  }

  /** Kills it if it runs, and starts it with all its data, but without faults. */
  async restart(): Promise<void> {
    await this.kill();
    await this.start();
  }

  /** Freezes it: the kernel accepts connections, but nothing answers. */
  freeze(): void {
    this.#child?.kill("SIGSTOP");
  }

  thaw(): void {
    this.#child?.kill("SIGCONT");
  }

  /** Makes a root key (or another key by the options); returns its ID. */
  async createRootKey(name = "root key", options: Omit<NewKeys, "names"> = {}): Promise<string> {
    const [id = ""] = await this.createKeys([name], options);
    return id;
  }

  async createKeys(
    names: readonly string[],
    options: Omit<NewKeys, "names"> = {},
  ): Promise<readonly string[]> {
    return (await this.#tell({ do: "createKeys", keys: { ...options, names } })) as string[];
  }

  /** Changes a key at once, without the API's rules about times and states. */
  async change(id: string, change: KeyChange): Promise<void> {
    await this.#tell({ do: "change", id, change });
  }

  async createRing(id: string): Promise<void> {
    await this.#tell({ do: "createRing", id });
  }

  /** Switches on a fault; with several faults, the first that applies to a call counts. */
  async switch(fault: Fault): Promise<void> {
    await this.#tell({ do: "fault", fault });
  }

  /** Switches every fault off. */
  async heal(): Promise<void> {
    await this.#tell({ do: "heal" });
  }

  async settings(settings: Partial<Settings>): Promise<void> {
    await this.#tell({ do: "settings", settings });
  }

  /** Changes the role of the service ID. */
  async role(role: Role): Promise<void> {
    await this.#tell({ do: "role", role });
  }

  /** Replaces the service ID's API key; IAM no longer knows the old one. */
  async replaceApiKey(apiKey: string): Promise<void> {
    await this.#tell({ do: "apiKey", old: this.apiKey, new: apiKey });
  }

  /** Revokes all tokens that were issued before. */
  async revokeTokens(): Promise<void> {
    await this.#tell({ do: "revokeTokens" });
  }

  /** Sets its clock forward. */
  async advance(ms: number): Promise<void> {
    await this.#tell({ do: "advance", ms });
  }

  /** The calls since the last reset, and the most that ran at the same time. */
  async calls(
    options: { readonly reset?: boolean } = {},
  ): Promise<{ readonly calls: readonly SeenCall[]; readonly mostInFlight: number }> {
    const said = await this.#tell({ do: "calls", reset: options.reset ?? false });
    return said as { calls: SeenCall[]; mostInFlight: number };
  }

  async close(): Promise<void> {
    await this.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #tell(command: Command): Promise<unknown> {
    const response = await fetch(`http://127.0.0.1:${this.#ports[2]}/`, {
      method: "POST",
      body: JSON.stringify(command),
    });
    const { said, error } = (await response.json()) as { said?: unknown; error?: string };
    if (error !== undefined) throw new Error(`key manager: ${error}`);
    return said;
  }
}
