import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { selfSigned } from "@holdfast/testing/pki";
import { expect, test } from "vitest";
import { OperatorError } from "../base/operator-error.ts";
import { parseConfig } from "../config/config.ts";
import { lockUrls, storeConnection } from "./store-access.ts";

const folder = mkdtempSync(join(tmpdir(), "holdfast-store-"));
writeFileSync(join(folder, "password"), "p@ss/word\nsecond line\n");
writeFileSync(join(folder, "empty"), "\n");
const since = { notBeforeMs: Date.now() - 1000, days: 90 };
const own = await selfSigned({ commonName: "node", ...since });
const other = await selfSigned({ commonName: "CA", ...since });
writeFileSync(join(folder, "ca.pem"), other.certificate);
writeFileSync(join(folder, "half.pem"), other.certificate.slice(0, 200));
writeFileSync(join(folder, "node.pem"), own.certificate);
writeFileSync(join(folder, "node.key"), own.key);
writeFileSync(join(folder, "half.key"), own.key.slice(0, 100));
writeFileSync(join(folder, "other.key"), other.key);

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
    tls: { ca: other.certificate },
    sentinelTls: { ca: other.certificate },
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
  ["address: 'h:1', tls: { ca: half.pem }", `store.tls.ca: ${folder}/half.pem: holds no PEM`],
  [
    "address: 'h:1', tls: { ca: ca.pem, certificate: node.key, key: node.key }",
    `store.tls.certificate: ${folder}/node.key: holds no PEM certificate`,
  ],
  [
    "address: 'h:1', tls: { ca: ca.pem, certificate: node.pem, key: half.key }",
    `store.tls.key: ${folder}/half.key: holds no usable private key`,
  ],
  [
    "address: 'h:1', tls: { ca: ca.pem, certificate: node.pem, key: other.key }",
    `store.tls.key: ${folder}/other.key is not the key of store.tls.certificate ${folder}/node.pem`,
  ],
  [
    "sentinels: ['a:1'], name: n, sentinelPasswordEnv: S",
    "store.sentinelPasswordEnv: the variable S is not set",
  ],
])("%s is refused with the name of the setting", (store, message) => {
  const { store: settings } = configWith(store);
  expect(() => storeConnection(settings, {})).toThrow(OperatorError);
  expect(() => storeConnection(settings, {})).toThrow(message);
});

test("a client certificate for Redis is read with its key", () => {
  const files = "tls: { ca: ca.pem, certificate: node.pem, key: node.key }";
  const { tls } = storeConnection(configWith(`address: 'h:1', ${files}`).store, {});
  expect(tls).toEqual({ ca: other.certificate, cert: own.certificate, key: own.key });
});
