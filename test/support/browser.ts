import { existsSync } from "node:fs";
import axe from "axe-core";
import type { Frame, Page } from "playwright-core";

/** Debian's Chromium. */
export const chromiumProgram = "/usr/bin/chromium";

/** What browser tests need and this machine lacks. */
export const browserMissing = existsSync(chromiumProgram) ? [] : ["chromium"];

/** WCAG 2.2 AA, in the words of axe-core. */
const rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];

/** What axe-core complains about in a page or a frame, each with the first place. */
export async function violationsOf(page: Page | Frame): Promise<readonly string[]> {
  await page.evaluate(axe.source);
  const found = (await page.evaluate(`axe.run({ runOnly: ${JSON.stringify(rules)} })`)) as {
    readonly violations: readonly {
      readonly id: string;
      readonly nodes: readonly { readonly html: string }[];
    }[];
  };
  return found.violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`);
}
