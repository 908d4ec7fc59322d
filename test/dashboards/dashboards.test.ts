import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { dashboards, eventMetrics, processMetrics, readMetrics } from "@holdfast/server";
import { describe, expect, test } from "vitest";
import { parse, stringify } from "yaml";
import { grafanaFiles } from "./grafana.ts";

const root = join(import.meta.dirname, "..", "..");
const hasPromtool = spawnSync("promtool", ["--version"]).error === undefined;
const panels = dashboards.flatMap(({ id, groups }) =>
  groups.flatMap((group) => group.panels.map((panel) => ({ id, ...panel }))),
);
const queries = panels.flatMap(({ id, title, kind, columns, queries }) =>
  queries.map((query) => ({ where: `${id}: ${title}`, kind, columns, ...query })),
);

/** Every series name of each metric, with the metric's labels. */
const labelsOf = new Map<string, readonly string[]>([
  ...[...eventMetrics, ...readMetrics].flatMap(({ name, labels }) =>
    ["", "_count", "_sum", "_bucket"].map(
      (suffix) => [`${name}${suffix}`, suffix === "_bucket" ? [...labels, "le"] : labels] as const,
    ),
  ),
  ...processMetrics.map(([name]) => [name, []] as const),
  ["up", ["job"]],
  ["ALERTS", ["alertname", "alertstate", "severity"]],
]);
/** The labels that every target has. */
const target = ["region", "node"];
const sloth = ["sloth_id", "sloth_service", "sloth_slo"];

function selectorsIn(expr: string): readonly (readonly [name: string, labels: string[]])[] {
  return [...expr.matchAll(/([a-zA-Z_:][\w:]*)\{([^}]*)\}/g)].map(
    ([, name = "", matchers = ""]) => [
      name,
      [...matchers.matchAll(/(\w+)(?:=~|!~|!=|=)"/g)].map(([, label = ""]) => label),
    ],
  );
}

describe("panels", () => {
  test("name only existing metrics and labels", () => {
    const wrong = queries.flatMap(({ where, expr, legend, columns = [] }) => {
      const selectors = selectorsIn(expr);
      const known = (name: string) =>
        name.startsWith("slo:") ? sloth : [...(labelsOf.get(name) ?? []), ...target];
      const unknown = selectors.filter(([name]) => !name.startsWith("slo:") && !labelsOf.has(name));
      const labels = selectors.flatMap(([name, used]) =>
        used.filter((label) => !known(name).includes(label)),
      );
      const all = new Set(selectors.flatMap(([name]) => known(name)));
      const by = [...expr.matchAll(/by \(([^)]*)\)/g)].flatMap(([, list = ""]) => list.split(", "));
      const shown = [...legend.matchAll(/\{\{(\w+)\}\}/g)].map(([, label = ""]) => label);
      const strange = [...by, ...shown, ...columns].filter((label) => !all.has(label));
      return [...unknown, ...labels, ...strange].map((one) => `${where}: ${one}`);
    });
    expect(wrong).toEqual([]);
    expect(queries.length).toBeGreaterThan(80);
  });

  test("describe themselves in one sentence", () => {
    const wrong = panels.filter(
      ({ says, title }) => !/^[A-Z0-9`].*\.$/s.test(says) || title.endsWith("."),
    );
    expect(wrong.map(({ title }) => title)).toEqual([]);
  });

  test("have a unique title in their dashboard", () => {
    const names = panels.map(({ id, title }) => `${id}: ${title}`);
    expect(names.filter((name, at) => names.indexOf(name) < at)).toEqual([]);
  });

  test("with tables name their columns, and no others", () => {
    const wrong = panels.filter(
      ({ kind, columns }) => (kind === "table") !== (columns !== undefined),
    );
    expect(wrong).toEqual([]);
  });

  test.skipIf(!hasPromtool)("have PromQL that Prometheus accepts (needs promtool)", () => {
    const folder = mkdtempSync(join(tmpdir(), "holdfast-panels-"));
    try {
      const rules = queries.map(({ expr }, at) => ({
        record: `panel:query:${at}`,
        expr: expr.replaceAll("$__rate_interval", "5m"),
      }));
      const file = join(folder, "panels.yaml");
      writeFileSync(file, stringify({ groups: [{ name: "panels", rules }] }));
      const { stdout, stderr } = spawnSync("promtool", ["check", "rules", file], {
        encoding: "utf8",
      });
      expect(stderr).toBe("");
      expect(stdout).toContain(`${queries.length} rules found`);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

interface GrafanaPanel {
  readonly id?: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: {
    readonly x: number;
    readonly y: number;
    readonly w: number;
    readonly h: number;
  };
  readonly targets?: readonly { readonly refId?: string; readonly expr: string }[];
}

describe.each(Object.entries(grafanaFiles))("%s", (_path, make) => {
  const made = JSON.parse(make()) as {
    readonly uid: string;
    readonly panels: readonly GrafanaPanel[];
    readonly templating: { readonly list: readonly { readonly name: string }[] };
  };

  test("numbers its panels and queries", () => {
    const ids = made.panels.map(({ id }) => id);
    expect(ids).toEqual(ids.map((_, at) => at + 1));
    for (const { targets = [] } of made.panels) {
      const refs = targets.map(({ refId }) => refId);
      expect(new Set(refs).size).toBe(refs.length);
      expect(refs).not.toContain(undefined);
    }
  });

  test("lays out its panels without overlap", () => {
    const cells = made.panels.flatMap(({ title, gridPos: { x, y, w, h } }) => {
      expect(x + w, title).toBeLessThanOrEqual(24);
      return Array.from({ length: w * h }, (_, at) => `${x + (at % w)},${y + Math.floor(at / w)}`);
    });
    expect(new Set(cells).size).toBe(cells.length);
  });

  test("has every variable that its queries use", () => {
    const names = new Set(made.templating.list.map(({ name }) => name));
    const used = made.panels.flatMap(({ targets = [] }) =>
      targets.flatMap(({ expr }) => [...expr.matchAll(/\$(\w+)/g)].map(([, name = ""]) => name)),
    );
    expect(used.filter((name) => name !== "__rate_interval" && !names.has(name))).toEqual([]);
    expect(names).toContain("datasource");
  });
});

test("deploy/grafana has exactly the dashboards that the tables make", () => {
  const files = readdirSync(join(root, "deploy/grafana/dashboards"));
  expect(files.sort()).toEqual(dashboards.map(({ id }) => `${id}.json`).sort());
});

test("Grafana's provisioning names one data source and the folder of the dashboards", () => {
  const read = (path: string) =>
    parse(readFileSync(join(root, "deploy/grafana/provisioning", path), "utf8"));
  expect(read("datasources/prometheus.yaml").datasources).toMatchObject([
    { type: "prometheus", isDefault: true },
  ]);
  expect(read("dashboards/holdfast.yaml").providers).toMatchObject([
    { type: "file", options: { path: expect.stringMatching(/^\//) } },
  ]);
});
