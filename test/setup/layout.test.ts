import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { productVersion } from "../../scripts/build/bundle.ts";

const root = join(import.meta.dirname, "../..");

function read(file: string): string {
  return readFileSync(join(root, file), "utf8");
}

test("the top level has only the agreed files and folders", () => {
  const local = new Set([".git", ".holdfast", "coverage", "dist", "node_modules"]);
  const found = readdirSync(root).filter((name) => !local.has(name));
  expect(found.sort()).toEqual(
    [
      ...[".ci", "deploy", "docs", "packages", "scripts", "test"],
      ...["CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md", "SECURITY.md"],
      ...["package.json", "pnpm-lock.yaml", "pnpm-workspace.yaml", "docker-compose.yml"],
      ...["tsconfig.base.json", "tsconfig.json", "tsconfig.pure.json", "vitest.config.ts"],
      ...[".gitignore", ".oxlintrc.json", "biome.json"],
    ].sort(),
  );
});

test("all packages have the version and licence of the project", () => {
  const { version } = JSON.parse(read("package.json"));
  const manifests = readdirSync(join(root, "packages")).map((name) =>
    JSON.parse(read(`packages/${name}/package.json`)),
  );
  const odd = manifests.filter((each) => each.version !== version || each.license !== "Apache-2.0");
  expect(odd).toEqual([]);
  expect(read("CHANGELOG.md")).toContain(`## ${version}`);
});

test("every script that starts a program runs the set-up first", () => {
  const { scripts } = JSON.parse(read("package.json"));
  const bare = Object.keys(scripts)
    .filter((name) => !name.startsWith("pre"))
    .filter((name) => !scripts[`pre${name}`]?.startsWith("node scripts/setup.mjs"));
  expect(bare).toEqual([]);
});

interface Service {
  readonly image: string;
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string | number>>;
  readonly networks?: Readonly<Record<string, { readonly ipv4_address: string }>>;
  /** Another service, whose network it shares. */
  readonly network_mode?: string;
  readonly ports?: readonly string[];
  readonly secrets?: readonly (string | { readonly source: string; readonly target: string })[];
  readonly volumes: readonly string[];
}

/** File name → `source` of each secret of a service. */
function secretsOf({ secrets = [] }: Service): ReadonlyMap<string, string> {
  return new Map(
    secrets.map((one) => (typeof one === "string" ? [one, one] : [one.target, one.source])),
  );
}

describe("docker-compose.yml", () => {
  const compose: {
    readonly services: Readonly<Record<string, Service>>;
    readonly secrets: Readonly<Record<string, { readonly file: string }>>;
    readonly volumes: Readonly<Record<string, unknown>>;
  } = parse(read("docker-compose.yml"), { merge: true });
  const services = Object.entries(compose.services);
  const nodes = services.filter(([name]) => /^[ab]\d$/.test(name));
  const service = (name: string): Service => {
    const found = compose.services[name];
    if (found === undefined) throw new Error(`no service ${name}`);
    return found;
  };
  const at = (name: string, network: string) => service(name).networks?.[network]?.ipv4_address;

  test("runs the image that the build makes, and mounts only existing files and volumes", () => {
    const mounted = services.flatMap(([, { volumes }]) =>
      volumes.map((volume) => volume.split(":")[0] as string),
    );
    for (const [, { image }] of nodes) expect(image).toBe(`holdfast:${productVersion()}`);
    const files = mounted.filter((path) => path[0] === ".");
    expect(files.filter((file) => !existsSync(join(root, file)))).toEqual([]);
    const volumes = mounted.filter((path) => !/^[.$]/.test(path));
    expect(volumes.toSorted()).toEqual(Object.keys(compose.volumes).toSorted());
  });

  test("gives every service its own addresses, and has no unused secret", () => {
    const addresses = services.flatMap(([, { networks }]) =>
      Object.values(networks ?? {}).map(({ ipv4_address }) => ipv4_address),
    );
    expect(new Set(addresses).size).toBe(addresses.length);
    const used = new Set(services.flatMap(([, one]) => [...secretsOf(one).values()]));
    expect([...used].sort()).toEqual(Object.keys(compose.secrets).sort());
  });

  test("lets Prometheus scrape every node, and reach Alertmanager and Grafana in its own network", () => {
    const { scrape_configs } = parse(read("deploy/prometheus/prometheus.yml"));
    const scraped = scrape_configs[0].static_configs.map(
      ({ targets, labels }: { targets: string[]; labels: { region: string; node: string } }) => [
        labels.node,
        targets[0],
      ],
    );
    expect(scraped).toEqual(nodes.map(([name]) => [name, `${at(name, `region-${name[0]}`)}:9464`]));
    for (const name of ["alertmanager", "grafana"]) {
      expect(service(name).network_mode).toBe("service:prometheus");
    }
  });

  test.each(["a", "b"])("has all parts of region %s, and its Redis is private", (region) => {
    const parts = ["redis", "replica", "lock", "sentinel", "haproxy"];
    const own = services.filter(([name]) =>
      parts.some((part) => name.startsWith(`${part}-${region}`)),
    );
    expect(own.map(([name]) => name)).toEqual([
      ...["redis", "replica"].map((part) => `${part}-${region}`),
      ...["sentinel", "lock"].flatMap((part) => [1, 2, 3].map((at) => `${part}-${region}${at}`)),
      `haproxy-${region}`,
    ]);
    for (const [name, { networks, environment = {} }] of own) {
      expect(Object.keys(networks ?? {}), name).toEqual([`region-${region}`]);
      if (name.startsWith("haproxy")) continue;
      expect(environment["ADDRESS"]).toBe(at(name, `region-${region}`));
      expect(environment["PRIMARY"] ?? at(`redis-${region}`, `region-${region}`)).toBe(
        at(`redis-${region}`, `region-${region}`),
      );
      if (name.startsWith("lock")) continue;
      const listed = (parts: readonly string[]) =>
        parts.map((part) => at(part, `region-${region}`)).join(" ");
      expect(environment["MEMBERS"]).toBe(listed([`redis-${region}`, `replica-${region}`]));
      expect(environment["SENTINELS"]).toBe(
        listed([1, 2, 3].map((count) => `sentinel-${region}${count}`)),
      );
      // biome-ignore lint/suspicious/noTemplateCurlyInString: Compose's own syntax
      const init = name.startsWith("redis") ? "${HOLDFAST_INIT:-}" : undefined;
      expect(environment["INIT"], name).toBe(init);
    }
    expect(service(`haproxy-${region}`).environment).toEqual({
      HOLDFAST_KMIP: `${at(`haproxy-${region}`, `region-${region}`)}:5696`,
      HOLDFAST_NODE_1: `${at(`${region}1`, `region-${region}`)}:5696`,
      HOLDFAST_NODE_2: `${at(`${region}2`, `region-${region}`)}:5696`,
    });
  });

  test("publishes only KMIP of each region and Grafana, on loopback", () => {
    const published = services.flatMap(([name, { ports = [] }]) =>
      ports.map((port) => [name, port]),
    );
    expect(published).toEqual([
      ["haproxy-a", expect.stringMatching(/^\$\{HOLDFAST_ADDRESS_A:-127\.0\.1\.1\}:5696:5696$/)],
      ["haproxy-b", expect.stringMatching(/^\$\{HOLDFAST_ADDRESS_B:-127\.0\.2\.1\}:5696:5696$/)],
      ["prometheus", "127.0.0.1:3000:3000"],
    ]);
  });

  test("has two nodes in each region", () => {
    expect(nodes.map(([name]) => name)).toEqual(["a1", "a2", "b1", "b2"]);
  });

  test.each(nodes)(
    "gives %s its addresses, its region and peers, and the secrets that its configuration names",
    (name, node) => {
      const config = parse(read(`deploy/compose/${name}.yaml`));
      const [region, other] = name.startsWith("a") ? ["a", "b"] : ["b", "a"];
      const network = `region-${region}`;
      const own = at(name, network);
      expect([config.region, config.node]).toEqual([region, name]);
      expect([config.kmip.listen, config.http.listen, config.health.listen]).toEqual([
        `${own}:5696`,
        `${own}:9464`,
        `${own}:9465`,
      ]);
      expect(config.store.sentinels).toEqual(
        [1, 2, 3].map((count) => `${at(`sentinel-${region}${count}`, network)}:26379`),
      );
      expect(config.locks).toEqual(
        [1, 2, 3].map((count) => `redis://${at(`lock-${region}${count}`, network)}:6379`),
      );
      expect(config.peer.region).toBe(other);
      expect(config.peer.listen).toBe(`${at(name, "between")}:9443`);
      expect(config.peer.addresses).toEqual(
        [1, 2].map((count) => `${at(`${other}${count}`, "between")}:9443`),
      );
      const files = [...JSON.stringify(config).matchAll(/\/run\/secrets\/([\w-]+)/g)];
      const secrets = secretsOf(node);
      const named = new Set(files.map((match) => match[1]));
      expect([...named].sort()).toEqual([...secrets.keys()].sort());
      expect(config.admin.listen).toBe(`${own}:8443`);
      const lasting = `}/memory/${name}:${dirname(config.store.memoryFile)}`;
      expect(node.volumes.filter((volume) => volume.endsWith(lasting))).toHaveLength(1);
      const sources = [...secrets].filter(
        ([target]) => !/^(kmip-c|kmip-key|client|peer-ca|peer-region-key)/.test(target),
      );
      expect(secrets.get("peer-region-key")).toBe(`${other}-region-public-key`);
      for (const [target, source] of sources) {
        const owner = target.startsWith("peer-") ? name : region;
        expect(source).toBe(`${owner}-${target.replace("kmip-", "")}`);
      }
    },
  );

  test("runs a Redis that keeps what it acknowledges", () => {
    const settings = read("deploy/redis/redis.conf").split("\n");
    expect(settings).toEqual(
      expect.arrayContaining([
        "appendonly yes",
        "appendfsync always",
        "maxmemory-policy noeviction",
      ]),
    );
  });

  test("has Sentinels that wait longer than the nodes' lease", () => {
    const wait = /^sentinel down-after-milliseconds holdfast (\d+)$/m.exec(
      read("deploy/redis/sentinel.conf"),
    )?.[1];
    expect(Number(wait)).toBeGreaterThanOrEqual(2000);
  });
});
