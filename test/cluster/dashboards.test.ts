import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { KmipClient, type TlsCredentials } from "@holdfast/client";
import { type Dashboard, dashboards } from "@holdfast/server";
import { freePort, until } from "@holdfast/testing";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { browserMissing, startBrowser } from "../support/browser.ts";
import { holdfast } from "../support/command-line.ts";
import { createKey } from "../support/keys.ts";

const root = join(import.meta.dirname, "..", "..");
const missing = [
  ...browserMissing,
  ...["prometheus", "tmux"].filter((program) => spawnSync(program, ["-V"]).error !== undefined),
];

/** Loopback addresses that only this process uses. */
const network = `127.${1 + ((process.pid >> 8) % 250)}.${process.pid & 255}`;
const addresses = [11, 12, 13, 14].map((host) => `${network}.${host}`);

/** Panels for which this test makes no fault: they keep the text of the `quiet` field. */
const untouched = new Set([
  "overview: Age of the last backup",
  "roots: Grace that is left",
  "roots: Calls to key managers",
  "roots: Call duration, slowest of a hundred",
  "store: Changes begun again",
  "node: Audit entries not yet at their sink",
  "node: Audit log not yet cosigned",
  "node: Revocation lists end in",
]);

interface ClusterFile {
  readonly nodes: readonly { readonly kmip: string; readonly admin: string }[];
  readonly ca: string;
  readonly clientCertificate: string;
  readonly clientKey: string;
}

/** A free port, where the next port is free too. */
async function freePair(): Promise<number> {
  let first = await freePort();
  for (;;) {
    const second = await freePort();
    if (second === first + 1) return first;
    first = second;
  }
}

/** Clients that connect and leave, make keys, read them, and ask for some that do not exist. */
async function load(file: ClusterFile, signal: AbortSignal): Promise<void> {
  const tls: TlsCredentials = {
    ca: readFileSync(file.ca, "utf8"),
    certificate: readFileSync(file.clientCertificate, "utf8"),
    key: readFileSync(file.clientKey, "utf8"),
  };
  for (let at = 0; !signal.aborted; at++) {
    const { kmip = "" } = file.nodes[at % file.nodes.length] ?? {};
    await round(kmip, tls).catch(() => sleep(200));
    await sleep(50);
  }
}

async function round(endpoint: string, tls: TlsCredentials): Promise<void> {
  await using client = await KmipClient.connect({ endpoints: [endpoint], tls });
  const id = await createKey(client);
  for (let reads = 0; reads < 5; reads++) await client.get({ uniqueIdentifier: id });
  await client.activate({ uniqueIdentifier: id });
  const unknown = "00000000-0000-4000-8000-000000000000";
  await client.get({ uniqueIdentifier: unknown }).catch(() => undefined);
}

interface PanelState {
  readonly title: string;
  readonly state: string;
  readonly text: string;
}

async function statesOf(page: Page): Promise<readonly PanelState[]> {
  return await page.$$eval("section", (sections) =>
    sections.map((section) => ({
      title: section.getAttribute("data-title") ?? "",
      state: section.getAttribute("data-state") ?? "none yet",
      text: section.querySelector(".body")?.textContent ?? "",
    })),
  );
}

/** The panels without figures, except untouched ones with their quiet text. */
async function wrongOf(page: Page, { id, groups }: Dashboard): Promise<readonly string[]> {
  const shown = await statesOf(page);
  return groups
    .flatMap(({ panels }) => panels)
    .flatMap(({ title, quiet }) => {
      const { state = "not there", text = "" } = shown.find((one) => one.title === title) ?? {};
      const isQuiet = untouched.has(`${id}: ${title}`) && state === "quiet" && text === quiet;
      return state === "data" || isQuiet ? [] : [`${title}: ${state} ${text}`];
    });
}

/** A terminal in which `holdfast top` runs. */
class Terminal {
  readonly #name = `holdfast-top-${process.pid}`;

  constructor(folder: string, environment: string) {
    // The tests themselves may run without colours.
    const command = `env -u NO_COLOR -u FORCE_COLOR ${environment} ${join(root, "node_modules", ".bin", "holdfast")} top --dev ${folder} --interval 1; echo ended with $?; exec cat`;
    this.#tmux("new-session", "-d", "-x", "80", "-y", "24", command);
  }

  get screen(): string {
    return this.#tmux("capture-pane", "-p", "-e");
  }

  resize(columns: number, rows: number): void {
    this.#tmux("resize-window", "-x", String(columns), "-y", String(rows));
  }

  press(key: string): void {
    this.#tmux("send-keys", key);
  }

  close(): void {
    this.#tmux("kill-server");
  }

  #tmux(...args: readonly string[]): string {
    const { stdout } = spawnSync("tmux", ["-L", this.#name, "-f", "/dev/null", ...args], {
      encoding: "utf8",
    });
    return stdout;
  }
}

describe.skipIf(missing.length > 0)(
  `a cluster with dashboards (needs chromium, prometheus and tmux; missing: ${missing.join(", ") || "none"})`,
  () => {
    let folder = "";
    let base = "";
    let cluster: ChildProcess | undefined;
    const ending = new AbortController();
    const loads: Promise<void>[] = [];
    const file = (): ClusterFile => JSON.parse(readFileSync(join(folder, "cluster.json"), "utf8"));

    beforeAll(async () => {
      folder = mkdtempSync(join(tmpdir(), "holdfast-dashboards-"));
      const port = await freePair();
      base = `http://127.0.0.1:${port}/`;
      const started = spawn(
        "node",
        [
          ...["scripts/run.mjs", "packages/cli/src/main.ts", "dev", "start", "--dir", folder],
          ...["--addresses", addresses.join(","), "--dashboards", String(port)],
        ],
        { cwd: root, stdio: ["ignore", "pipe", "pipe"] },
      );
      cluster = started;
      const output = { out: "", err: "" };
      started.stdout.setEncoding("utf8").on("data", (text) => {
        output.out += text;
      });
      started.stderr.setEncoding("utf8").on("data", (text) => {
        output.err += text;
      });
      await until(
        "the address of the dashboards",
        () => output.out.includes(`dashboards   ${base}`) || started.exitCode !== null,
      );
      expect(output.err).toBe("");
      expect(started.exitCode).toBe(null);
      loads.push(...[1, 2].map(() => load(file(), ending.signal)));
    });

    afterAll(async () => {
      ending.abort();
      await Promise.all(loads);
      if (cluster !== undefined && cluster.exitCode === null) {
        cluster.kill("SIGTERM");
        await once(cluster, "exit");
      }
      await holdfast("dev", "stop", "--dir", folder);
      rmSync(folder, { recursive: true, force: true });
    });

    test("holdfast top prints the state of the nodes once", async () => {
      await until("every node serves", async () => {
        const { out, err } = await holdfast("top", "--once", "--dev", folder);
        if (!/4 of 4 nodes answer.*\na1 +a +serves +own .*\nGet +[1-9]/s.test(out)) return out;
        expect(err).toBe("");
        expect(out).not.toContain("\x1b");
        return true;
      });
    });

    test("every panel shows figures under load while faults run", async () => {
      const chrome = await startBrowser();
      try {
        const page = await chrome.newPage();
        page.setDefaultTimeout(300_000);
        const told: string[] = [];
        page.on("console", (message) => told.push(message.text()));
        page.on("pageerror", (error) => told.push(error.message));
        page.on("request", (request) => {
          const url = request.url();
          if (!url.startsWith(base) && !url.startsWith("data:")) told.push(url);
        });

        // Prometheus has seen the regions in reach of each other before they are cut off.
        const inReach = encodeURIComponent(
          "count(count_over_time((holdfast_peer_up == 1)[6h:1m]))",
        );
        await expect
          .poll(async () => await (await fetch(`${base}api/v1/query?query=${inReach}`)).text())
          .toMatch(/,"4"\]/);
        // Changes are acknowledged alone, a node is down, and an unknown token is used at the API.
        expect((await holdfast("dev", "cut", "--dir", folder)).code).toBe(0);
        expect((await holdfast("dev", "kill", "b2", "--stay", "--dir", folder)).code).toBe(0);
        // On a busy machine a node may answer nobody for a moment.
        await until("an unknown token is refused", async () => {
          const status = await strangerAt(file());
          return status === "401" || status;
        });

        for (const dashboard of dashboards) {
          await page.goto(`${base}#${dashboard.id}`);
          let looks = 0;
          const wrong = async () => {
            const found = await wrongOf(page, dashboard);
            looks += 1;
            // Prints what is missing, makes another event, and loads the page again, as a person would.
            if (found.length > 0 && looks % 60 === 0) {
              process.stdout.write(`    ${dashboard.id}, not there yet: ${found.join("; ")}\n`);
              await strangerAt(file());
              await page.reload();
            }
            return found;
          };
          await expect.poll(wrong, { timeout: 600_000, interval: 500 }).toEqual([]);
        }

        // A variable filters what is shown.
        await page.goto(`${base}#node`);
        await page.getByLabel("Node").selectOption("a1");
        await expect
          .poll(async () => (await statesOf(page)).find(({ title }) => title === "Memory")?.text)
          .toMatch(/^a1[^b]*$/);
        expect(told).toEqual([]);
      } finally {
        await chrome.close();
      }
    });

    test("holdfast top shows a node that dies, fits its terminal, and restores it at its end", async () => {
      await holdfast("dev", "heal", "--dir", folder);
      const terminal = new Terminal(folder, "NO_COLOR=1");
      try {
        await expect.poll(() => terminal.screen).toContain("4 of 4 nodes answer");
        expect((await holdfast("dev", "kill", "a2", "--stay", "--dir", folder)).code).toBe(0);
        await until("a2 alone does not answer", () => {
          const { screen } = terminal;
          if (!screen.includes("✗ a2 does not answer")) return screen;
          if (!/3 of 4 nodes answer.*\na2 +a +is silent/s.test(screen)) return screen;
          expect(screen).not.toContain("\x1b");
          return true;
        });
        terminal.resize(40, 10);
        await expect
          .poll(() =>
            terminal.screen
              .trimEnd()
              .split("\n")
              .map((line) => line.length > 40),
          )
          .toEqual(expect.not.arrayContaining([true]));
        await expect.poll(() => terminal.screen).toContain("✗ a2 does not answer");
        terminal.press("q");
        await expect.poll(() => terminal.screen).toContain("ended with 0");
        expect(terminal.screen).not.toContain("nodes answer");
      } finally {
        terminal.close();
      }
      expect((await holdfast("top", "--once", "--dev", folder)).code).toBe(1);
    });

    test("holdfast top uses colours unless something forbids them", async () => {
      const terminal = new Terminal(folder, "TERM=screen");
      try {
        await expect.poll(() => terminal.screen).toContain("\x1b[31m");
      } finally {
        terminal.close();
      }
    });
  },
);

/** The management API's answer to an unknown token. */
async function strangerAt({ nodes: [node], ca }: ClusterFile): Promise<string> {
  const ask = `fetch("https://${node?.admin}/v1/instances", { headers: { authorization: "Bearer stranger" } }).then(({ status }) => console.log(status))`;
  const { stdout } = spawnSync("node", ["-e", ask], {
    encoding: "utf8",
    env: { ...process.env, NODE_EXTRA_CA_CERTS: ca },
  });
  return stdout.trim();
}
