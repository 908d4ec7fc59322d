// Creates the secrets for docker-compose.yml: `npm run compose-secrets [-- DIRECTORY]`. Existing files
// stay; only the files that Redis and Sentinel read are written again from the passwords.

import { spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from "node:fs";
import { basename, join, resolve } from "node:path";
import { pathWithTools } from "./redis-path.mjs";
import { root, say } from "./setup/common.mjs";
import { node24 } from "./setup/packages.mjs";

const regions = ["a", "b"];
const peers = ["a/a1", "a/a2", "b/b1", "b/b2"];
/** Hosts where clients reach the regions; the servers' certificate must name them. */
const hosts = [
  process.env["HOLDFAST_ADDRESS_A"] ?? "127.0.1.1",
  process.env["HOLDFAST_ADDRESS_B"] ?? "127.0.2.1",
  // HAProxy, and the nodes.
  ...["56", "57"].flatMap((net) => ["5", "21", "22"].map((host) => `172.30.${net}.${host}`)),
  "localhost",
];
const directory = resolve(process.argv[2] ?? join(root, ".holdfast", "compose"));

mkdirSync(directory, { recursive: true, mode: 0o700 });
makePki();
for (const region of regions) makeRegion(join(directory, region));
// Where each node remembers its store. Docker would make them for root.
for (const peer of peers) {
  mkdirSync(join(directory, "memory", basename(peer)), { recursive: true, mode: 0o700 });
}
const isRoot = process.getuid?.() === 0;
// A node does not run as root, so files created by root are given to the image's own user.
if (isRoot) {
  for (const name of readdirSync(directory, { recursive: true, encoding: "utf8" })) {
    chownSync(join(directory, name), 65532, 65532);
  }
}
const owner = isRoot ? "" : "HOLDFAST_UID=$(id -u) HOLDFAST_GID=$(id -g) ";
process.stdout.write(`The secrets lie in ${directory}. Begin the stores, once, and start all:
  export ${owner}HOLDFAST_SECRETS=${directory}
  HOLDFAST_INIT=1 docker compose run --rm --build store-init-a
  HOLDFAST_INIT=1 docker compose run --rm store-init-b
  docker compose up --wait
`);

/** Creates certificates of servers, client and peers, and each region's root key, sealing key and region key. */
function makePki() {
  const { status } = spawnSync(
    node24,
    [
      ...[join(root, "packages/cli/src/main.ts"), "dev", "pki", "--out", directory],
      ...hosts.flatMap((host) => ["--host", host]),
      ...peers.flatMap((peer) => ["--peer", peer]),
    ],
    { stdio: ["ignore", "ignore", "inherit"], env: { ...process.env, PATH: pathWithTools() } },
  );
  if (status === 0) return;
  say("the certificates could not be made");
  process.exit(1);
}

/**
 * Creates the passwords of one region's Redis, and the files made from them.
 * @param {string} folder
 */
function makeRegion(folder) {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const passwords = {
    holdfast: password(join(folder, "redis-password")),
    replica: password(join(folder, "redis-replication-password")),
    sentinel: password(join(folder, "redis-sentinel-password")),
    operator: password(join(folder, "redis-operator-password")),
  };
  const atSentinel = password(join(folder, "sentinel-password"));
  let users = readFileSync(join(root, "deploy/redis/users.acl"), "utf8");
  for (const [user, secret] of Object.entries(passwords)) users = withPassword(users, user, secret);
  const sentinel = [
    `sentinel auth-pass holdfast ${passwords.sentinel}`,
    `requirepass ${atSentinel}`,
    `sentinel sentinel-pass ${atSentinel}`,
    // deploy/redis/start.sh asks which Redis is the primary, with the only password that a Redis knows.
    `user replica on #${sha256(passwords.replica)} resetkeys resetchannels -@all +sentinel|master`,
  ];
  const replication = ["masteruser replica", `masterauth ${passwords.replica}`];
  // Redis runs as another user in its container; the mode of the folder excludes all other users.
  for (const [name, text] of [
    ["users.acl", users],
    ["replication.conf", `${replication.join("\n")}\n`],
    ["sentinel.conf", `${sentinel.join("\n")}\n`],
  ]) {
    writeFileSync(join(folder, name ?? ""), text ?? "", { mode: 0o644 });
  }
}

/**
 * A password that is created once.
 * @param {string} file
 */
function password(file) {
  if (!existsSync(file)) {
    writeFileSync(file, `${randomBytes(24).toString("hex")}\n`, { mode: 0o600 });
  }
  return readFileSync(file, "utf8").trim();
}

/**
 * Replaces the hash of a shipped user, which is all zeros and so matches no password.
 * @param {string} users
 * @param {string} user
 * @param {string} secret
 */
function withPassword(users, user, secret) {
  const line = new RegExp(`^(user ${user} on )#0{64} `, "m");
  if (!line.test(users)) throw new Error(`deploy/redis/users.acl has no user ${user}`);
  return users.replace(line, `$1#${sha256(secret)} `);
}

/** @param {string} text */
function sha256(text) {
  return createHash("sha256").update(text).digest("hex");
}
