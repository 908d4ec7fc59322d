import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { eventMetrics, parseConfig, readMetrics } from "@holdfast/server";
import { expect, test } from "vitest";
import { alertSections } from "./alert-sections.ts";
import { pages } from "./blocks.ts";
import { wrongIn } from "./command-check.ts";
import { configuration } from "./configuration.ts";
import { documents } from "./generate.ts";
import { fileSettings, settingsIn } from "./settings.ts";
import { holdfastCommands } from "./shell.ts";

const root = join(import.meta.dirname, "..", "..");

test.each(Object.entries(documents))(
  "%s is up to date with the tables (if not: npm run docs)",
  async (path, make) => {
    expect(readFileSync(join(root, path), "utf8")).toBe(await make());
  },
);

test.each([
  "deploy/holdfast.example.yaml",
  ...["a1", "a2", "b1", "b2"].map((node) => `deploy/compose/${node}.yaml`),
])("%s is a valid configuration", (path) => {
  expect(parseConfig(readFileSync(join(root, path), "utf8"), path)).toBeTypeOf("object");
});

test("the runbook has a section for every alert, and for no other", () => {
  const alerts = readFileSync(join(root, "deploy/prometheus/alerts.yaml"), "utf8");
  const named = [...alerts.matchAll(/- alert: (\w+)/g)].map(([, name]) => name);
  const told = alertSections().map(({ alert }) => alert);
  expect(named.length).toBeGreaterThan(10);
  expect(told).toEqual(named);
});

test("every alert's section says what users notice, one command that confirms it, and what to do", () => {
  const wrong = alertSections().flatMap(({ alert, text, confirmations }) => {
    const parts = ["Users notice", "Confirm", "Do"].filter(
      (part) => !new RegExp(`^- ${part}: \\S`, "m").test(text),
    );
    const faults = confirmations.flatMap(({ command }) =>
      holdfastCommands(command).flatMap((words) => wrongIn(words, { sketch: false }) ?? []),
    );
    return [
      ...parts.map((part) => `${alert}: no "${part}"`),
      ...(confirmations.length === 0 ? [`${alert}: no command`] : []),
      ...faults.map((fault) => `${alert}: ${fault}`),
    ];
  });
  expect(wrong).toEqual([]);
});

test("alerts and runbook name only existing metrics", () => {
  // Prometheus makes these three series from a histogram.
  const suffixes = { counter: [""], gauge: [""], histogram: ["", "_bucket", "_sum", "_count"] };
  const known = new Set(
    [...eventMetrics, ...readMetrics].flatMap(({ name, type }) =>
      suffixes[type].map((suffix) => `${name}${suffix}`),
    ),
  );
  for (const path of ["deploy/prometheus/alerts.yaml", "docs/runbook.md"]) {
    const names = readFileSync(join(root, path), "utf8").match(/\bholdfast_\w+/g) ?? [];
    expect(names.filter((name) => !known.has(name))).toEqual([]);
  }
});

test("certificates.md has a row for every reason of a refusal, and for no other", () => {
  const page = readFileSync(join(root, "docs/certificates.md"), "utf8");
  const [, rows = ""] = page.split("| reason | what it means | what to do |");
  const told = [...(rows.split("\n\n")[0] ?? "").matchAll(/^\| `(\w+)`/gm)].map(([, name]) => name);
  const { components } = JSON.parse(readFileSync(join(root, "docs/openapi.json"), "utf8"));
  expect(told).toEqual(components.schemas.RefusedClient.properties.reason.enum);
});

test("backup.md says of every file that a node reads whether a restore needs it", () => {
  const page = readFileSync(join(root, "docs/backup.md"), "utf8");
  const [kept, all] = ["Not needed:", ""].map((end) =>
    settingsIn(page, "What you need to restore", end),
  );
  const files = fileSettings();
  expect(files.length).toBeGreaterThan(20);
  expect(files.filter((name) => !all?.has(name))).toEqual([]);
  const isFile = /\.(key|json|pem)$/;
  const settings = [...(all ?? [])].filter((name) => name.includes(".") && !isFile.test(name));
  expect(settings.filter((name) => !configuration().includes(`\`${name}\``))).toEqual([]);
  // Nothing can make these again: without them a restore is useless.
  for (const name of ["sealingKeyFile", "rootOfTrust.file", "backup.keyFile"]) {
    expect(kept).toContain(name);
  }
});

test("operations.md has the port of every listener in its table of connections", () => {
  const page = readFileSync(join(root, "docs/operations.md"), "utf8");
  const [, table = ""] = page.split("| from | to | port |");
  const listed = new Set(
    [...table.matchAll(/^\|[^|]*\|[^|]*\| (\d+) \|/gm)].map(([, port]) => port),
  );
  const listeners = [...configuration().matchAll(/^\| `\w+\.listen` .*?`[\d.]+:(\d+)` \|/gm)];
  expect(listeners.length).toBe(5);
  for (const [, port] of listeners) expect(listed).toContain(port);
  const redis = readFileSync(join(root, "deploy/redis/start.sh"), "utf8");
  for (const [, port] of redis.matchAll(/port_conf (\d+)/g)) expect(listed).toContain(port);
});

test("no page has three asterisks in a row", () => {
  const stars = pages.filter((page) => readFileSync(join(root, page), "utf8").includes("***"));
  expect(stars).toEqual([]);
});

test("the README has a line for every page of docs/", () => {
  const readme = readFileSync(join(root, "README.md"), "utf8");
  const [, contents = ""] = readme.split("## Documents");
  const missing = pages.filter(
    (page) => page.startsWith("docs/") && !contents.includes(`](${page})`),
  );
  expect(missing).toEqual([]);
});

test.each(["README.md", "docs/quick-start.md", "docs/run-a-node.md"])(
  "%s names the files that a restore needs",
  (path) => {
    const text = readFileSync(join(root, path), "utf8");
    for (const name of [
      "`root.key`",
      "`sealing.key`",
      "backup key",
      "backup.md#what-you-need-to-restore",
    ]) {
      expect(text).toContain(name);
    }
  },
);

test("links to a section lead to an existing heading", () => {
  const anchors = (path: string) =>
    [...readFileSync(path, "utf8").matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\s_-]/gu, "")
        .replaceAll(" ", "-"),
    );
  const broken = pages.flatMap((page) => {
    const text = readFileSync(join(root, page), "utf8");
    const links = [...text.matchAll(/\]\((?!https?:)([^)#\s]*)#([^)\s]+)\)/g)];
    return links
      .filter(([, to = "", anchor = ""]) => {
        const path = to === "" ? join(root, page) : join(root, dirname(page), to);
        return path.endsWith(".md") && !anchors(path).includes(anchor);
      })
      .map(([link]) => `${page}: ${link}`);
  });
  expect(broken).toEqual([]);
});
