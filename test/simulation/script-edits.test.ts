import { expect, test } from "vitest";
import { loadScripts } from "../../packages/redis/src/connection/scripts.ts";
import { scriptEdits } from "./script-edits.ts";

test.each(Object.entries(scriptEdits))("a flaw (%s) finds its texts in a script", (_, edits) => {
  const scripts = Object.values(loadScripts());
  for (const [find] of edits) {
    const found = scripts.filter(({ source }) => source.includes(find));
    expect(found.length, find).toBeGreaterThan(0);
  }
});
