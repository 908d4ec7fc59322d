import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "@holdfast/testing";
import type { MadeKey } from "@holdfast/workbench";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findExecutable } from "../../scripts/redis-path.mjs";
import { settled } from "../support/command-line.ts";
import { Compose } from "../support/compose/compose.ts";
import type { Service } from "../support/compose/compose-file.ts";
import { notHere } from "../support/compose/images.ts";
import { say } from "../support/load.ts";

const needed = ["mmdebstrap", "bwrap", "ip", "haproxy", "prometheus", "prometheus-alertmanager"];
const missing = [
  ...needed.filter(
    (name) => findExecutable(name, `${process.env["PATH"]}:/usr/sbin`) === undefined,
  ),
  ...(process.getuid?.() === 0 ? [] : ["root"]),
  ...(canIsolate() ? [] : ["the right to make namespaces"]),
];
/** The KMIP address of each region that docker-compose.yml publishes. */
const endpoints = { a: "127.0.1.1:5696", b: "127.0.2.1:5696" };
const cli = join(import.meta.dirname, "../../packages/cli/src/main.ts");
const prometheus = "http://127.0.0.1:9090/api/v1";

/** Whether this process may make network and mount namespaces, and bridges in them: in some containers root may not. */
function canIsolate(): boolean {
  const make =
    "ip link add name probe0 type bridge && bwrap --unshare-pid --ro-bind / / --proc /proc true";
  return spawnSync("unshare", ["--net", "--mount", "sh", "-ec", make]).status === 0;
}

let compose: Compose;
let earlier: MadeKey | undefined;

/** Plays vCenter's sequence through the HAProxy of each region; the last play's key must exist. */
async function play(): Promise<readonly string[]> {
  const { made, steps } = await compose.play({ endpoints, ...(earlier && { earlier }) });
  earlier = made;
  return steps;
}

/** The metrics of a node, read from its region's network. */
async function metricsOf(node: string): Promise<string> {
  const { networks } = compose.container(node).service;
  const address = networks[`region-${node[0]}`];
  return (await compose.host.fetch(undefined, `http://${address}:9464/metrics`)) ?? "";
}

/** The nodes of a region whose metrics say that they lead it. */
async function leadersOf(region: string): Promise<readonly string[]> {
  const leads = [1, 2].map(async (at) => {
    const node = `${region}${at}`;
    return /^holdfast_leader(?:\{.*\})? 1$/m.test(await metricsOf(node)) ? [node] : [];
  });
  return (await Promise.all(leads)).flat();
}

/** Runs the command line on the host. */
function holdfast(...args: readonly string[]) {
  return compose.host.run(undefined, [process.execPath, cli, ...args]);
}

async function ask<Data>(path: string): Promise<Data> {
  const answer = await compose.host.fetch("prometheus", `${prometheus}/${path}`);
  return JSON.parse(answer ?? '{"data":{}}').data;
}

describe.skipIf(missing.length > 0)(
  `docker-compose.yml, each service a process with its files, network and rights (needs root with the right to make namespaces, ${needed.join(", ")}; missing: ${missing.join(", ") || "none"})`,
  () => {
    beforeAll(async () => {
      compose = await Compose.prepare();
    });

    afterAll(async () => {
      await compose?.[Symbol.asyncDispose]();
    });

    test("initialises its stores and starts as deploy/compose/README.md says", async () => {
      for (const region of ["a", "b"]) {
        const { code, log } = await compose.run(`store-init-${region}`, { HOLDFAST_INIT: "1" });
        expect(code, log).toBe(0);
      }
      const began = performance.now();
      await compose.up();
      say(`all healthy ${((performance.now() - began) / 1000).toFixed(1)} s after up`);
      const { services } = compose.read();
      const left = [...services.values()].filter(({ name }) => !compose.started.includes(name));
      // Grafana is not available here; the other two run once, by hand.
      expect(Object.keys(notHere)).toEqual(["grafana/grafana"]);
      expect(left.map(({ name }) => name)).toEqual(["store-init-a", "store-init-b", "grafana"]);
      expect(compose.started.length).toBe(24);
    });

    test("answers vCenter's sequence through the HAProxy of each region, again and again", async () => {
      const steps = await play();
      expect(steps.filter((step) => step.includes("new key")).length).toBeGreaterThan(3);
      const again = await play();
      expect(again.some((step) => step.startsWith("key of the last start"))).toBe(true);
      for (const region of Object.keys(endpoints)) {
        expect(again.some((step) => step.includes(` at haproxy-${region}: `))).toBe(true);
      }
      expect(compose.container("haproxy-a").log).toMatch(/ nodes\/node-[12] /);
    });

    test("Prometheus finds every node, and reaches Alertmanager, which has the watchdog's alert", async () => {
      const states = async () => {
        const { activeTargets = [] } = await ask<{
          activeTargets?: { labels: { node: string }; health: string }[];
        }>("targets");
        return activeTargets.map(({ labels, health }) => `${labels.node} ${health}`).toSorted();
      };
      await expect.poll(states).toEqual(["a1 up", "a2 up", "b1 up", "b2 up"]);
      const managers = async () => {
        const { activeAlertmanagers = [] } = await ask<{
          activeAlertmanagers?: { url: string }[];
        }>("alertmanagers");
        return activeAlertmanagers.map(({ url }) => url);
      };
      await expect.poll(managers).toEqual(["http://127.0.0.1:9093/api/v2/alerts"]);
      const alerts = () => compose.host.fetch("prometheus", "http://127.0.0.1:9093/api/v2/alerts");
      await expect.poll(alerts).toContain("HoldfastWatchdog");
    });

    test("can be managed from the host: it gives the first token, and doctor finds nothing wrong", async () => {
      const folder = mkdtempSync(join(tmpdir(), "holdfast-manage-"));
      try {
        const read = `require("fs").readFileSync("/run/holdfast/one-time-token", "utf8")`;
        const node = ["/usr/lib/holdfast/node", "-p", read];
        const { code, out } = await compose.container("a1").exec(node);
        expect(code).toBe(0);
        const [once, token] = [join(folder, "one-time-token"), join(folder, "manager.token")];
        writeFileSync(once, out, { mode: 0o600 });
        const site = [
          ...["--url", "https://172.30.56.21:8443", "--url", "https://172.30.57.21:8443"],
          ...["--ca", join(compose.secrets, "ca.pem")],
        ];
        const first = [
          "--token-file",
          once,
          "--name",
          "first",
          "--roles",
          "manager",
          "--roles",
          "security-officer",
        ];
        const make = () => holdfast("token", "create", ...site, ...first, "--secret-out", token);
        const made = await settled(make);
        expect(made).toMatchObject({ code: 0, err: "" });
        const doctor = () => holdfast("doctor", ...site, "--token-file", token);
        await expect.poll(doctor).toMatchObject({ code: 0 });
        const tls = ["ca", "cert", "key"].flatMap((name) => {
          const file = { ca: "ca.pem", cert: "client.pem", key: "client.key" }[name] ?? "";
          return [`--${name}`, join(compose.secrets, file)];
        });
        const at = Object.values(endpoints).flatMap((endpoint) => ["--endpoint", endpoint]);
        const query = await settled(() => holdfast("kmip", "query", ...at, ...tls));
        expect(query).toMatchObject({ code: 0, err: "" });
      } finally {
        rmSync(folder, { recursive: true });
      }
    });

    test("publishes only KMIP, and no region can reach the Redis of the other one", async () => {
      const connects = async (where: string, host: string, port: number) => {
        const program = `require("net").connect(${port}, "${host}").on("connect", () => process.exit(0)).on("error", () => process.exit(1)); setTimeout(() => process.exit(2), 10_000)`;
        const { code } = await compose.host.run(where, [process.execPath, "-e", program]);
        return code === 0;
      };
      await until("Redis", () => connects("a1", "172.30.56.10", 6379));
      expect(await connects("b1", "172.30.56.10", 6379)).toBe(false);
      await until("the other region", () => connects("b1", "172.30.58.11", 9443));
      const listening = await compose.host.run(undefined, ["ss", "-Hltn"]);
      const published = listening.out
        .trim()
        .split("\n")
        .map((line) => line.split(/ +/)[3]);
      expect(published.toSorted()).toEqual(["127.0.0.1:3000", ...Object.values(endpoints)]);
    });

    test("a region has a leader while one of three lock masters is down, none while two are, and one again", async () => {
      let first = "";
      await until("a leader", async () => {
        [first = ""] = await leadersOf("a");
        return first !== "";
      });
      const second = first === "a1" ? "a2" : "a1";
      await compose.container("lock-a1").kill();
      // The other node can lead only if it wins an election at two of the three lock masters.
      await compose.container(first).kill();
      await until(`${second} leads`, async () => (await leadersOf("a"))[0] === second);
      await expect
        .poll(() => metricsOf(second))
        .toMatch(/^holdfast_lock_masters\{.*answers="no".*\} 1$/m);
      await play();
      await compose.container("lock-a2").kill();
      await until("nobody leads", async () => (await leadersOf("a")).length === 0);
      await play();
      compose.container("lock-a2").start();
      await until(`${second} leads`, async () => (await leadersOf("a"))[0] === second);
      compose.container("lock-a1").start();
      compose.container(first).start();
      await until(`${first} is healthy`, () => compose.container(first).healthy());
    });

    test("the replica is promoted when the primary is down, and every key is still there", async () => {
      await compose.container("redis-b").kill();
      const replica = compose.container("replica-b");
      await until("the promotion", () => replica.log.includes("MASTER MODE enabled"));
      await play();
      compose.container("redis-b").start();
      await until("redis-b follows", () =>
        compose.container("redis-b").log.includes("Connecting to MASTER 172.30.57.11:6379"),
      );
    });

    describe("one line names a setting that is wrong or missing:", () => {
      const without =
        (name: string, value?: string) =>
        ({ environment }: Service): Partial<Service> => {
          const { [name]: _, ...rest } = environment;
          return { environment: value === undefined ? rest : { ...rest, [name]: value } };
        };
      const noSecret =
        (target: string) =>
        ({ mounts }: Service): Partial<Service> => ({
          mounts: mounts.filter(({ to }) => to !== `/run/secrets/${target}`),
        });
      test.each<[string, string, (service: Service) => Partial<Service>, RegExp]>([
        ["ROLE missing", "redis-a", without("ROLE"), /^start\.sh: ROLE is ''/],
        ["ROLE wrong", "redis-a", without("ROLE", "primry"), /^start\.sh: ROLE is 'primry'/],
        ["ADDRESS missing", "lock-a1", without("ADDRESS"), /^start\.sh: ADDRESS is missing/],
        ["PRIMARY missing", "replica-a", without("PRIMARY"), /^start\.sh: PRIMARY is missing/],
        ["WAIT wrong", "replica-a", without("WAIT", "soon"), /^start\.sh: WAIT is 'soon'/],
        [
          "HOLDFAST_KMIP missing",
          "haproxy-a",
          without("HOLDFAST_KMIP"),
          /HOLDFAST_KMIP is missing/,
        ],
        [
          "HOLDFAST_NODE_1 missing",
          "haproxy-a",
          without("HOLDFAST_NODE_1"),
          /HOLDFAST_NODE_1 is missing/,
        ],
        [
          "HOLDFAST_NODE_2 missing",
          "haproxy-a",
          without("HOLDFAST_NODE_2"),
          /HOLDFAST_NODE_2 is missing/,
        ],
        [
          "HOLDFAST_UID of another user",
          "a1",
          () => ({ user: "1234:1234" }),
          /^holdfast: store\.passwordFile: \/run\/secrets\/redis-password: cannot be read/,
        ],
        [
          "a secret missing",
          "a1",
          noSecret("redis-password"),
          /store\.passwordFile.*redis-password/,
        ],
      ])("%s", async (_, name, change, line) => {
        const { service } = compose.container(name);
        const container = compose.changed(name, change(service));
        const code = await container.finish();
        expect(code).not.toBe(0);
        const lines = container.log.split("\n").filter((one) => line.test(one));
        expect(lines, container.log).toHaveLength(1);
      });
    });
  },
);

test("the compose file names no image that is neither started here nor excused", () => {
  const text = readFileSync(join(import.meta.dirname, "../../docker-compose.yml"), "utf8");
  const images = [...text.matchAll(/image: ([^:\s]+)/g)].map(([, name]) => name);
  expect(new Set(images)).toEqual(
    new Set([
      "holdfast",
      "redis",
      "haproxy",
      "prom/prometheus",
      "prom/alertmanager",
      "grafana/grafana",
    ]),
  );
});
