// Makes what docker-compose.yml takes as secrets: `npm run compose-secrets [-- DIRECTORY]`. What is
// there stays; only the files that Redis reads are written anew from the passwords.

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
import { join, resolve } from "node:path";
import { pathWithTools } from "./redis-path.mjs";
import { root, say } from "./setup/common.mjs";
import { node24 } from "./setup/packages.mjs";

/** Where clients find the nodes; the server's certificate must name them. */
const hosts = [
  process.env["HOLDFAST_ADDRESS_1"] ?? "127.0.1.1",
  process.env["HOLDFAST_ADDRESS_2"] ?? "127.0.1.2",
  ...["172.30.56.21", "172.30.56.22", "localhost"],
];
const directory = resolve(process.argv[2] ?? join(root, ".holdfast", "compose"));

mkdirSync(directory, { recursive: true, mode: 0o700 });
const { status } = spawnSync(
  node24,
  [
    ...[join(root, "packages/server/src/main.ts"), "dev", "pki", "--out", directory],
    ...hosts.flatMap((host) => ["--host", host]),
  ],
  { stdio: ["ignore", "ignore", "inherit"], env: { ...process.env, PATH: pathWithTools() } },
);
if (status !== 0) {
  say("the certificates could not be made");
  process.exit(1);
}
const nodes = password("redis-password");
const replication = password("redis-replication-password");
let users = readFileSync(join(root, "deploy/redis/users.acl"), "utf8");
for (const [user, secret] of Object.entries({ holdfast: nodes, replica: replication })) {
  users = withPassword(users, user, secret);
}
// Redis runs as another user in its container, and the folder keeps everyone else out.
writeFileSync(join(directory, "users.acl"), users, { mode: 0o644 });
writeFileSync(
  join(directory, "replication.conf"),
  `masteruser replica\nmasterauth ${replication}\n`,
  { mode: 0o644 },
);
// A node does not run as root: what root has made is given to the image's own user.
const isRoot = process.getuid?.() === 0;
if (isRoot)
  for (const name of readdirSync(directory)) chownSync(join(directory, name), 65532, 65532);
const owner = isRoot ? "" : "HOLDFAST_UID=$(id -u) HOLDFAST_GID=$(id -g) ";
process.stdout.write(`The secrets lie in ${directory}. Begin the store, once, and start it:
  export ${owner}HOLDFAST_SECRETS=${directory}
  docker compose run --rm --build store-init
  docker compose up --wait
`);

/**
 * A password that is made once.
 * @param {string} name
 */
function password(name) {
  const file = join(directory, name);
  if (!existsSync(file)) {
    writeFileSync(file, `${randomBytes(24).toString("hex")}\n`, { mode: 0o600 });
  }
  return readFileSync(file, "utf8").trim();
}

/**
 * The shipped users' hashes are zeros, which no password has.
 * @param {string} users
 * @param {string} user
 * @param {string} secret
 */
function withPassword(users, user, secret) {
  const line = new RegExp(`^(user ${user} on )#0{64} `, "m");
  if (!line.test(users)) throw new Error(`deploy/redis/users.acl has no user ${user}`);
  return users.replace(line, `$1#${createHash("sha256").update(secret).digest("hex")} `);
}
