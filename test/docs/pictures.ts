import { join } from "node:path";
import type { Page } from "playwright-core";
import { openPage, startBrowser } from "../support/browser.ts";
import { ConsoleCluster } from "../support/console-cluster.ts";

/** `npm run pictures`: takes the pictures of the web console that the documents show, from a real cluster. */
const pictures = join(import.meta.dirname, "..", "..", "docs", "pictures");

/** A region is lost under load: the other one makes keys, and nothing is lost. */
async function watch(page: Page): Promise<void> {
  await page.getByRole("link", { name: "Watch it survive" }).click();
  await page.getByRole("button", { name: "Start the load" }).click();
  await page.locator('[data-count="made"]').filter({ hasText: /\d{3}/ }).waitFor();
  await page.getByLabel("Part").selectOption("region-b");
  await page.getByRole("button", { name: "Kill", exact: true }).click();
  await page.getByText("redis-b is killed").waitFor();
  await page.getByText("cannot reach b").first().waitFor();
  await page
    .locator('[data-count="made"]')
    .filter({ hasText: /\d,\d{3}/ })
    .waitFor();
  await page.screenshot({ path: join(pictures, "console-watch.png") });
  await page.getByRole("button", { name: "Stop the load" }).click();
}

await using cluster = await ConsoleCluster.start([31, 32, 33, 34]);
const browser = await startBrowser();
try {
  const { page } = await openPage(browser, { viewport: { width: 1280, height: 860 } });
  await page.goto((await cluster.dev("console")).replace(/^.*#/, `${cluster.console}#`));
  await page.getByText("both regions have everything").waitFor();
  await page.screenshot({ path: join(pictures, "console-overview.png") });
  await watch(page);
} finally {
  await browser.close();
}
