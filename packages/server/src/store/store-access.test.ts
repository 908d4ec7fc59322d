import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { OperatorError } from "../base/operator-error.ts";
import { parseConfig } from "../config/config.ts";
import { lockUrls, storeConnection } from "./store-access.ts";

const folder = mkdtempSync(join(tmpdir(), "holdfast-store-"));
writeFileSync(join(folder, "password"), "p@ss/word\nsecond line\n");
writeFileSync(join(folder, "empty"), "\n");
writeFileSync(join(folder, "ca.pem"), "CA");

function configWith(store: string, rest = "") {
  return parseConfig(
    `region: a\nnode: a1\ntls: { certificate: c, key: k }\nrootOfTrust: { file: r }\nstore: { ${store} }\n${rest}`,
    join(folder, "node.yaml"),
  );
}

test("an address with user, password and TLS becomes connection options and a lock URL", () => {
  const config = configWith(
    "address: 'redis:6379', username: u, passwordFile: password, tls: { ca: ca.pem }, replicas: 2",
  );
  const connection = storeConnection(config.store, {});
  expect(connection).toEqual({
    address: "redis:6379",
    username: "u",
    password: "p@ss/word",
    tls: { ca: "CA" },
    sentinelTls: { ca: "CA" },
    replicas: 2,
    commandTimeoutMs: 1500,
    assumeSafe: false,
  });
  expect(lockUrls(config.locks, connection)).toEqual(["rediss://u:p%40ss%2Fword@redis:6379"]);
});

test("Sentinels with passwords from the environment become connection options without a lock URL", () => {
  const config = configWith(
    "sentinels: ['a:1', '[::1]:2'], name: n, passwordEnv: P, sentinelPasswordEnv: S, sentinelUsername: su",
  );
  const connection = storeConnection(config.store, { P: "one", S: "two" });
  expect(connection).toMatchObject({
    sentinels: ["a:1", "[::1]:2"],
    name: "n",
    password: "one",
    sentinelUsername: "su",
    sentinelPassword: "two",
  });
  expect(lockUrls(config.locks, connection)).toBeUndefined();
});

test("separate lock masters have no password in their URLs where the store has none", () => {
  const config = configWith(
    "address: 'h:1'",
    "locks: ['redis://a:1', 'rediss://b:2', 'redis://c:3']",
  );
  expect(lockUrls(config.locks, storeConnection(config.store, {}))).toEqual([
    "redis://a:1",
    "rediss://b:2",
    "redis://c:3",
  ]);
});

test.each([
  ["address: 'h:1', passwordEnv: P", "store.passwordEnv: the variable P is not set"],
  ["address: 'h:1', passwordFile: no", `store.passwordFile: ${folder}/no: no such file`],
  [
    "address: 'h:1', passwordFile: empty",
    `store.passwordFile: ${folder}/empty: its first line is empty`,
  ],
  ["address: 'h:1', tls: { ca: no }", `store.tls.ca: ${folder}/no: no such file`],
  [
    "sentinels: ['a:1'], name: n, sentinelPasswordEnv: S",
    "store.sentinelPasswordEnv: the variable S is not set",
  ],
])("%s is refused with the name of the setting", (store, message) => {
  const { store: settings } = configWith(store);
  expect(() => storeConnection(settings, {})).toThrow(OperatorError);
  expect(() => storeConnection(settings, {})).toThrow(message);
});
