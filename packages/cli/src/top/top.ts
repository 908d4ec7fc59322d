import { setTimeout as sleep } from "node:timers/promises";
import { type Command, InvalidArgumentError } from "commander";
import { findDevCluster, type NodeMetrics, readDevMetrics } from "../sites/dev-cluster.ts";
import { Failure } from "../terminal/failure.ts";
import { figuresOf, type Watched } from "./figures.ts";
import { gauges, readScrape, type Scrape } from "./scrape.ts";
import { screenOf } from "./screen.ts";

interface TopOptions {
  readonly metrics?: readonly string[];
  readonly dev?: string | true;
  readonly once?: true;
  readonly interval: number;
}

const askedMs = 1500;
const onceMs = 1000;
const pipeColumns = 200;
/** q, Q, Ctrl-C and Ctrl-D. */
const endKeys: readonly number[] = [0x71, 0x51, 0x03, 0x04];

/** `holdfast top`: reads the nodes' metrics, which need no token. */
export function addTop(program: Command): void {
  program
    .command("top")
    .description(
      "Show live whether the service is healthy: what clients get, what each node does, and what is wrong. It reads the nodes' metrics and needs no token.",
    )
    .option(
      "--metrics <url>",
      "a node's metrics, such as http://kms-1.example:9464 (HOLDFAST_METRICS, separated by commas); once for each node",
      collect,
    )
    .option(
      "--dev [folder]",
      "a development cluster; by default the checkout's, if no node is given",
    )
    .option("--once", "print it once, and exit with code 1 if something is bad")
    .option("--interval <seconds>", "time between two updates, 1 to 60", secondsOf, 2)
    .action(async (options: TopOptions) => {
      const nodes = nodesOf(options).map((node) => new WatchedNode(node));
      if (options.once === true) return await once(nodes);
      if (process.stdout.isTTY !== true || process.stdin.isTTY !== true) {
        throw new Failure("top needs a terminal: give --once to print once");
      }
      await live(nodes, options.interval * 1000);
    });
}

function nodesOf({ metrics, dev }: TopOptions): readonly NodeMetrics[] {
  const given = metrics ?? process.env["HOLDFAST_METRICS"]?.split(",").filter(Boolean).map(urlOf);
  if (given !== undefined && given.length > 0 && dev === undefined) {
    return given.map((url) => ({ url, region: "?", node: new URL(url).host }));
  }
  const path = typeof dev === "string" ? dev : findDevCluster(process.cwd());
  if (path === undefined) {
    throw new Failure(
      "no node is given and no development cluster runs here: give --metrics http://host:9464 for each node, or run `npm start`",
    );
  }
  return readDevMetrics(path);
}

/** A node that is scraped repeatedly. */
class WatchedNode {
  readonly #url: string;
  #scrapes: readonly Scrape[] = [];
  /** The configured names at first; later those that the node itself reports. */
  #who: { readonly region: string; readonly node: string };

  constructor({ url, ...who }: NodeMetrics) {
    this.#url = url;
    this.#who = who;
  }

  async look(): Promise<void> {
    const now = await this.#ask();
    if (now === undefined) {
      this.#scrapes = [];
      return;
    }
    const { region, node } = gauges(now, "holdfast_build_info")[0]?.labels ?? {};
    if (region !== undefined && node !== undefined) this.#who = { region, node };
    this.#scrapes = [this.#scrapes.at(-1) ?? now, now];
  }

  get seen(): Watched {
    const [before, now] = this.#scrapes;
    const pair = before === undefined || now === undefined ? undefined : ([before, now] as const);
    return { url: this.#url, ...this.#who, pair };
  }

  async #ask(): Promise<Scrape | undefined> {
    try {
      const answer = await fetch(`${this.#url}/metrics`, { signal: AbortSignal.timeout(askedMs) });
      const text = await answer.text();
      return answer.ok ? readScrape(text, performance.now()) : undefined;
    } catch {
      return undefined;
    }
  }
}

async function lookAll(nodes: readonly WatchedNode[]) {
  await Promise.all(nodes.map((node) => node.look()));
  const seen = nodes.map((node) => node.seen);
  const place = ({ region, node }: Watched) => `${region} ${node}`;
  return seen.toSorted((one, other) => place(one).localeCompare(place(other)));
}

async function once(nodes: readonly WatchedNode[]): Promise<void> {
  await lookAll(nodes);
  await sleep(onceMs);
  const figures = figuresOf(await lookAll(nodes), Date.now());
  const columns = process.stdout.columns ?? pipeColumns;
  const lines = screenOf(figures, clock(), { columns, rows: undefined, colour: hasColour() });
  // Not by `say`, which would escape the colours.
  process.stdout.write(lines.map((line) => `${line}\n`).join(""));
  if (figures.wrong.some(([level]) => level === "bad")) process.exitCode = 1;
}

/** Runs until `q` or a signal, on the terminal's alternate screen; then restores the terminal. */
async function live(nodes: readonly WatchedNode[], everyMs: number): Promise<void> {
  const ending = new AbortController();
  const end = () => ending.abort();
  const { stdin, stdout } = process;
  const last: { watched: readonly Watched[] } = { watched: [] };
  const draw = () => {
    const room = { columns: stdout.columns, rows: stdout.rows, colour: hasColour() };
    const lines = screenOf(figuresOf(last.watched, Date.now()), `${clock()}  q quits`, room);
    stdout.write(`\x1b[H${lines.map((line) => `${line}\x1b[K`).join("\r\n")}\x1b[J`);
  };
  const key = (bytes: Buffer) => {
    if (bytes.some((byte) => endKeys.includes(byte))) end();
  };
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const name of signals) process.once(name, end);
  stdin.setRawMode(true).on("data", key);
  stdout.on("resize", draw).write("\x1b[?1049h\x1b[?25l");
  try {
    while (!ending.signal.aborted) {
      last.watched = await lookAll(nodes);
      draw();
      await sleep(everyMs, undefined, { signal: ending.signal }).catch(() => undefined);
    }
  } finally {
    stdout.off("resize", draw).write("\x1b[?25h\x1b[?1049l");
    stdin.setRawMode(false).off("data", key).pause();
    for (const name of signals) process.off(name, end);
  }
}

function hasColour(): boolean {
  const { NO_COLOR = "", TERM = "" } = process.env;
  return process.stdout.isTTY === true && NO_COLOR === "" && TERM !== "dumb";
}

function clock(): string {
  return `${new Date().toISOString().slice(0, 19)}Z`;
}

function collect(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, urlOf(text)];
}

function urlOf(text: string): string {
  if (/^https?:\/\/[^/\s]+\/?$/.test(text) && URL.canParse(text)) return text.replace(/\/$/, "");
  throw new Failure(`--metrics ${text}: is not an address such as http://kms-1.example:9464`);
}

function secondsOf(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= 60) return value;
  throw new InvalidArgumentError("It must be a whole number from 1 to 60.");
}
