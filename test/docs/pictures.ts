import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium, type Page } from "playwright-core";
import { commandLine } from "../support/command-line.ts";

/** `npm run pictures`: takes the pictures of the web console that the documents show, from a real cluster. */
const folder = mkdtempSync(join(tmpdir(), "holdfast-pictures-"));
const pictures = join(import.meta.dirname, "..", "..", "docs", "pictures");
const network = `127.${1 + ((process.pid >> 8) % 250)}.${process.pid & 255}`;
const addresses = [31, 32, 33, 34].map((host) => `${network}.${host}`).join();

async function dev(...words: readonly string[]): Promise<string> {
  const said = await commandLine(["dev", ...words, "--dir", folder], { env: process.env });
  if (said.code !== 0) throw new Error(said.err);
  return said.out.trim();
}

/** A region is lost under load: the other one makes keys, and nothing is lost. */
async function watch(page: Page): Promise<void> {
  await page.getByRole("link", { name: "Watch it survive" }).click();
  await page.getByRole("button", { name: "Start the load" }).click();
  await page.locator('[data-count="made"]').filter({ hasText: /\d{3}/ }).waitFor();
  await page.getByLabel("Part").selectOption("region-b");
  await page.getByRole("button", { name: "Kill" }).click();
  await page.getByText("redis-b is killed").waitFor();
  await page.getByText("cannot reach b").first().waitFor();
  await page
    .locator('[data-count="made"]')
    .filter({ hasText: /\d,\d{3}/ })
    .waitFor();
  await page.screenshot({ path: join(pictures, "console-watch.png") });
  await page.getByRole("button", { name: "Stop the load" }).click();
}

try {
  await dev("start", "--detach", "--addresses", addresses, "--port", "5696");
  const { console: address } = JSON.parse(readFileSync(join(folder, "cluster.json"), "utf8"));
  const browser = await chromium.launch({ executablePath: "/usr/bin/chromium" });
  const viewport = { width: 1280, height: 860 };
  const page = await browser.newPage({ ignoreHTTPSErrors: true, viewport });
  page.setDefaultTimeout(120_000);
  await page.goto((await dev("console")).replace(/^.*#/, `${address}#`));
  await page.getByText("both regions have everything").waitFor();
  await page.screenshot({ path: join(pictures, "console-overview.png") });
  await watch(page);
  await browser.close();
} finally {
  await commandLine(["dev", "stop", "--dir", folder], { env: process.env });
  rmSync(folder, { recursive: true, force: true });
}
