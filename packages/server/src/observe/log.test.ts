import { KeyRingUnavailable, StoreUnavailable } from "@holdfast/engine";
import { describe, expect, test } from "vitest";
import type { NodeEvent } from "./events.ts";
import { Log } from "./log.ts";
import { type LogRow, logTable, redactedNames } from "./log-table.ts";

function logAt(level: "debug" | "info" | "warn" | "error") {
  const lines: Record<string, unknown>[] = [];
  let nowMs = 0;
  const log = new Log({
    level,
    region: "eu",
    node: "a1",
    monotonicMs: () => nowMs,
    destination: { write: (line: string) => lines.push(JSON.parse(line)) },
  });
  const later = (ms: number) => {
    nowMs += ms;
  };
  return { log, lines, later };
}

const operation = {
  type: "operation",
  operation: "Get",
  version: "1.1",
  instance: "i",
  result: "Success",
  durationMs: 0.123456,
  requestId: "r",
  fingerprint: "f",
} as const;
const failed = (cause: unknown): NodeEvent => ({ ...operation, result: "GeneralFailure", cause });
const duty = (cause: unknown): NodeEvent => ({
  type: "duty",
  duty: "catch-up",
  ok: false,
  durationMs: 1,
  done: 0,
  left: 0,
  cause,
});
const refused = {
  type: "handshake",
  outcome: "unknownCertificate",
  durationMs: 1,
  resumed: false,
  protocol: "TLSv1.3",
  remote: "10.0.0.1 5",
  fingerprint: "ff",
  subject: "CN=x\n",
} as const;

test("a line is printable ASCII where a stranger could mislead its reader, and the same value", () => {
  const written: string[] = [];
  const log = new Log({
    level: "info",
    region: "eu",
    node: "a1",
    monotonicMs: () => 0,
    destination: { write: (line: string) => written.push(line) },
  });
  const subject = "CN=\u009b31m\u202eé\u200b\u2028\nx";
  log.observe({ ...refused, subject });
  log.say("info", `hello ${subject}`);
  expect(written).toHaveLength(2);
  for (const line of written) expect(line).toMatch(/^[ -~é]+\n$/);
  expect(JSON.parse(written[0] ?? "")).toMatchObject({ subject });
  expect(JSON.parse(written[1] ?? "")).toMatchObject({ msg: `hello ${subject}` });
});

describe("a repeated event", () => {
  const peerRefused = (address: string): NodeEvent => ({
    type: "peerRefused",
    kind: "stranger",
    address,
    reason: "no certificate",
  });

  test.each<[string, (at: number) => NodeEvent]>([
    ["a duty that fails", () => duty(new StoreUnavailable("peerUnreachable", "cut off"))],
    ["a caller at the peer port", (at) => peerRefused(`10.0.0.1:${50_000 + at}`)],
  ])("is logged once in ten minutes, then with the number of repetitions: %s", (_name, event) => {
    const { log, lines, later } = logAt("info");
    for (let at = 0; at < 100; at++) {
      log.observe(event(at));
      later(5_000);
    }
    expect(lines).toHaveLength(1);
    later(600_000);
    log.observe(event(100));
    expect(lines).toHaveLength(2);
    expect(lines[1]).toMatchObject({ level: "warn", repeats: 99 });
    log.observe(duty(new StoreUnavailable("corrupt", "another cause")));
    expect(lines).toHaveLength(3);
  });

  test("is logged without a stack, unless the level is debug", () => {
    for (const level of ["info", "debug"] as const) {
      const { log, lines } = logAt(level);
      log.observe(duty(new StoreUnavailable("peerUnreachable", "cut off")));
      expect(JSON.stringify(lines)).toContain("cut off");
      expect(JSON.stringify(lines).includes("stack")).toBe(level === "debug");
    }
  });
});

describe("the log", () => {
  test.each<[string, NodeEvent, string | undefined]>([
    ["a successful read", operation, "debug"],
    ["a change", { ...operation, operation: "Activate" }, "info"],
    ["a refusal", { ...operation, result: "ItemNotFound" }, "info"],
    [
      "an internal error",
      { ...operation, result: "GeneralFailure", cause: new Error("x") },
      "error",
    ],
    ["a store that is cut off", failed(new StoreUnavailable("noLease", "x")), "warn"],
    ["a root key that is refused", failed(new KeyRingUnavailable(true, "x")), "warn"],
    ["a damaged record", failed(new StoreUnavailable("corrupt", "x")), "error"],
    ["an emptied store", failed(new StoreUnavailable("notInitialised", "x")), "error"],
    ["a short barrier", { type: "barrier", durationMs: 1, batch: 2, full: false }, "warn"],
    ["an idle barrier", { type: "barrier", durationMs: 1, batch: 0, full: false }, "debug"],
    ["a bare TLS connection", { ...refused, outcome: "accepted" }, "debug"],
    ["a failed handshake", { type: "handshakeFailed", reason: "x", remote: "" }, "debug"],
    ["a refused client", refused, "info"],
    [
      "a client that went away",
      { type: "connectionEnded", ending: "client", detail: "", instance: "", fingerprint: "" },
      "debug",
    ],
    ["a duty that waits for a store", duty(new StoreUnavailable("peerUnreachable", "x")), "warn"],
    ["a duty that finds damage", duty(new StoreUnavailable("corrupt", "x")), "warn"],
    [
      "a store that closes",
      { type: "lease", state: "none", reason: "the store is closing" },
      "debug",
    ],
    ["a store without lease", { type: "lease", state: "none", reason: "cut off" }, "warn"],
    ["a store command", { type: "storeCommand", command: "read", durationMs: 1 }, undefined],
  ])("has the right level for %s", (_name, event, level) => {
    const { log, lines } = logAt("debug");
    log.observe(event);
    expect(lines.map((line) => line["level"])).toEqual(level === undefined ? [] : [level]);
  });

  test("limits the lines of an outage that affects every request, but not those of operations", () => {
    const { log, lines } = logAt("info");
    for (let at = 0; at < 200; at += 1) log.observe(failed(new KeyRingUnavailable(true, "x")));
    expect(lines).toHaveLength(50);
    for (let at = 0; at < 200; at += 1) log.observe({ ...operation, operation: "Create" });
    expect(lines).toHaveLength(250);
  });

  test("has a line for each operation, with the client, the operation and the result", () => {
    const { log, lines } = logAt("info");
    log.observe({ ...operation, operation: "Create", uniqueIdentifier: "u" });
    expect(lines).toEqual([
      {
        level: "info",
        time: expect.stringMatching(/^\d{4}-.*Z$/),
        region: "eu",
        node: "a1",
        requestId: "r",
        instance: "i",
        fingerprint: "f",
        operation: "Create",
        version: "1.1",
        result: "Success",
        uniqueIdentifier: "u",
        durationMs: 0.123,
        msg: "operation",
      },
    ]);
  });

  test("shows the name of an instance as well as its identifier", () => {
    const { log, lines } = logAt("debug");
    log.nameInstances([{ id: "i", name: "vcenter" }]);
    log.observe(operation);
    log.observe({ ...operation, instance: "other" });
    expect(lines.map((line) => [line["instance"], line["instanceName"]])).toEqual([
      ["i", "vcenter"],
      ["other", undefined],
    ]);
  });

  test("keeps this region's name in a line about another region", () => {
    const { log, lines } = logAt("info");
    log.observe({ type: "peer", region: "us", state: "down", reason: "no node answers" });
    expect(lines[0]).toMatchObject({ region: "eu", otherRegion: "us", state: "down" });
  });

  test("makes no line below its level", () => {
    const { log, lines } = logAt("info");
    log.observe(operation);
    expect(lines).toEqual([]);
  });

  test("shows a cause without its properties, credentials and keys", () => {
    const { log, lines } = logAt("info");
    const inner = Object.assign(new Error("connect redis://u:hunter2@h:1 failed"), {
      code: "ECONN",
    });
    const cause = Object.assign(new Error("WRONGPASS", { cause: inner }), {
      command: { name: "auth", args: ["u", "hunter2"] },
    });
    log.observe({ ...operation, cause });
    log.observe({
      type: "warning",
      message: "w",
      cause: new Error("-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----"),
    });
    log.say("info", "start", { store: { password: "hunter2" }, key: "hunter2" });
    const text = JSON.stringify(lines);
    expect(text).not.toContain("hunter2");
    expect(lines[0]).toMatchObject({
      msg: "internal error",
      cause: { name: "Error", message: "WRONGPASS", cause: { code: "ECONN" } },
    });
    expect(lines[2]).toMatchObject({ key: "[redacted]", store: { password: "[redacted]" } });
  });

  test("contains no field with a redacted name, and no object that could contain one", () => {
    const rows: (LogRow<never> | undefined)[] = Object.values(logTable);
    const fields = rows.flatMap((row) => row?.fields ?? []);
    expect(fields.length).toBeGreaterThan(20);
    expect(fields.filter((field) => redactedNames.includes(String(field)))).toEqual([]);
    const { log, lines } = logAt("info");
    const detail = { password: "hunter2" } as unknown as string;
    log.observe({ type: "certificate", purpose: "kmip", loaded: true, detail });
    expect(lines).toHaveLength(1);
    expect(lines[0]).not.toHaveProperty("detail");
  });

  test("stops at a cause that refers to itself", () => {
    const { log, lines } = logAt("info");
    const cause = new Error("a");
    cause.cause = cause;
    log.observe({ ...operation, cause });
    expect(lines).toHaveLength(1);
  });

  test("limits lines that strangers cause, and shows how many it left out", () => {
    const { log, lines, later } = logAt("info");
    for (let at = 0; at < 200; at++) log.observe(refused);
    expect(lines).toHaveLength(50);
    expect(lines[0]).toMatchObject({
      subject: "CN=x\n",
      fingerprint: "ff",
      outcome: "unknownCertificate",
    });
    later(1000);
    log.observe(refused);
    expect(lines.at(-1)).toMatchObject({ suppressed: 150 });
  });
});
