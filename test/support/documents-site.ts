import { spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { AdminClient } from "@holdfast/admin";
import { until } from "@holdfast/testing";
import { parse, stringify } from "yaml";
import { compileCache } from "../../scripts/setup/common.mjs";
import type { Said } from "./command-line.ts";
import { type KeyManager, startKeyManager } from "./key-protect/index.ts";
import { sources } from "./program.ts";
import { hasSoftHsm, SoftHsm } from "./softhsm.ts";

/** What ends a script that hangs. */
const boundMs = 600_000;

/** The parts of `cluster.json` that are read. */
interface Cluster {
  readonly nodes: readonly {
    readonly node: string;
    readonly http: string;
    readonly admin: string;
  }[];
  readonly ca: string;
  readonly managerToken: string;
}

/**
 * A development cluster whose nodes also reach the stand-ins for Key Protect, Dedicated Key Protect and HPCS, and a SoftHSM token if it is
 * installed; and a shell in which `holdfast` and `npx holdfast` are this checkout's.
 */
export class DocumentsSite implements AsyncDisposable {
  readonly folder: string;
  readonly keyProtect: KeyManager;
  readonly dedicated: KeyManager;
  readonly hpcs: KeyManager;
  readonly hsm: SoftHsm | undefined;
  /** The folder of the development cluster. */
  readonly dev: string;
  readonly #resources: AsyncDisposableStack;
  cluster: Cluster = { nodes: [], ca: "", managerToken: "" };

  private constructor(
    parts: Pick<DocumentsSite, "folder" | "keyProtect" | "dedicated" | "hpcs" | "hsm">,
    resources: AsyncDisposableStack,
  ) {
    this.folder = parts.folder;
    this.keyProtect = parts.keyProtect;
    this.dedicated = parts.dedicated;
    this.hpcs = parts.hpcs;
    this.hsm = parts.hsm;
    this.dev = join(parts.folder, ".holdfast", "dev");
    this.#resources = resources;
  }

  static async start(): Promise<DocumentsSite> {
    await using stack = new AsyncDisposableStack();
    const folder = await mkdtemp(join(tmpdir(), "holdfast-documents-"));
    stack.defer(() => rm(folder, { recursive: true, force: true }));
    const keyProtect = stack.use(await startKeyManager({ kind: "key-protect" }));
    const dedicated = stack.use(await startKeyManager({ kind: "dedicated-key-protect" }));
    const hpcs = stack.use(await startKeyManager({ kind: "hpcs" }));
    await keyProtect.createRing("vmware");
    const hsm = hasSoftHsm() ? stack.use(await SoftHsm.open()) : undefined;
    const parts = { folder, keyProtect, dedicated, hpcs, hsm };
    const site = new DocumentsSite(parts, new AsyncDisposableStack());
    await site.#makePrograms();
    stack.defer(() => site.#holdfast("dev", "stop").then(() => undefined));
    // Other clusters may start on this machine at the same time.
    const net = `127.${randomInt(60, 250)}.${randomInt(1, 250)}`;
    const addresses = [1, 2, 3, 4].map((host) => `${net}.${host}`).join(",");
    const where = ["--addresses", addresses, "--port", "28696"];
    await site.#must("dev", "start", "--detach", ...where);
    site.cluster = JSON.parse(await readFile(join(site.dev, "cluster.json"), "utf8")) as Cluster;
    await site.#reachRoots();
    const token = (await readFile(site.cluster.managerToken, "utf8")).trim();
    const ca = await readFile(site.cluster.ca, "utf8");
    site.#admin = new AdminClient({ urls: site.urls, token, ca });
    stack.use(site.#admin);
    site.#resources.use(stack.move());
    return site;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#resources.disposeAsync();
  }

  #admin: AdminClient | undefined;

  get admin(): AdminClient {
    if (this.#admin === undefined) throw new Error("the cluster has not started");
    return this.#admin;
  }

  /** The URLs of the nodes' management APIs. */
  get urls(): readonly string[] {
    return this.cluster.nodes.map(({ admin }) => `https://${admin}`);
  }

  /** Makes a folder in which a page's blocks run; its `.holdfast` is the cluster's. */
  async place(name: string): Promise<string> {
    const path = join(this.folder, name);
    await mkdir(path);
    await symlink(join(this.folder, ".holdfast"), join(path, ".holdfast"));
    return path;
  }

  /** Writes a file with the first node's configuration and changed settings. */
  async writeConfig(
    path: string,
    change: (config: Record<string, unknown>) => void,
  ): Promise<void> {
    const config = parse(await readFile(join(this.dev, "nodes", "a1.yaml"), "utf8"));
    change(config as Record<string, unknown>);
    await writeFile(path, stringify(config));
  }

  /** Runs a shell script in a folder, as a user does; it ends at the first failed command. */
  async shell(script: string, folder: string): Promise<Said> {
    const child = spawn("bash", ["-euo", "pipefail", "-c", script], {
      cwd: folder,
      env: { ...this.#environment(), XDG_CONFIG_HOME: folder, HOME: folder },
      stdio: ["ignore", "pipe", "pipe"],
      timeout: boundMs,
    });
    const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
    const [out, err, code] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
    return { code, out, err };
  }

  /** Waits until every node serves. */
  async ready(): Promise<void> {
    await until("every node is ready", async () => {
      const answers = this.cluster.nodes.map(({ http }) =>
        fetch(`http://${http}/readyz`, { signal: AbortSignal.timeout(5_000) }).then(
          ({ ok }) => ok,
          () => false,
        ),
      );
      return (await Promise.all(answers)).every(Boolean);
    });
  }

  #environment(): Record<string, string> {
    return {
      PATH: `${join(this.folder, "bin")}:${process.env["PATH"] ?? ""}`,
      H: `${this.urls[0]}/v1`,
      KP: this.keyProtect.url,
      IAM: this.keyProtect.iamUrl,
      // For calls that name no authority: those to IBM's services.
      CURL_CA_BUNDLE: this.keyProtect.caFile,
      ...compileCache,
      ...(this.hsm === undefined
        ? {}
        : { SOFTHSM2_CONF: this.hsm.environment["SOFTHSM2_CONF"] ?? "" }),
    };
  }

  /**
   * `holdfast` of this checkout; its development cluster is this one. On a busy machine a store may have no lease for a
   * moment, so a command that should be tried again (exit code 3, 503) is retried.
   */
  async #makePrograms(): Promise<void> {
    const bin = join(this.folder, "bin");
    await mkdir(bin);
    const holdfast = [
      `if [ "$1" = dev ]; then set -- "$@" --dir "${this.dev}"; fi`,
      "code=0",
      "for try in $(seq 60); do",
      `  "${process.execPath}" "${sources}" "$@" && exit 0 || code=$?`,
      // Healed parts take a moment to come back; until then status reports them.
      '  case "$code $1 $2" in "3 "*|"1 dev status") ;; *) exit $code ;; esac',
      "  sleep 1",
      "done",
      "exit $code",
    ];
    const programs = {
      holdfast: holdfast.join("\n"),
      npx: `[ "$1" = holdfast ] || exit 64\nshift\nexec "${bin}/holdfast" "$@"`,
      curl: 'exec /usr/bin/curl --retry 60 --retry-delay 1 "$@"',
    };
    for (const [name, lines] of Object.entries(programs)) {
      await writeFile(join(bin, name), `#!/bin/sh\n${lines}\n`);
      await chmod(join(bin, name), 0o755);
    }
  }

  /** Gives every node the groups of `rootOfTrust` that it needs, and starts it again. */
  async #reachRoots(): Promise<void> {
    const group = ({ host, iamHost, caFile }: KeyManager) => ({ host, iamHost, ca: caFile });
    const groups = {
      keyProtect: group(this.keyProtect),
      dedicatedKeyProtect: group(this.dedicated),
      hpcs: group(this.hpcs),
      ...(this.hsm === undefined ? {} : { pkcs11: { module: this.hsm.module } }),
    };
    for (const { node } of this.cluster.nodes) {
      const file = join(this.dev, "nodes", `${node}.yaml`);
      const config = parse(await readFile(file, "utf8")) as { rootOfTrust: object };
      config.rootOfTrust = { ...config.rootOfTrust, ...groups };
      await writeFile(file, stringify(config));
    }
    for (const { node } of this.cluster.nodes) await this.#must("dev", "kill", node);
    await this.ready();
  }

  #holdfast(...args: readonly string[]): Promise<Said> {
    return this.shell(`holdfast ${args.join(" ")}`, this.folder);
  }

  async #must(...args: readonly string[]): Promise<void> {
    const { code, out, err } = await this.#holdfast(...args);
    if (code !== 0) throw new Error(`holdfast ${args.join(" ")}: exit ${code}: ${err}${out}`);
  }
}
