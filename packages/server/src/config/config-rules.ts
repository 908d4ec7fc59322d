import { readNoteKey } from "@holdfast/engine";
import { type RootKind, rootKinds } from "@holdfast/root-of-trust/kinds";
import { type Address, printAddress, reachOf } from "../base/address.ts";
import { kindValues } from "./config-root.ts";
import type { Config } from "./config-table.ts";
import { rolesGiven } from "./oidc-roles.ts";

/** The path to a setting in the configuration: names, and positions in lists. */
export type SettingPath = readonly (string | number)[];

/** What is wrong, and at which setting; `says` follows the setting's name. */
export interface Fault {
  readonly at: SettingPath;
  readonly says: string;
}

/** A setting's name as an operator writes it, such as `instances[0].users[1].name`. */
export function nameOf(path: SettingPath): string {
  return path
    .map((step, at) => (typeof step === "number" ? `[${step}]` : at === 0 ? step : `.${step}`))
    .join("");
}

/** Rules about more than one row. */
export function crossFaults(config: Config): Fault[] {
  return [
    ...listenerFaults("kmip", config.kmip),
    ...listenerFaults("http", config.http),
    ...listenerFaults("health", config.health),
    ...(config.admin === undefined ? [] : adminFaults(config.admin)),
    ...peerFaults(config),
    ...sameAddress(config),
    ...storeFaults(config.store),
    ...lockFaults(config.locks),
    ...tlsFaults(config.tls),
    ...fipsFaults(config),
    ...rootFaults(config.rootOfTrust),
    ...auditFaults(config.audit),
    ...config.crls.flatMap(crlFaults),
    ...repeated(config.instances, (instance) => instance.name, "name"),
    ...repeated(config.instances, (instance) => instance.id, "id"),
    ...config.instances.flatMap(({ users }, at) =>
      repeated(users, (user) => user.name, "name", ["instances", at, "users"]),
    ),
  ];
}

function listenerFaults(
  name: string,
  listener: { readonly listen: Address; readonly allowPublic: boolean },
): Fault[] {
  const reach = reachOf(listener.listen.host);
  if (listener.allowPublic || reach === "loopback" || reach === "private") return [];
  const says = `is a ${reach} address (${printAddress(listener.listen)}); set ${name}.allowPublic: true if that is intended`;
  return [{ at: [name, "listen"], says }];
}

function sameAddress(config: Config): Fault[] {
  const seen = new Map<string, string>();
  return (["kmip", "http", "health", "peer", "admin"] as const).flatMap((name) => {
    const listen = config[name]?.listen;
    if (listen === undefined) return [];
    const address = printAddress(listen);
    const other = seen.get(address);
    seen.set(address, name);
    if (other === undefined || listen.port === 0) return [];
    return [{ at: [name, "listen"], says: `is the address of ${other}.listen; give it its own` }];
  });
}

function peerFaults({ region, peer, store, locks }: Config): Fault[] {
  if (peer === undefined) return [];
  const faults = listenerFaults("peer", peer);
  if (peer.region === region) {
    faults.push({ at: ["peer", "region"], says: `is this region's own name: ${region}` });
  }
  const own = printAddress(peer.listen);
  const addresses = peer.addresses.map(printAddress);
  for (const [at, address] of addresses.entries()) {
    if (addresses.indexOf(address) !== at) {
      faults.push({ at: ["peer", "addresses", at], says: `is named twice: ${address}` });
    }
    if (address === own) {
      faults.push({ at: ["peer", "addresses", at], says: "is peer.listen, this node itself" });
    }
  }
  // With an address the store itself is the lock master; a Redis that Sentinel promotes must not be.
  if (locks.length === 0 && store.sentinels.length > 0) {
    faults.push({
      at: ["locks"],
      says: "is missing: two regions need a leader in each, who is elected at lock masters",
    });
  }
  return faults;
}

function witnessFaults(witnesses: NonNullable<Config["audit"]["log"]>["witnesses"]): Fault[] {
  const base = ["audit", "log", "witnesses"];
  const wrong = witnesses.flatMap(({ url, key }, at): Fault[] => [
    ...(URL.canParse(url) ? [] : [{ at: [...base, at, "url"], says: `is not a URL: ${url}` }]),
    ...(readNoteKey(key)?.kind === "cosignature"
      ? []
      : [{ at: [...base, at, "key"], says: "is not an Ed25519 key for cosignatures (type 4)" }]),
  ]);
  return [
    ...wrong,
    ...repeated(witnesses, ({ name }) => name, "name", base),
    ...repeated(witnesses, ({ key }) => key, "key", base),
  ];
}

function auditFaults({ log, syslog, webhook }: Config["audit"]): Fault[] {
  const faults: Fault[] = witnessFaults(log?.witnesses ?? []);
  if (syslog !== undefined && (syslog.certificate === undefined) !== (syslog.key === undefined)) {
    faults.push({ at: ["audit", "syslog"], says: "needs certificate and key together" });
  }
  if (webhook === undefined) return faults;
  if (webhook.secretFile !== undefined && webhook.secretEnv !== undefined) {
    const says = "and audit.webhook.secretFile exclude each other";
    faults.push({ at: ["audit", "webhook", "secretEnv"], says });
  }
  if (!URL.canParse(webhook.url)) {
    // Its query may hold a secret, so the message does not show it.
    faults.push({ at: ["audit", "webhook", "url"], says: "is not a URL; check its host and port" });
  }
  return faults;
}

function storeFaults(store: Config["store"]): Fault[] {
  const faults: Fault[] = [];
  const bySentinel = store.sentinels.length > 0;
  if (!bySentinel && store.address === undefined) {
    faults.push({ at: ["store", "address"], says: "is missing: set it, or sentinels and name" });
  }
  if (bySentinel && store.address !== undefined) {
    faults.push({ at: ["store", "address"], says: "and store.sentinels exclude each other" });
  }
  if (bySentinel && store.name === undefined) {
    faults.push({ at: ["store", "name"], says: "is missing: Sentinels need it" });
  }
  if (store.passwordFile !== undefined && store.passwordEnv !== undefined) {
    faults.push({
      at: ["store", "passwordEnv"],
      says: "and store.passwordFile exclude each other",
    });
  }
  if (store.sentinelPasswordFile !== undefined && store.sentinelPasswordEnv !== undefined) {
    faults.push({
      at: ["store", "sentinelPasswordEnv"],
      says: "and store.sentinelPasswordFile exclude each other",
    });
  }
  const { ca, certificate, key } = store.tls;
  if ((certificate === undefined) !== (key === undefined)) {
    faults.push({ at: ["store", "tls"], says: "needs certificate and key together" });
  }
  if (ca === undefined && certificate !== undefined) {
    faults.push({ at: ["store", "tls", "ca"], says: "is missing: Redis's certificate is checked" });
  }
  return faults;
}

/** A lock needs a majority of the masters: one that is named twice, or that makes their number even, adds nothing. */
function lockFaults(locks: Config["locks"]): Fault[] {
  const hosts = locks.map((url) => new URL(url).host);
  const again = hosts.findIndex((host, at) => hosts.indexOf(host) !== at);
  if (again >= 0) return [{ at: ["locks", again], says: `is named twice: ${hosts[again]}` }];
  if (locks.length === 0 || [1, 3, 5].includes(locks.length)) return [];
  return [{ at: ["locks"], says: `must be 1, 3 or 5 lock masters, not ${locks.length}` }];
}

function adminFaults(admin: NonNullable<Config["admin"]>): Fault[] {
  const faults = listenerFaults("admin", admin);
  const { certificate, key } = admin.tls;
  if (certificate.length !== key.length) {
    const says = "must name as many files as admin.tls.certificate";
    faults.push({ at: ["admin", "tls", "key"], says });
  }
  const { oidc, console: served } = admin;
  if (served.signIn !== undefined && oidc === undefined) {
    const says = "needs admin.oidc: it says whose tokens count, and which roles they give";
    faults.push({ at: ["admin", "console", "signIn"], says });
  }
  const vcenters = ["admin", "console", "vcenters"];
  faults.push(...repeated(admin.console.vcenters, ({ guid }) => guid, "guid", vcenters));
  faults.push(...rootKeyFaults(admin.keyProtectApi?.rootKeys ?? []));
  if (oidc === undefined) return faults;
  if (oidc.audience === undefined && oidc.account === undefined) {
    const says =
      "is missing: without it, tokens that are meant for others would count; set it, or account for tokens of IBM's IAM";
    faults.push({ at: ["admin", "oidc", "audience"], says });
  }
  if (rolesGiven(oidc).length === 0) {
    const says =
      "gives nobody a role: name values of the claim under viewer, auditor, operator, securityOfficer or manager";
    faults.push({ at: ["admin", "oidc"], says });
  }
  return faults;
}

/** A root key is found by its identifier or an alias: each is of one only. */
function rootKeyFaults(
  rootKeys: readonly { readonly id: string; readonly aliases: readonly string[] }[],
): Fault[] {
  const base = ["admin", "keyProtectApi", "rootKeys"];
  const seen = new Set<string>();
  return rootKeys.flatMap(({ id, aliases }, at) =>
    [id, ...aliases].flatMap((name, place): Fault[] => {
      const isNew = !seen.has(name);
      seen.add(name);
      if (isNew) return [];
      const field = place === 0 ? ["id"] : ["aliases", place - 1];
      return [{ at: [...base, at, ...field], says: `is used twice: ${name}` }];
    }),
  );
}

/** Rules about roots of trust, and how long open keys are trusted. */
function rootFaults(root: Config["rootOfTrust"]): Fault[] {
  // By then every node has looked which key seals.
  const isSoon = root.keepKeksMs < root.kekCacheMs;
  const says = `is below rootOfTrust.kekCacheMs (${root.kekCacheMs}): a node may use an older key for so long`;
  const soon = isSoon ? [{ at: ["rootOfTrust", "keepKeksMs"], says }] : [];
  return [...soon, ...kindFaults(root)];
}

/** The default kind's group must exist and be complete; the groups of other kinds are checked where they exist. */
function kindFaults(root: Config["rootOfTrust"]): Fault[] {
  return rootKinds.flatMap((kind: RootKind) => {
    const { group, settings, faults } = kind;
    const at = group === undefined ? ["rootOfTrust"] : ["rootOfTrust", group.name];
    const isDefault = root.type === kind.kind;
    const values = kindValues(root, kind);
    if (values === undefined) {
      return isDefault ? [{ at, says: `is missing: rootOfTrust.type is ${kind.kind}` }] : [];
    }
    const wrong = isDefault || group !== undefined ? (faults?.(values) ?? []) : [];
    return [
      ...Object.keys(settings).flatMap((name) =>
        "secret" in (settings[name] ?? {}) ? bothSet(values, name, at) : [],
      ),
      ...wrong.map(({ setting, says }) => ({ at: [...at, setting], says })),
      ...(isDefault ? unnamed(kind, values, at) : []),
    ];
  });
}

type Rows = Readonly<Record<string, unknown>>;

function bothSet(rows: Rows, secret: string, at: SettingPath): Fault[] {
  if (rows[`${secret}File`] === undefined || rows[`${secret}Env`] === undefined) return [];
  const says = `and ${nameOf([...at, `${secret}File`])} exclude each other`;
  return [{ at: [...at, `${secret}Env`], says }];
}

/** The default root of trust must set what a reference to a root of trust would contain. */
function unnamed({ reference }: RootKind, rows: Rows, at: SettingPath): Fault[] {
  return Object.entries(reference).flatMap(([name, { optional, secret }]) => {
    if (optional || rows[name] !== undefined) return [];
    if (secret === undefined) {
      return [{ at: [...at, name], says: "is missing: this root of trust is the default" }];
    }
    if (rows[`${name}File`] !== undefined || rows[`${name}Env`] !== undefined) return [];
    const says = `is missing: set it, or ${name}Env; this root of trust is the default`;
    return [{ at: [...at, `${name}File`], says }];
  });
}

function crlFaults({ files, urls }: Config["crls"][number], at: number): Fault[] {
  if (files.length + urls.length > 0) return [];
  return [{ at: ["crls", at], says: "names no list: set files or urls" }];
}

function tlsFaults(tls: Config["tls"]): Fault[] {
  if (tls.certificate.length === tls.key.length) return [];
  return [{ at: ["tls", "key"], says: "must name as many files as tls.certificate" }];
}

/** RSA key exchange is not approved (NIST SP 800-131A), although OpenSSL's FIPS provider does not refuse it. */
function fipsFaults({ fips, tls }: Config): Fault[] {
  if (fips === "off" || tls.suites === "default") return [];
  const says = "must be default with `fips: required`: RSA key exchange is not approved";
  return [{ at: ["tls", "suites"], says }];
}

function repeated<Item>(
  items: readonly Item[],
  pick: (item: Item) => string | undefined,
  field: string,
  base: SettingPath = ["instances"],
): Fault[] {
  const seen = new Map<string, number>();
  return items.flatMap((item, at) => {
    const value = pick(item);
    if (value === undefined) return [];
    const other = seen.get(value);
    if (other === undefined) {
      seen.set(value, at);
      return [];
    }
    return [
      { at: [...base, at, field], says: `is the same as in ${nameOf(base)}[${other}]: ${value}` },
    ];
  });
}
