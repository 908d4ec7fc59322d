import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { until } from "@holdfast/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { firstToken } from "../support/admin-api.ts";
import { commandLine } from "../support/command-line.ts";
import { answered, createKey } from "../support/keys.ts";
import { type Region, startRegion, steadyStore } from "../support/region.ts";
import { letIn } from "../support/region-watch.ts";

const instance = "vcenter";
const password = "correct horse battery staple";

let region: Region;
let token: string;
beforeAll(async () => {
  const shape = { instances: [instance, "users"], nodes: 1, replicas: 1, admin: true };
  const settings = { store: steadyStore };
  region = await startRegion({ ...shape, settings, users: { users: { eve: password } } });
  token = await firstToken({ node: region.node(0), ca: region.ca });
  const client = await letIn(region, instance, 0);
  await answered(() => createKey(client));
  await client.close();
});
afterAll(() => region?.[Symbol.asyncDispose]());

/** Everything secret in the region's folder. */
async function secretsIn(folder: string): Promise<readonly string[]> {
  const names = await readdir(folder);
  const secret = names.filter((name) => /key|root|tickets|token/.test(name));
  const texts = await Promise.all(secret.map((name) => readFile(join(folder, name), "utf8")));
  return texts
    .flatMap((text) => text.split(/[\n"]/))
    .filter((part) => /^[\w+/=-]{16,}$/.test(part));
}

async function bundle(...options: readonly string[]): Promise<string> {
  const out = join(region.folder, `support-${options.length}-${Math.random()}.txt`);
  const said = await commandLine(["support-bundle", "--out", out, ...options], {
    env: { HOLDFAST_SERVICE_PASSWORD: "from-the-environment" },
    cwd: region.folder,
  });
  expect(said).toMatchObject({ code: 0, err: "" });
  expect((await stat(out)).mode & 0o777).toBe(0o600);
  return readFile(out, "utf8");
}

describe("holdfast support-bundle", () => {
  test("has versions, configuration, readiness, metrics, doctor and log, and no secret", async () => {
    const node = region.node(0);
    const tokenFile = join(region.folder, "manager.token");
    const ca = join(region.folder, "server-ca.pem");
    await writeFile(tokenFile, token);
    await writeFile(ca, region.ca);
    const log = join(region.folder, "planted.log");
    await until("the log tells of the key", () => node.logText().includes('"operation":"Create"'));
    const planted = [token, "from-the-environment", "redis://eve:hunter22@host"];
    await writeFile(log, `${node.logText()}\n${planted.join("\n")}\n`);
    const site = ["--url", `https://${node.host}:${node.admin}`, "--ca", ca];
    const given = ["--config", node.configFile, "--log", log, ...site, "--token-file", tokenFile];
    let text = "";
    // On a busy machine the node may not answer in time, and the bundle says so.
    await until("a bundle with the node's answers", async () => {
      text = await bundle(...given);
      return !/^(no answer|not asked)/m.test(text) || text.slice(0, 4_000);
    });
    const titles = [...text.matchAll(/^=== (\S+)/gm)].map(([, title]) => title);
    const http = `http://${node.host}:${node.http}`;
    expect(titles).toEqual([
      ...["versions", "configuration", "config"],
      ...[`${http}/livez`, `${http}/readyz?verbose`, `${http}/metrics`],
      ...["doctor", "log"],
    ]);
    expect(text).toContain(`node: ${node.name}`);
    expect(text).toContain("holdfast_build_info");
    expect(text).toContain('"name":"clock"');
    expect(text).toContain('"operation":"Create"');
    expect(text).toContain("passwordHash: (removed)");
    const secrets = await secretsIn(region.folder);
    expect(secrets.length).toBeGreaterThan(4);
    const found = [...secrets, token, password, "hunter22", "from-the-environment"].filter(
      (secret) => text.includes(secret),
    );
    expect(found).toEqual([]);
  });

  test("is written for a broken configuration and a node that does not run", async () => {
    const broken = join(region.folder, "broken.yaml");
    await writeFile(
      broken,
      [
        "region: a\nstore: { pasword: hunter22 }\nhttp: { listen: 127.0.0.1:1 }",
        "audit: { webhook: { url: https://siem.example/in?key=planted-key } }\n",
      ].join("\n"),
    );
    const text = await bundle("--config", broken);
    expect(text).toContain('pasword: "(removed): not a setting"');
    expect(text).toContain("store.pasword is not a setting");
    expect(text).toMatch(/=== http:\/\/127\.0\.0\.1:1\/metrics\nno answer/);
    expect(text).toMatch(/=== doctor\nnot asked: no site is given/);
    expect(text).toContain("url: https://siem.example/in?(removed)");
    expect(text).not.toMatch(/hunter22|planted-key/);
  });

  test("never overwrites a file", async () => {
    const { configFile } = region.node(0);
    const said = await commandLine(["support-bundle", "-c", configFile, "--out", configFile]);
    expect(said.code).not.toBe(0);
    expect(said.err).toMatch(/^holdfast: --out .*a1\.yaml: cannot be written: .*exist/);
  });
});
