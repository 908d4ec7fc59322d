import type { ChildProcess } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { json } from "node:stream/consumers";
import { freePort, until } from "@holdfast/testing";
import { parse, stringify } from "yaml";
import { kill, spawnBound } from "../support/child.ts";
import type { NodeProcess } from "../support/node-process.ts";
import { scaled } from "./scale.ts";

const shipped = join(import.meta.dirname, "../../deploy/prometheus");
/** The receiver to which the shipped alertmanager.yml sends. */
const receiver = "http://127.0.0.1:9095";

/** A notification of a firing alert. */
export interface Arrival {
  readonly alert: string;
  /** Its subject: a node, region, backup or certificate. */
  readonly about: string;
  readonly atMs: number;
}

interface Target {
  readonly node: NodeProcess;
  readonly region: string;
}

type Labels = Readonly<Record<string, string>>;

/**
 * A Prometheus and an Alertmanager with the shipped files for these nodes, and a receiver of the
 * notifications. They scrape every second; the other shipped times are divided by `factor`.
 */
export class Monitoring implements AsyncDisposable {
  /** In order of arrival, each once. */
  readonly arrivals: Arrival[] = [];
  readonly #targets: readonly Target[];
  readonly #stack = new AsyncDisposableStack();
  #url = "";

  private constructor(targets: readonly Target[]) {
    this.#targets = targets;
  }

  /** Resolves once every target is scraped and the watchdog's notification has arrived. */
  static async start(targets: readonly Target[], factor: number): Promise<Monitoring> {
    const monitoring = new Monitoring(targets);
    try {
      await monitoring.#start(factor);
      return monitoring;
    } catch (error) {
      await monitoring[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Prometheus' firing and pending alerts, silenced ones included, without the watchdog. */
  async raised(): Promise<readonly string[]> {
    const { alerts } = await this.#ask<{
      readonly alerts: readonly { readonly labels: Labels }[];
    }>("alerts");
    return alerts
      .map(({ labels }) => `${labels["alertname"]} ${this.#about(labels)}`)
      .filter((name) => !name.startsWith("HoldfastWatchdog"));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }

  async #start(factor: number): Promise<void> {
    const folder = await mkdtemp(join(tmpdir(), "holdfast-alerts-"));
    this.#stack.defer(() => rm(folder, { recursive: true, force: true }));
    const receiving = await this.#receive();
    const read = (name: string) => readFile(join(shipped, name), "utf8");
    const alertmanager = scaled(await read("alertmanager.yml"), factor);
    await writeFile(join(folder, "alertmanager.yml"), alertmanager.replaceAll(receiver, receiving));
    await writeFile(join(folder, "alerts.yaml"), scaled(await read("alerts.yaml"), factor));
    const [port, managerPort] = [await freePort(), await freePort()];
    const config = this.#configuration(await read("prometheus.yml"), managerPort);
    await writeFile(join(folder, "prometheus.yml"), config);
    this.#url = `http://127.0.0.1:${port}`;
    await mkdir(join(folder, "data"));
    await this.#run("prometheus-alertmanager", managerPort, [
      ...[`--config.file=${join(folder, "alertmanager.yml")}`, "--cluster.listen-address="],
      `--storage.path=${join(folder, "alertmanager")}`,
    ]);
    await this.#run("prometheus", port, [
      ...[`--config.file=${join(folder, "prometheus.yml")}`, "--rules.alert.resend-delay=1s"],
      `--storage.tsdb.path=${join(folder, "data")}`,
    ]);
    await until("every target scraped", () => this.#allUp());
    await until("the watchdog", async () =>
      this.arrivals.some(({ alert }) => alert === "HoldfastWatchdog"),
    );
  }

  /** The shipped configuration with these nodes as targets and a scrape every second. */
  #configuration(text: string, managerPort: number): string {
    const config = parse(text);
    const second = { scrape_interval: "1s", scrape_timeout: "1s", evaluation_interval: "1s" };
    Object.assign(config.global, second);
    config.alerting.alertmanagers = [
      { static_configs: [{ targets: [`127.0.0.1:${managerPort}`] }] },
    ];
    config.scrape_configs[0].static_configs = this.#targets.map(({ node, region }) => ({
      targets: [`${node.host}:${node.http}`],
      labels: { region, node: node.name },
    }));
    return stringify(config);
  }

  async #run(program: string, port: number, args: readonly string[]): Promise<void> {
    const listen = `--web.listen-address=127.0.0.1:${port}`;
    const options = { stdio: ["ignore", "ignore", "pipe"] as ["ignore", "ignore", "pipe"] };
    const child: ChildProcess = spawnBound(program, [...args, listen, "--log.level=warn"], options);
    this.#stack.defer(() => kill(child));
    let said = "";
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      said = (said + text).slice(-2_000);
    });
    await until(`${program} to be ready`, async () => {
      if (child.exitCode !== null) throw new Error(`${program} ended:\n${said}`);
      const asked = fetch(`http://127.0.0.1:${port}/-/ready`);
      return (await asked.catch(() => undefined))?.ok === true;
    });
  }

  async #allUp(): Promise<boolean> {
    const { activeTargets } = await this.#ask<{
      readonly activeTargets: readonly { readonly health: string }[];
    }>("targets");
    const healthy = activeTargets.filter(({ health }) => health === "up");
    return healthy.length === this.#targets.length;
  }

  /** Asks Prometheus' API until it answers: it may not be ready just after its start. */
  async #ask<Data>(path: string): Promise<Data> {
    let data: Data | undefined;
    await until(`Prometheus to answer ${path}`, async () => {
      const response = await fetch(`${this.#url}/api/v1/${path}`);
      if (response.ok) ({ data } = (await response.json()) as { readonly data: Data });
      return response.ok || response.statusText;
    });
    return data as Data;
  }

  async #receive(): Promise<string> {
    const port = await freePort();
    const server: Server = createServer((request, response) => {
      void json(request)
        .then((body) => this.#take(body as Notification))
        .finally(() => response.end());
    });
    await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
    this.#stack.defer(() => {
      server.closeAllConnections();
      server.close();
    });
    return `http://127.0.0.1:${port}`;
  }

  #take({ alerts }: Notification): void {
    for (const { status, labels } of alerts) {
      if (status !== "firing") continue;
      const alert = labels["alertname"] ?? "";
      const about = this.#about(labels);
      const known = this.arrivals.some((one) => one.alert === alert && one.about === about);
      if (!known) this.arrivals.push({ alert, about, atMs: performance.now() });
    }
  }

  /** The subject of an alert in one word. */
  #about(labels: Labels): string {
    const node = this.#targets.find(
      ({ node: { host, http } }) => labels["instance"] === `${host}:${http}`,
    );
    const { region, backup_region: backup, owner } = labels as Record<string, string | undefined>;
    return node?.node.name ?? region ?? backup ?? owner ?? "";
  }
}

interface Notification {
  readonly alerts: readonly { readonly status: string; readonly labels: Labels }[];
}
