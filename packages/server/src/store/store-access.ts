import type { ConnectionOptions } from "node:tls";
import type { RedisConnectionOptions } from "@holdfast/redis";
import { type Address, printAddress } from "../base/address.ts";
import { readText } from "../base/certificates.ts";
import { OperatorError } from "../base/operator-error.ts";
import type { Environment } from "../base/system.ts";
import { readClientTls } from "../base/tls.ts";

/** Where the region's Redis is, and the files and variables that hold its credentials. */
interface StoreSettings {
  readonly address: Address | undefined;
  readonly sentinels: readonly Address[];
  readonly name: string | undefined;
  readonly username: string | undefined;
  readonly passwordFile: string | undefined;
  readonly passwordEnv: string | undefined;
  readonly sentinelUsername: string | undefined;
  readonly sentinelPasswordFile: string | undefined;
  readonly sentinelPasswordEnv: string | undefined;
  readonly tls: Readonly<Record<"ca" | "certificate" | "key", string | undefined>>;
  readonly replicas: number;
  readonly commandTimeoutMs: number;
  readonly assumeSafe: boolean;
}

/** How to reach the region's Redis: its addresses, and the password and TLS files that the configuration names. */
export function storeConnection(
  store: StoreSettings,
  environment: Environment,
): RedisConnectionOptions {
  const { address, sentinels, name, username, replicas, commandTimeoutMs, assumeSafe } = store;
  const password = passwordOf("store", store, environment);
  const tls = tlsOf(store.tls);
  return {
    ...(address === undefined ? {} : { address: printAddress(address) }),
    ...(sentinels.length === 0 ? {} : { sentinels: sentinels.map(printAddress) }),
    ...(name === undefined ? {} : { name }),
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...sentinelAccess(store, environment),
    ...(tls === undefined ? {} : { tls, sentinelTls: tls }),
    replicas,
    commandTimeoutMs,
    assumeSafe,
  };
}

/**
 * URLs of the lock masters with the store's user and password in them. Undefined where a store with Sentinels names no
 * lock masters: a Redis that Sentinel promotes must not be one.
 */
export function lockUrls(
  locks: readonly string[],
  connection: RedisConnectionOptions,
): string[] | undefined {
  const { username, password, tls, address } = connection;
  const plain = locks.length > 0 ? locks : undefined;
  const own = address === undefined ? undefined : [`${tls ? "rediss" : "redis"}://${address}`];
  return (plain ?? own)?.map((text) => {
    const url = new URL(text);
    url.username = encodeURIComponent(username ?? "");
    url.password = encodeURIComponent(password ?? "");
    return url.href;
  });
}

function sentinelAccess(store: StoreSettings, environment: Environment) {
  const { sentinelUsername, sentinelPasswordFile, sentinelPasswordEnv } = store;
  const files = { passwordFile: sentinelPasswordFile, passwordEnv: sentinelPasswordEnv };
  const password = passwordOf("store.sentinel", files, environment);
  return {
    ...(sentinelUsername === undefined ? {} : { sentinelUsername }),
    ...(password === undefined ? {} : { sentinelPassword: password }),
  };
}

function passwordOf(
  prefix: "store" | "store.sentinel",
  from: { readonly passwordFile: string | undefined; readonly passwordEnv: string | undefined },
  environment: Environment,
): string | undefined {
  const nameOf = (name: string) =>
    prefix === "store"
      ? `store.${name}`
      : `store.sentinel${name[0]?.toUpperCase()}${name.slice(1)}`;
  const { passwordFile, passwordEnv } = from;
  if (passwordFile !== undefined) {
    const setting = nameOf("passwordFile");
    const [first = ""] = readText(passwordFile, setting).split(/\r?\n/, 1);
    if (first === "")
      throw new OperatorError(`${setting}: ${passwordFile}: its first line is empty`);
    return first;
  }
  if (passwordEnv === undefined) return undefined;
  const value = environment[passwordEnv];
  if (value === undefined || value === "") {
    throw new OperatorError(`${nameOf("passwordEnv")}: the variable ${passwordEnv} is not set`);
  }
  return value;
}

function tlsOf(tls: StoreSettings["tls"]): ConnectionOptions | undefined {
  return tls.ca === undefined ? undefined : readClientTls(tls, "store.tls");
}
