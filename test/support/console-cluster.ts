import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AdminClient } from "@holdfast/admin";
import { ConnectionError, KmipClient } from "@holdfast/client";
import { until } from "@holdfast/testing";
import { type Issued, selfSigned } from "@holdfast/testing/pki";
import { PatientClient } from "./admin-api.ts";
import { commandLine } from "./command-line.ts";
import { answered, createKey } from "./keys.ts";

interface ClusterFile {
  readonly nodes: readonly { readonly node: string; readonly admin: string }[];
  readonly ca: string;
  readonly managerToken: string;
  readonly console: string;
}

type ClientPair = Readonly<Record<"certificate" | "key", string>>;

/** Loopback addresses that only this process uses. */
const network = `127.${1 + ((process.pid >> 8) % 250)}.${process.pid & 255}`;
const startMs = 600_000;

/** A development cluster of two regions, with the web console of its first node. */
export class ConsoleCluster implements AsyncDisposable {
  readonly #folder: string;
  /** Where the console is. */
  readonly console: string;
  /** May do everything. */
  readonly token: string;
  readonly admin: AdminClient;
  readonly #ca: string;

  private constructor(folder: string) {
    this.#folder = folder;
    const file = JSON.parse(readFileSync(join(folder, "cluster.json"), "utf8")) as ClusterFile;
    this.console = file.console;
    this.#ca = readFileSync(file.ca, "utf8");
    this.token = readFileSync(file.managerToken, "utf8").trim();
    const urls = file.nodes.map(({ admin }) => `https://${admin}`);
    this.admin = new PatientClient({ urls, ca: this.#ca, token: this.token });
  }

  /** Starts the cluster; `hosts` are the last parts of its four addresses. */
  static async start(hosts: readonly number[]): Promise<ConsoleCluster> {
    const folder = mkdtempSync(join(tmpdir(), "holdfast-console-"));
    const addresses = hosts.map((host) => `${network}.${host}`).join();
    try {
      await dev(folder, "start", "--detach", "--addresses", addresses, "--port", "5800");
      return new ConsoleCluster(folder);
    } catch (error) {
      await stop(folder);
      throw error;
    }
  }

  /** Where the console's node is: what `enter` needs. */
  get origin(): string {
    return new URL(this.console).origin;
  }

  /** The path of a node's configuration. */
  configFile(node: string): string {
    return join(this.#folder, "nodes", `${node}.yaml`);
  }

  /** Runs a command of `holdfast dev` at the cluster; answers what it printed. */
  dev(...words: readonly string[]): Promise<string> {
    return dev(this.#folder, ...words);
  }

  /** Orders an instance under local roots of trust, and waits until clients may connect. */
  async order(name: string): Promise<void> {
    const regions = { a: { type: "local" }, b: { type: "local" } } as const;
    const body = { name, rootOfTrust: { regions } };
    await this.admin.call("createInstance", { body });
    await until(`${name} is Installed`, async () => {
      const { status } = await this.admin.call("readInstance", { params: { instance: name } });
      return status === "Installed" || status;
    });
  }

  /** Orders an instance, and adds a client's certificate, which this returns with its key. */
  async withClient(instance: string, commonName: string): Promise<Issued> {
    await this.order(instance);
    const notBeforeMs = Date.now() - 3_600_000;
    const pair = await selfSigned({ commonName, notBeforeMs, days: 30 });
    const body = { name: commonName, pem: pair.certificate };
    await this.admin.call("addCertificate", { params: { instance }, body });
    return pair;
  }

  /** A client of an instance, at its first endpoint; waits until it is let in. */
  client(instance: string, pair: ClientPair): Promise<KmipClient> {
    return answered(() => this.#connect(instance, pair));
  }

  /** Tries to make a key as a client, until its node has refused it for its certificate. */
  async refuses(instance: string, pair: ClientPair): Promise<void> {
    const asking = async () => {
      await using client = await this.#connect(instance, pair);
      return await createKey(client);
    };
    await until(`a client of ${instance} is refused`, async () => {
      const error: unknown = await asking().catch((thrown: unknown) => thrown);
      if (!(error instanceof Error)) throw new Error(`a client of ${instance} was let in`);
      return (error instanceof ConnectionError && error.refused) || error;
    });
  }

  async #connect(instance: string, { certificate, key }: ClientPair): Promise<KmipClient> {
    return KmipClient.connect({
      endpoints: [await this.endpoint(instance)],
      tls: { ca: this.#ca, certificate, key },
      version: "1.4",
      connectTimeoutMs: 60_000,
      requestTimeoutMs: 60_000,
    });
  }

  /** The first endpoint of an instance, host:port. */
  async endpoint(instance: string): Promise<string> {
    const { regions } = await this.admin.call("readInstance", { params: { instance } });
    return regions["a"]?.endpoints[0] ?? "";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.admin[Symbol.asyncDispose]();
    await stop(this.#folder);
  }
}

async function dev(folder: string, ...words: readonly string[]): Promise<string> {
  const options = { env: process.env, withinMs: startMs };
  const { code, out, err } = await commandLine(["dev", ...words, "--dir", folder], options);
  if (code !== 0) throw new Error(`holdfast dev ${words.join(" ")}: ended with ${code}: ${err}`);
  return out.trim();
}

async function stop(folder: string): Promise<void> {
  await commandLine(["dev", "stop", "--dir", folder], { env: process.env });
  rmSync(folder, { recursive: true, force: true });
}
