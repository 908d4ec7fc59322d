import { implementedOperations, operationSets } from "@holdfast/engine/operation-sets";
import { z } from "zod";
import { isPasswordHash } from "../base/password-hash.ts";
import { auditSettings } from "./config-audit.ts";
import { backupSettings } from "./config-backup.ts";
import { consoleSettings } from "./config-console.ts";
import { crlSettings } from "./config-crls.ts";
import { keyProtectApiSettings } from "./config-key-protect-api.ts";
import { rootOfTrustDoc, rootOfTrustRows, sealingKeyFileRow } from "./config-root.ts";
import { connectionsFor, memoryLimit } from "./connections-default.ts";
import {
  choice,
  file,
  files,
  flag,
  group,
  integer,
  list,
  listenAddress,
  optional,
  optionalGroup,
  pems,
  remoteAddress,
  remoteAddresses,
  type Setting,
  secretText,
  shortName,
  someAddresses,
  text,
  texts,
  type Values,
  writtenFile,
} from "./setting.ts";

/** A limit to KMIP operations: at least one of their names, or of the sets' names. */
function operationWords(doc: string) {
  const row = texts(doc, `a list of ${operationSets.join(", ")}, or names of KMIP operations`);
  const schema = z
    .array(z.enum([...operationSets, ...implementedOperations]))
    .min(1)
    .default(["all"]);
  return { ...row, schema, default: JSON.stringify(["all"]) } satisfies Setting<readonly string[]>;
}

/** A list of at least one text. */
function someTexts(doc: string, expects: string, whenLeftOut: readonly string[]) {
  const row = texts(doc, expects);
  const schema = z
    .array(z.string().min(1))
    .min(1)
    .default([...whenLeftOut]);
  return { ...row, schema, default: JSON.stringify(whenLeftOut) } satisfies Setting<
    readonly string[]
  >;
}

/** A number whose default depends on where the node runs. */
function byDefault(row: Setting<number>, value: () => number, doc: string): Setting<number> {
  return { ...row, schema: row.schema.default(value), default: doc };
}

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

const allowPublic = (listener: string) =>
  flag(
    `Lets \`${listener}.listen\` be a wildcard (0.0.0.0, [::]) or a public address. Loopback and private addresses need no permission.`,
    false,
  );

const claimForm = /^[\w:/-]{1,128}(\.[\w:/-]{1,128}){0,4}$/;

function claim(doc: string, whenLeftOut: string): Setting<string> {
  const row = text(doc, "the name of a claim", claimForm);
  return { ...row, schema: row.schema.default(whenLeftOut), default: whenLeftOut };
}

/** Every setting of a node: validation and docs/configuration.md are made from this table. */
export const configTable = {
  region: shortName("The region this node belongs to; stamped on everything it writes."),
  node: shortName("The node's name, unique in its region."),
  kmip: group("The KMIP endpoint.", {
    listen: listenAddress("Where KMIP clients connect.", "127.0.0.1:5696"),
    allowPublic: allowPublic("kmip"),
    endpoints: optional(
      someAddresses(
        "Where vCenter connects in this region, as it sees it: all nodes, or the load balancer before them. Shown with instances; left out, `kmip.listen`.",
      ),
    ),
    interop: flag(
      "Offers the Interop operation (KMIP 2.1, 6.1.26) that conformance runs need. Never in production.",
      false,
    ),
    connectionsMax: byDefault(
      integer(
        "The most connections of admitted clients at the same time; one instance may have half of them. At this limit the connection that has been idle longest is closed: one of the same instance, or of the instance with the most. In addition, up to a quarter as many (at least 64, at most 2048) may be in their handshake, half of them from one address; at that limit a silent one is closed first, then the oldest. A connection costs about 74 KB: give a container enough memory for a larger number.",
        {
          min: 1,
          max: 1_000_000,
          default: 10_000,
        },
      ),
      () => connectionsFor(memoryLimit()),
      "what fits into half of the memory that the container or the machine has, beside 128 MiB in flight: 4352 in 1 GiB, at least 256, at most 10000",
    ),
    handshakeTimeoutMs: integer(
      "How long a TLS handshake may take.",
      { min: 100, max: 600_000, default: 10_000 },
      "ms",
    ),
    requestBytesMax: integer(
      "The largest request, its header included; a larger one is refused by its header.",
      { min: 1024, max: 8_388_608, default: 1_048_576 },
      "bytes",
    ),
    requestDeadlineMs: integer(
      "How long a client may take to send one request, from its first byte to its last, and to read a response. As long, a large request waits for memory.",
      { min: 100, max: 600_000, default: 10_000 },
      "ms",
    ),
    idleTimeoutMs: integer(
      "How long a connection may stay open without a request.",
      { min: 1000, max: 86_400_000, default: 900_000 },
      "ms",
    ),
    pipelineMax: integer(
      "Requests of one connection that wait behind the one being answered, before reading pauses.",
      { min: 1, max: 1024, default: 16 },
    ),
    inFlightBytesMax: integer(
      "Memory for large requests and unsent answers of all connections together, half of it for the requests of one instance; beyond it reading pauses.",
      { min: 1_048_576, max: 17_179_869_184, default: 134_217_728 },
      "bytes",
    ),
  }),
  tls: group(
    "The KMIP endpoint's certificate. The files are read again when they change and on SIGHUP; a pair that does not match is refused and the old one kept.",
    {
      certificate: files(
        "PEM file with the server's certificate, followed by its intermediates. A list offers several kinds, such as ECDSA and RSA.",
      ),
      key: files("PEM file with the private key; a list in the order of `tls.certificate`."),
      suites: choice(
        "`default`: TLS 1.3, and TLS 1.2 with ECDHE and AES-GCM or ChaCha20. `kmip-basic` adds AES128-SHA256 and AES256-SHA256 with RSA key exchange for TLS 1.2, which the KMIP profiles name and which have no forward secrecy; it needs an RSA certificate.",
        ["default", "kmip-basic"],
        "default",
      ),
    },
  ),
  crls: crlSettings,
  http: group("Plain HTTP for `/metrics`, `/livez` and `/readyz`.", {
    listen: listenAddress("Where Prometheus and probes connect.", "127.0.0.1:9464"),
    allowPublic: allowPublic("http"),
  }),
  health: group("gRPC health (grpc.health.v1), plain, for probes.", {
    listen: listenAddress("Where gRPC probes connect.", "127.0.0.1:9465"),
    allowPublic: allowPublic("health"),
    downAfterMs: integer(
      "How long the store must have been out of reach before the node reports it and closes its KMIP listener.",
      { min: 0, max: 60_000, default: 500 },
      "ms",
    ),
    upAfterMs: integer(
      "How long the store must have been within reach before the node opens its KMIP listener again.",
      { min: 0, max: 60_000, default: 500 },
      "ms",
    ),
  }),
  drainMs: integer(
    "After SIGTERM: how long requests in flight may take before their connections are cut.",
    { min: 0, max: 600_000, default: 10_000 },
    "ms",
  ),
  store: group("The region's Redis. Either `address`, or `sentinels` and `name`.", {
    address: optional(remoteAddress("A single Redis.")),
    sentinels: remoteAddresses("The Sentinels that know the Redis."),
    name: optional(text("The name of the Redis at the Sentinels.", "a name", /^[\w.-]{1,128}$/)),
    username: optional(text("ACL user.", "a user name", /^\S{1,128}$/)),
    passwordFile: optional(file("File with the password on its first line.")),
    passwordEnv: optional(
      text("Environment variable with the password.", "the name of a variable", /^[A-Za-z_]\w*$/),
    ),
    sentinelUsername: optional(text("ACL user at the Sentinels.", "a user name", /^\S{1,128}$/)),
    sentinelPasswordFile: optional(file("File with the Sentinels' password on its first line.")),
    sentinelPasswordEnv: optional(
      text(
        "Environment variable with the Sentinels' password.",
        "the name of a variable",
        /^[A-Za-z_]\w*$/,
      ),
    ),
    tls: group("TLS to Redis and its Sentinels; used when `ca` is given.", {
      ca: optional(file("PEM file with the authorities that Redis's certificate must come from.")),
      certificate: optional(file("PEM file with this node's client certificate.")),
      key: optional(file("PEM file with its private key.")),
    }),
    replicas: integer(
      "The least number of replicas that must have every change. Every replica ever seen counts too, until `holdfast store replicas --forget` lowers it.",
      { min: 0, max: 16, default: 0 },
    ),
    leaseMs: integer(
      "How long one full barrier lets the node use its store; keep it below Sentinel's `down-after-milliseconds`.",
      { min: 200, max: 60_000, default: 1000 },
      "ms",
    ),
    commandTimeoutMs: integer(
      "How long a command may take before its connection is given up.",
      { min: 50, max: 60_000, default: 1500 },
      "ms",
    ),
    externalFailover: flag(
      "Says that something other than Sentinel may promote a replica of `store.address` (a managed service does). Then a short barrier ends reads too.",
      false,
    ),
    memoryFile: optional(
      writtenFile(
        "Where this node keeps what it remembers of its region's store, so that it notices if an older state of a record or of the store is put back. The node makes the file, mode 0600, encrypted by the root of trust; each node needs its own, on a disk that outlasts the process, and not on Redis's machine. About 30 MB for a million records. Left out, the node believes what Redis has, and warns.",
      ),
    ),
    assumeSafe: flag(
      "Skips the check of a Redis that shows its settings neither in INFO nor by CONFIG GET. You are then responsible for `appendonly yes`, `appendfsync always` and `maxmemory-policy noeviction`.",
      false,
    ),
  }),
  locks: texts(
    "Lock masters, as redis://HOST:PORT or rediss://HOST:PORT: 1, 3 or 5 Redis servers apart from the store. They use the store's user, password and TLS files. Left out, the store itself, if it has `store.address`. A single region with Sentinels and without these has no leader: no scheduled backups, no shipping of audit events. Two regions with Sentinels need them.",
    "a list of URLs like redis://127.0.0.1:6380, without user or password",
    isLockUrl,
  ),
  peer: optionalGroup(
    "The other region. Left out, this region is alone. With it, both take writes: a change is sent to the other region while this region's store makes it durable, the nodes of either region serve from the other's store while their own is out of reach, and objects are destroyed only by agreement.",
    {
      region: shortName("The other region's name."),
      addresses: someAddresses(
        "Where the other region's nodes listen for their peers: the `peer.listen` of all of them.",
      ),
      listen: listenAddress(
        "Where the other region's nodes connect: gRPC over mutual TLS.",
        "127.0.0.1:9443",
      ),
      allowPublic: allowPublic("peer"),
      tls: group(
        "This node's certificate for connections between the regions, and the authority that issues all such certificates and no others. The files are read again when they change and on SIGHUP.",
        {
          ca: file(
            "PEM file with the peers' certificate authority; while it is being replaced, the old and the new one.",
          ),
          certificate: file(
            "PEM file with this node's certificate, followed by its intermediates. Its DNS names are `REGION.peer.holdfast` and `NODE.REGION.peer.holdfast` with the names of this region and this node; for both directions, so with both purposes (server and client authentication) or none.",
          ),
          key: file("PEM file with the private key."),
        },
      ),
      regionKeyFile: file(
        "PEM file with this region's private key (EC P-256), mode 0600, the same at every node of the region; `holdfast region-key init` makes it. The regions prove these keys to each other on every connection, and key-encryption keys are sealed to them. The file is read again when it changes and on SIGHUP.",
      ),
      keys: pems(
        "The public half of the other region's key, as `holdfast region-key show` prints it there: a PEM file, or PEM text. While that key is being replaced, the old one and the new one, in one file or two. Files are read again when they change and on SIGHUP.",
      ),
      acknowledgement: choice(
        "`preferred`: a change that the other region does not acknowledge in time is acknowledged by this one alone, and counted; it is lost if this region's store is lost for good before the other region has caught up. `required`: such a change is answered with an error.",
        ["preferred", "required"],
        "preferred",
      ),
      pushTimeoutMs: integer(
        "How long a change waits for the other region.",
        { min: 50, max: 10_000, default: 500 },
        "ms",
      ),
    },
  ),
  rootOfTrust: group(rootOfTrustDoc, rootOfTrustRows),
  sealingKeyFile: sealingKeyFileRow,
  audit: auditSettings,
  admin: optionalGroup(
    "The management API: REST over HTTPS under `/v1`, for `holdfast` and for scripts. Left out, this node has none.",
    {
      listen: listenAddress("Where administrators connect.", "127.0.0.1:8443"),
      allowPublic: allowPublic("admin"),
      tls: group(
        "The certificate of the management API. The files are read again when they change and on SIGHUP; a pair that does not match is refused and the old one kept.",
        {
          certificate: files("PEM file with the certificate, followed by its intermediates."),
          key: files(
            "PEM file with the private key; a list in the order of `admin.tls.certificate`.",
          ),
        },
      ),
      bootstrapFile: optional(
        writtenFile(
          "Where the first token comes from: while no valid token has the role manager, or none the role security-officer, the node writes a one-time token here, mode 0600. `holdfast token create` makes a token with the missing roles with it, which is its only use; when none is missing, the node removes the file. Left out, none is written; nor for a role that `admin.oidc` gives.",
        ),
      ),
      connectionsMax: integer(
        "The most connections at the same time that have presented a token; half of them may be for one instance, or for one token that is not bound to a single instance. As many again may be open that have not presented a token yet, half of them from one address. At a limit the connection that has been idle longest is closed, or the oldest that has presented no token.",
        {
          min: 8,
          max: 100_000,
          default: 256,
        },
      ),
      requestsPerSecond: integer(
        "Requests a second that one token may make on average; twice as many at once.",
        { min: 1, max: 100_000, default: 100 },
      ),
      console: consoleSettings,
      keyProtectApi: keyProtectApiSettings,
      oidc: optionalGroup(
        "Tokens of an identity provider (OpenID Connect), beside Holdfast's own.",
        {
          issuer: text(
            "The provider's issuer, as its tokens name it; its keys are found from there.",
            "an https:// URL",
            /^https:\/\/\S{1,500}$/,
          ),
          audience: optional(
            text(
              "The audience (`aud`) that tokens must have. IBM's IAM tokens have none: give `account` then.",
              "a text",
              /^\S{1,500}$/,
            ),
          ),
          account: optional(
            text(
              "The IBM Cloud account (`account.bss`) that tokens must be of. A token of IBM's IAM is for all services: every service that its owner sends one to could use it here too, until it ends.",
              "a text",
              /^\S{1,128}$/,
            ),
          ),
          ca: optional(
            file(
              "PEM file with the authorities that the provider's certificate must come from; the system's unless given.",
            ),
          ),
          roleClaim: claim(
            "The claim that gives roles; its value is a text or a list of texts. Dots lead into objects.",
            "roles",
          ),
          viewer: texts("Values of the claim that make a viewer.", "a list of texts"),
          auditor: texts("Values of the claim that make an auditor.", "a list of texts"),
          operator: texts("Values of the claim that make an operator.", "a list of texts"),
          securityOfficer: texts(
            "Values of the claim that make a security officer.",
            "a list of texts",
          ),
          manager: texts("Values of the claim that make a manager.", "a list of texts"),
          instancesClaim: optional(
            text(
              "The claim with identifiers or names of the instances that a token is bound to; a token without the claim reaches no instance, and `*` means all. Left out, tokens reach all instances.",
              "the name of a claim",
              claimForm,
            ),
          ),
          labelsClaim: optional(
            text(
              "The claim with labels of instances, each as `key=value`: a token reaches the instances that have all of them; with `instancesClaim`, only those of them. A token without the claim, or with a value of another form, reaches no instance, and `*` means all. Left out, labels bind no token.",
              "the name of a claim",
              claimForm,
            ),
          ),
          nameClaim: claim("The claim that names the person in events.", "sub"),
          tokenTypes: someTexts(
            "What the `typ` of a token's header may be. `at+jwt` is an access token (RFC 9068), and an ID token has another one. A provider that marks its access tokens as `JWT`, as Keycloak and Entra ID do, needs `[JWT]`; then `audience` must be one that no ID token has.",
            "a list of texts",
            ["at+jwt"],
          ),
          lifetimeMaxSeconds: integer(
            "For how long a token may still be valid; one that ends later is refused.",
            { min: 60, max: 31_536_000, default: 86_400 },
            "s",
          ),
          clockToleranceSeconds: integer(
            "By how much the provider's clock may differ.",
            { min: 0, max: 300, default: 30 },
            "s",
          ),
        },
      ),
    },
  ),
  instances: list("Tenants. Every certificate of an instance may use all of its keys.", {
    id: optional(text("UUID. Left out, it is derived from the name.", "a lower-case UUID", uuid)),
    name: shortName("The instance's name; unique."),
    certificates: pems(
      "Client certificates that are accepted as they are (dates are checked, purpose and issuer are not): PEM files, or PEM text.",
    ),
    authorities: pems(
      "Authorities whose client certificates belong to this instance: PEM files, or PEM text. Give the certificate that signs the clients', an intermediate where there is one.",
    ),
    users: list(
      "With users, a request must carry the user name and password of one of them in its Credential; without, a Credential is ignored.",
      {
        name: text("User name.", "1 to 128 characters", /^.{1,128}$/s),
        passwordHash: secretText(
          "What `hash-password` prints; with `fips: required`, what `hash-password --for-fips` prints.",
          "a hash made by `hash-password`",
          isPasswordHash,
        ),
      },
    ),
    operations: operationWords(
      "The KMIP operations that all clients of this instance are limited to. `all`: no limit. `vsphere`: what vCenter and hosts send. `read-only`: what changes nothing. Query and Discover Versions are always allowed.",
    ),
    destroyOverKmip: choice(
      "Whether clients may destroy objects over KMIP, revoke Active ones, and set Deactivation Dates. vSphere never does. `holdfast key destroy` and `key revoke` work in any case.",
      ["refused", "allowed"],
      "allowed",
    ),
    destroyDelay: integer(
      "How long a destroyed key can still be restored (`holdfast key restore`): it answers as Destroyed at once, and its material is erased when this time is over. With 0 it is erased at once. Give the same in both regions; the longer one counts (docs/keys.md, Restore).",
      { min: 0, max: 31_536_000, default: 0 },
      "s",
    ),
  }),
  backup: backupSettings,
  fips: choice(
    "`required`: the node runs with OpenSSL's FIPS provider, which refuses algorithms that are not approved, or it does not start (docs/fips.md). The node executes itself again with the provider; `openssl` and `openssl-provider-fips` must be installed.",
    ["off", "required"],
    "off",
  ),
  log: group("The log: one JSON object a line on standard output.", {
    level: choice(
      "Successful reads are logged at `debug`; changes and refusals at `info`.",
      ["debug", "info", "warn", "error"],
      "info",
    ),
  }),
};

/** A node's validated configuration; file paths are absolute. */
export type Config = Values<typeof configTable>;

function isLockUrl(value: string): boolean {
  if (!URL.canParse(value)) return false;
  const url = new URL(value);
  return (
    (url.protocol === "redis:" || url.protocol === "rediss:") &&
    url.hostname !== "" &&
    url.username === "" &&
    url.password === ""
  );
}
