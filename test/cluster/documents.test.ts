import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { until } from "@holdfast/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { alertSections } from "../docs/alert-sections.ts";
import { type Block, blocksOf } from "../docs/blocks.ts";
import { pagesThatRun } from "../docs/pages-that-run.ts";
import { DocumentsSite } from "../support/documents-site.ts";
import { hasPykmip, pykmipMissing } from "../support/pykmip.ts";
import { hasSoftHsm, softHsmMissing } from "../support/softhsm.ts";
import {
  fillPlace,
  nodeConfiguration,
  order,
  type Place,
  setups,
  type Words,
  withoutCertificates,
} from "./documents-setups.ts";

let site: DocumentsSite;

beforeAll(async () => {
  site = await DocumentsSite.start();
});

afterAll(async () => {
  await site?.[Symbol.asyncDispose]();
});

test("every page that must run has a set-up", () => {
  expect(Object.keys(setups).toSorted()).toEqual([...pagesThatRun].toSorted());
});

describe("docs/runbook.md", () => {
  let place: Place;
  let words: Words;

  beforeAll(async () => {
    place = { folder: await site.place("runbook"), instance: "runbook" };
    words = await fillPlace(site, place);
    await order(site, place);
    words = { ...words, ...(await nodeConfiguration(site, place)), FILE: "holdfast.yaml" };
    await site.ready();
  });

  // These commands change nothing: each is run once, on a healthy cluster.
  const all = alertSections().flatMap(({ alert, confirmations }) =>
    confirmations.map((confirmation) => ({ alert, ...confirmation })),
  );
  test.each([...Map.groupBy(all, ({ command }) => command)])(
    "%s runs, and prints what the page expects",
    async (command, alerts) => {
      // On a healthy cluster they print an empty list.
      const nothing =
        /^(holdfast: no (certificates|backups|events|denials|policies|requests for approvals)\n)?$/;
      // On a busy machine the cluster may not be healthy for a moment.
      await until(command, async () => {
        await site.ready();
        const { code, out, err } = await site.shell(replaced(command, words), place.folder);
        const lacking = alerts.flatMap(({ alert, shows }) =>
          shows.filter((word) => !out.includes(word)).map((word) => `${alert}: ${word}`),
        );
        const isRight = code === 0 && nothing.test(err) && lacking.length === 0;
        return isRight || `exit ${code}: ${err}${out} lacks ${lacking.join(", ")}`;
      });
    },
  );
});

const pages = Object.entries(setups).filter(([page]) => !page.includes("pkcs11") || hasSoftHsm());
if (!hasSoftHsm()) test.skip(`docs/root-of-trust-pkcs11.md: ${softHsmMissing}`, () => {});

describe.each(pages)("%s", (page, setup) => {
  const blocks = blocksOf(page);
  const runnable = blocks.filter(
    ({ language, mark }) => (language === "" || language === "sh") && !mark.startsWith("not run:"),
  );
  let place: Place;
  let words: Words;

  beforeAll(async () => {
    const instance = `page-${page.toLowerCase().replace(/\W+/g, "-")}`;
    place = { folder: await site.place(instance), instance };
    words = await fillPlace(site, place);
    if (setup.ordered) await order(site, place);
    words = { ...words, ...(await setup.prepare?.(site, place)) };
    await writeFile(join(place.folder, "instances.yaml"), lastYaml(blocks, words));
  });

  // The blocks of a page depend on each other: the results after a failure mean nothing.
  let failed = false;

  const able = runnable.filter(({ text }) => !text.includes("python3") || hasPykmip());
  if (able.length < runnable.length) test.skip(`one block: ${pykmipMissing}`, () => {});

  test.each(able.map((block) => ({ block, line: block.line })))(
    "the block in line $line runs",
    async ({ block }) => {
      expect(failed).toBe(false);
      failed = true;
      let broken = false;
      for (const script of scriptsOf(block, words)) {
        broken = / dev (kill|freeze|cut)/.test(script) || (broken && !script.includes("dev heal"));
        if (!broken && !script.includes("dev heal")) await site.ready();
        const { code, out, err } = await site.shell(script, place.folder);
        if (code !== 0) throw new Error(`${script}\nexit ${code}: ${err}${out.slice(-2_000)}`);
      }
      if (setup.alternatives) await withoutCertificates(site, place);
      failed = false;
    },
  );
});

/** A block with its words replaced; in lines if it heals the cluster, which takes a moment. */
function scriptsOf({ text }: Block, words: Words): readonly string[] {
  const script = replaced(text, words);
  return script.includes("dev heal") ? script.split("\n") : [script];
}

function replaced(text: string, words: Words): string {
  return Object.entries(words).reduce((sofar, [word, value]) => {
    const literal = word.replace(/[.\\/]/g, "\\$&");
    return sofar.replace(new RegExp(`(?<![\\w-])${literal}(?![\\w-])`, "g"), () => value);
  }, text);
}

/** The last YAML block, which a page tells the reader to save before its commands. */
function lastYaml(blocks: readonly Block[], words: Words): string {
  const { text = "" } = blocks.findLast(({ language }) => language === "yaml") ?? {};
  return replaced(text, words);
}
