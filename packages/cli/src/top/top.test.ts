import { objectives } from "@holdfast/server";
import { describe, expect, test } from "vitest";
import { widthOf } from "../terminal/fit.ts";
import { figuresOf, ownFaults, type Watched } from "./figures.ts";
import { quantile, rate, readScrape } from "./scrape.ts";
import { screenOf } from "./screen.ts";

const healthy = [
  'holdfast_serving{service=""} 1',
  'holdfast_serving{service="holdfast.write"} 1',
  'holdfast_serving_source{from="local"} 1',
  'holdfast_serving_source{from="remote"} 0',
  'holdfast_peer_up{peer_region="b"} 1',
  "holdfast_connections 7",
  'holdfast_certificate_not_after_seconds{kind="client",owner="demo",subject="CN=a \\"b\\"",fingerprint="f"} 1000000000',
];

function buckets(le: readonly (readonly [string, number])[]): readonly string[] {
  return le.map(
    ([bound, count]) => `holdfast_operation_seconds_bucket{le="${bound}",operation="Get"} ${count}`,
  );
}

function watched(node: string, leads: boolean, ...lines: readonly string[]): Watched {
  const text = [...healthy, `holdfast_leader ${leads ? 1 : 0}`, ...lines].join("\n");
  const zero = readScrape("", 0);
  return { url: "", region: "a", node, pair: [zero, readScrape(text, 2000)] };
}

const nowMs = 900_000_000_000;
const room = { columns: 80, rows: 24, colour: false };

describe("scrapes", () => {
  const get = 'holdfast_requests_total{operation="Get",version="1.1",result="Success"}';

  test("give a rate per second over all matching series", () => {
    const before = readScrape(`${get} 10`, 0);
    const now = readScrape(
      `# HELP x y\n${get} 30\nholdfast_requests_total{operation="Create"} 5`,
      2000,
    );
    expect(rate([before, now], "holdfast_requests_total", { operation: "Get" })).toBe(10);
    expect(rate([before, now], "holdfast_requests_total")).toBe(12.5);
    expect(rate([now, before], "holdfast_requests_total")).toBe(0);
    expect(rate([now, now], "holdfast_requests_total")).toBe(0);
  });

  test("give the bucket that holds a quantile over several nodes", () => {
    const before = readScrape(
      buckets([
        ["0.001", 5],
        ["0.1", 5],
        ["+Inf", 5],
      ]).join("\n"),
      0,
    );
    const now = readScrape(
      buckets([
        ["0.001", 103],
        ["0.1", 105],
        ["+Inf", 105],
      ]).join("\n"),
      1000,
    );
    const pair = [before, now] as const;
    expect(quantile(0.5, [pair, pair], "holdfast_operation_seconds")).toBe(0.001);
    expect(quantile(0.99, [pair], "holdfast_operation_seconds")).toBe(0.1);
    expect(quantile(0.99, [[now, now]], "holdfast_operation_seconds")).toBeUndefined();
  });

  test("may have quotes and braces in the value of a label", () => {
    const { samples } = readScrape('holdfast_connections{a="x\\"},y\\\\",b="z"} 3', 0);
    expect(samples).toEqual([
      { name: "holdfast_connections", labels: { a: 'x"},y\\', b: "z" }, value: 3 },
    ]);
  });
});

test("the service's own faults are the errors that the objectives count", () => {
  expect(objectives[0].errors("5m")).toContain(`result=~"${ownFaults.join("|")}"`);
});

describe("what is wrong", () => {
  const wrong = (...nodes: readonly Watched[]) =>
    figuresOf(nodes, nowMs).wrong.map(([, words]) => words);

  test("is empty if all is well", () => {
    expect(wrong(watched("a1", true), watched("a2", false))).toEqual([]);
  });

  test.each<[string, string]>([
    ['holdfast_root_ok{kind="local",root="r"} 0', "a1 cannot use root of trust r"],
    ['holdfast_instance_keys{state="closed"} 2', "a1: keys of 2 instances are closed"],
    ["holdfast_quarantined_records 1", "a1: records are in quarantine"],
    ["holdfast_store_disk_ok 0", "a1: Redis cannot write its disk"],
    [
      "holdfast_store_memory_used_bytes 80\nholdfast_store_memory_max_bytes 100",
      "a1: Redis memory is over 75% full",
    ],
    ["nodejs_eventloop_lag_p99_seconds 0.5", "a1 is late with its work"],
    [
      'holdfast_certificate_not_after_seconds{subject="CN=x"} 900086400',
      "certificate CN=x ends within 45 days",
    ],
    [
      'holdfast_requests_total{operation="Get",result="GeneralFailure"} 1',
      "a1 fails requests by its own fault",
    ],
  ])("includes the problem that %s shows", (line, words) => {
    expect(wrong(watched("a1", true, line))).toEqual([words]);
  });

  test("includes a region without a leader or with two, and a node that does not answer", () => {
    expect(wrong(watched("a1", false))).toEqual(["region a has no leader"]);
    expect(wrong(watched("a1", true), watched("a2", true))).toEqual(["region a has 2 leaders"]);
    const silent: Watched = { url: "", region: "a", node: "a2", pair: undefined };
    expect(wrong(watched("a1", true), silent)).toEqual(["a2 does not answer"]);
  });
});

describe("the screen", () => {
  const many = Array.from({ length: 40 }, (_, at) => watched(`a${at}`, at === 0));

  test.each([
    [80, 24],
    [40, 10],
    [20, 5],
    [200, 60],
  ])("fits into %d × %d", (columns, rows) => {
    const lines = screenOf(figuresOf(many, nowMs), "2026-01-01T00:00:00Z", {
      ...room,
      columns,
      rows,
    });
    expect(lines.length).toBeLessThanOrEqual(rows);
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(columns);
  });

  test("shows what is wrong first, and how much more is wrong", () => {
    const silent = many.map((one) => ({ ...one, pair: undefined }));
    const lines = screenOf(figuresOf(silent, nowMs), "now", { ...room, rows: 12 });
    expect(lines[0]).toBe("Holdfast  now  0 of 40 nodes answer");
    expect(lines[2]).toBe("✗ a0 does not answer");
    expect(lines.join("\n")).toContain("more are wrong");
  });

  test("escapes what a label or a name brings, and keeps its columns", () => {
    const end =
      'holdfast_certificate_not_after_seconds{subject="CN=\x1b[2J\u009b\u202e\\n✗ all"} 1';
    const odd = watched(`\u65e5\u672c\x1b]52;c;eA==\x07${"x".repeat(200)}`, true, end);
    const lines = screenOf(figuresOf([odd], nowMs), "now", room);
    expect(lines.join("\n")).not.toMatch(/[^\n\P{C}]/u);
    const at = lines.findIndex((line) => line.startsWith("NODE"));
    expect(lines[at + 1]).toMatch(/^\u65e5\u672c\\u001b\]52;c;eA==\\u0007x+…$/);
    expect(widthOf(lines[at + 1] ?? "")).toBe(room.columns);
    expect(lines.join("\n")).toContain("certificate CN=\\u001b[2J\\u009b\\u202e\\u000a✗ all ends");
  });

  test("has escape sequences only with colour", () => {
    const figures = figuresOf([watched("a1", true)], nowMs);
    const has = (colour: boolean) =>
      screenOf(figures, "now", { ...room, colour })
        .join("")
        .includes("\x1b[");
    expect([has(false), has(true)]).toEqual([false, true]);
  });
});
