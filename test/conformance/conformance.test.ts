import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { corpusFolder, findCorpusFiles, groupFiles, readCorpusFile } from "./corpus.ts";
import { isRefused } from "./lacking.ts";
import { runOnOwnServer } from "./run.ts";

const root = join(import.meta.dirname, "../..");
const folder = corpusFolder(undefined, root);
const paths = findCorpusFiles(folder, undefined);

const list = join(folder, "foundation-cases.txt");
/** The files that must pass, according to the corpus. */
const listed = existsSync(list) ? readFileSync(list, "utf8").split(/\s+/).filter(Boolean) : [];

/** Cases that the page of vSphere's features names as proof of an operation. */
const named = new Set(
  readFileSync(join(root, "docs/vsphere-compatibility.md"), "utf8").match(
    /\b(SKFF|SKLC|SASED)-M-\d+-\d\d\b|\bTC_\d+_\d\d\b/g,
  ),
);

/** Families and test cases that a server with these operations must pass in every version. */
const whole = /\/(BL|SKLC|SKFF|SASED|TL)-[MO]-/;

test.skipIf(paths.length === 0)(
  `every document below ${folder} passes, or fails for a known missing feature (needs KMIP_CORPUS)`,
  async () => {
    const files = paths.map((path) => readCorpusFile(folder, path));
    const report = await runOnOwnServer(groupFiles(files));
    const failed = report.files.filter(({ verdict }) => verdict === "failed");
    expect(failed.map(({ file, detail }) => `${file}: ${detail}`)).toEqual([]);
    const notWhole = report.files.filter(
      ({ file, verdict }) => whole.test(file) && verdict !== "passed" && !isRefused(file),
    );
    expect(notWhole).toEqual([]);
    const passed = new Set(
      report.files.filter(({ verdict }) => verdict === "passed").map(({ file }) => file),
    );
    expect(listed.filter((file) => !passed.has(file) && !isRefused(file))).toEqual([]);
    expect(named.size).toBeGreaterThan(5);
    const shown = [...passed].map((file) => /([^/]+)\.xml$/.exec(file)?.[1] ?? "");
    expect(
      [...named].filter(
        (name) =>
          !isRefused(`${name}_`) && !shown.some((file) => `${file}_`.startsWith(`${name}_`)),
      ),
    ).toEqual([]);
  },
);
