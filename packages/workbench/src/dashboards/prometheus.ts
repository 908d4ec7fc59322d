import { spawnSync } from "node:child_process";
import { accessSync, constants, mkdirSync } from "node:fs";
import { delimiter, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Address, checkout, OperatorError, printAddress } from "@holdfast/server/base";
import { stringify } from "yaml";
import { type Folder, makePrivate, writePrivate } from "../base/folder.ts";
import { Child } from "../processes/child.ts";
import { Supervised } from "../processes/supervised.ts";

/** A node to scrape. */
export interface Target {
  readonly region: string;
  readonly name: string;
  readonly http: Address;
}

const byHand = "sudo apt-get install -y --no-install-recommends prometheus";
const readyTimeoutMs = 60_000;
const pollMs = 50;

/** The path of Prometheus; the set-up installs it if this user may do so. */
export function findPrometheus(path = process.env["PATH"] ?? ""): string {
  const found = inPath(path);
  if (found !== undefined) return found;
  spawnSync(process.execPath, [join(checkout, "scripts", "setup.mjs"), "--for=dashboards"], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  const brought = inPath(path);
  if (brought !== undefined) return brought;
  throw new OperatorError(`--dashboards needs Prometheus: run \`${byHand}\` and try again`);
}

function inPath(path: string): string | undefined {
  return [...path.split(delimiter), join(checkout, ".holdfast", "tools", "bin")]
    .filter((folder) => folder !== "")
    .map((folder) => join(folder, "prometheus"))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/** Starts Prometheus for the nodes, with the shipped rules; it keeps one day of data in the cluster's folder. */
export async function startPrometheus(options: {
  readonly program: string;
  readonly folder: Folder;
  readonly address: Address;
  readonly targets: readonly Target[];
  readonly say: (line: string) => void;
  readonly started: () => void;
}): Promise<Supervised> {
  const { program, folder, address, targets, say, started } = options;
  const home = join(folder.root, "prometheus");
  makePrivate(home);
  const config = join(home, "prometheus.yml");
  writePrivate(config, stringify(configOf(targets)));
  mkdirSync(join(home, "data"), { recursive: true, mode: 0o700 });
  const start = () =>
    Child.start({
      name: "prometheus",
      command: program,
      args: [
        `--config.file=${config}`,
        `--storage.tsdb.path=${join(home, "data")}`,
        "--storage.tsdb.retention.time=1d",
        `--web.listen-address=${printAddress(address)}`,
        "--log.level=warn",
      ],
      log: join(folder.log, "prometheus.log"),
    });
  const part = await Supervised.start({ start, refusal: () => undefined, say, restarted: started });
  started();
  await untilReady(part, address);
  return part;
}

/** As `deploy/prometheus/prometheus.yml`, but with scrapes close enough to watch. */
function configOf(targets: readonly Target[]) {
  const rules = join(checkout, "deploy", "prometheus");
  return {
    global: { scrape_interval: "2s", scrape_timeout: "1500ms", evaluation_interval: "2s" },
    rule_files: ["alerts.yaml", "slo.yaml"].map((name) => join(rules, name)),
    scrape_configs: [
      {
        job_name: "holdfast",
        honor_labels: true,
        static_configs: targets.map(({ region, name, http }) => ({
          targets: [printAddress(http)],
          labels: { region, node: name },
        })),
      },
    ],
  };
}

async function untilReady({ child }: Supervised, address: Address): Promise<void> {
  const deadline = performance.now() + readyTimeoutMs;
  for (;;) {
    const url = `http://${printAddress(address)}/-/ready`;
    const ready = await fetch(url).then(
      ({ ok }) => ok,
      () => false,
    );
    if (ready) return;
    if (!child.alive || performance.now() > deadline) {
      throw new OperatorError(
        `Prometheus did not start: ${child.lastWords() ?? "it said nothing"} (${child.log})`,
      );
    }
    await sleep(pollMs);
  }
}
