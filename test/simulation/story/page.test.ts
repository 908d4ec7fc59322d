import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { browserMissing, browserNote, startBrowser } from "../../support/browser.ts";
import { firstFailure } from "../first-failure.ts";
import { focusOf } from "../flaw-focus.ts";
import { runHistory } from "../history.ts";
import { promises } from "./promises.ts";
import { pageOf } from "./write-page.ts";

const root = join(import.meta.dirname, "..", "..", "..");

test("refuses a file that it cannot write, in one line", () => {
  const main = ["scripts/run.mjs", "test/simulation/main.ts"];
  const file = join(tmpdir(), "holdfast-no-such-folder", "page.html");
  const { status, stderr, stdout } = spawnSync("node", [...main, "--html", file], {
    cwd: root,
    encoding: "utf8",
  });
  expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
  expect(stderr).toMatch(/^cannot write \S+page\.html: ENOENT: no such file or directory\n$/);
});

describe.skipIf(browserMissing.length > 0)(`the page that plays a history (${browserNote})`, () => {
  let folder = "";
  let chrome: Browser | undefined;
  /** Console messages, errors and requests: none is expected. */
  const told: string[] = [];

  async function open(name: string, text: string): Promise<Page> {
    const file = join(folder, name);
    writeFileSync(file, text);
    const page = await (chrome as Browser).newPage({ reducedMotion: "reduce" });
    const url = pathToFileURL(file).href;
    page.on("console", (message) => told.push(message.text()));
    page.on("pageerror", (error) => told.push(error.message));
    page.on("request", (request) => {
      if (request.url() !== url) told.push(request.url());
    });
    await page.goto(url);
    return page;
  }

  /** Promise → the text of its counter. */
  const countersOf = (page: Page): Promise<Readonly<Record<string, string>>> =>
    page.$$eval("#counters [data-promise]", (items) =>
      Object.fromEntries(
        items.map((item) => [
          item.getAttribute("data-promise") ?? "",
          item.querySelector("b")?.textContent ?? "",
        ]),
      ),
    );
  const kept = Object.fromEntries(promises.map(({ id }) => [id, "0"]));
  const current = (page: Page) => page.locator('#list [aria-current="step"]');

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "holdfast-page-"));
    chrome = await startBrowser();
  });

  afterAll(async () => {
    await chrome?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  test("plays a history to its end without a request, and its counters stay at 0", async () => {
    const { steps } = await runHistory(3, { recorded: true });
    const page = await open("kept.html", await pageOf("Holdfast: history 3", steps));
    await expect.poll(() => page.title()).toBe("Holdfast under faults");
    expect(await page.locator("h1").textContent()).toBe("Holdfast: history 3");
    expect(await page.locator("#drawing rect").count()).toBeGreaterThan(10);

    // Each event, with the keyboard.
    const events = await page.locator("#list li").count();
    expect(events).toBeGreaterThan(20);
    const seen = new Set<string>();
    for (let at = 1; at < events; at++) {
      await page.keyboard.press("ArrowRight");
      expect(await countersOf(page)).toEqual(kept);
      seen.add((await page.locator("#what").textContent()) ?? "");
    }
    expect(seen.size).toBeGreaterThan(20);
    expect(await current(page).textContent()).toMatch(/no promise was broken/);
    await page.keyboard.press("Home");
    expect(await page.locator("#what").textContent()).toMatch(/^History 3: two regions/);

    // By itself, from the last event but one.
    await page.getByLabel("Speed").selectOption("4");
    await page.keyboard.press("End");
    await page.getByRole("button", { name: "One event back" }).click();
    await page.getByRole("button", { name: "Play" }).click();
    await expect.poll(() => current(page).textContent()).toMatch(/no promise was broken/);
    await expect.poll(() => page.getByRole("button", { name: "Play" }).count()).toBe(1);

    // Details, and a chosen event.
    await page.getByLabel("also details").check();
    await expect.poll(() => page.locator("#list li").count()).toBe(steps.length);
    await page.locator("#list button").nth(5).click();
    expect(await page.getByLabel("Event", { exact: true }).inputValue()).toBe("5");

    // Every control has a name.
    const nameless = await page.$$eval("button, input, select", (controls) =>
      controls
        .filter((control) => {
          const name = control.getAttribute("aria-label") ?? control.textContent ?? "";
          return name.trim() === "" && control.closest("label") === null;
        })
        .map(({ id }) => id),
    );
    expect(nameless).toEqual([]);
    await page.close();
    expect(told).toEqual([]);
  });

  test("opens at a broken promise, and counts it", async () => {
    const flaw = "Item Not Found on an unreachable peer";
    const failed = await firstFailure({ flaw, focus: focusOf[flaw], recorded: true });
    const page = await open("broken.html", await pageOf("Holdfast", failed?.steps ?? []));
    expect(await page.locator("#when").textContent()).toMatch(/VIOLATION/);
    expect(await countersOf(page)).toEqual({ ...kept, "not-found": "1" });
    await page.keyboard.press("Home");
    expect(await countersOf(page)).toEqual(kept);
    await page.getByRole("button", { name: "Go to the broken promise" }).click();
    expect(await countersOf(page)).toEqual({ ...kept, "not-found": "1" });
    await page.close();
    expect(told).toEqual([]);
  });
});
