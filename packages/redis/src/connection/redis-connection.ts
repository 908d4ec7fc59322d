import { StoreUnavailable } from "@holdfast/engine";
import { Redis, type RedisOptions } from "ioredis";
import { formatAddress, parseAddress } from "./address.ts";
import { type Argument, Line } from "./command-line.ts";
import type { CommandLine, Connection, Connections, Outcome } from "./connection.ts";
import { connectFailure, isReply, isTimeout, storeFailure } from "./failure.ts";
import type { ConnectionSettings } from "./options.ts";
import { quietSentinelConnector } from "./quiet-sentinel-connector.ts";
import { readServerInfo, type ServerInfo } from "./server-info.ts";
import { reportCertificate } from "./shown-certificate.ts";

/**
 * One socket to one Redis process. It never reconnects and never sends anything twice: a command is
 * answered on this socket or fails with it. ioredis would resend a WAITAOF on a new connection,
 * where Redis answers at once that everything is covered, since nothing was written there.
 */
class RedisConnection implements Connection {
  readonly address: string;
  readonly info: ServerInfo;
  readonly closed: Promise<string>;
  readonly #redis: Redis;
  #reason = "";
  #open = true;

  private constructor(redis: Redis, address: string, info: ServerInfo) {
    this.#redis = redis;
    this.address = address;
    this.info = info;
    this.closed = new Promise((resolve) => {
      const end = (): void => {
        this.destroy("Redis closed the connection");
        resolve(this.#reason);
      };
      if (redis.status === "end") end();
      else redis.once("end", end);
    });
  }

  static toPrimary(
    settings: ConnectionSettings,
    purpose: string,
    attempt = 0,
  ): Promise<RedisConnection> {
    let named: string | undefined;
    const options = primaryOptions(settings, purpose, attempt, (address) => {
      named = address;
    });
    return RedisConnection.#connect(options, settings, describe(settings), () => named);
  }

  static to(
    settings: ConnectionSettings,
    address: string,
    purpose: string,
  ): Promise<RedisConnection> {
    const options = { ...commonOptions(settings, purpose), ...parseAddress(address) };
    return RedisConnection.#connect(options, settings, address);
  }

  static async #connect(
    options: LegacyOptions,
    settings: ConnectionSettings,
    target: string,
    named: () => string | undefined = () => undefined,
  ): Promise<RedisConnection> {
    const redis = new Redis(options);
    let lastError: unknown;
    redis.on("error", (error: unknown) => {
      lastError ??= error;
    });
    const late = setTimeout(() => {
      const isOpen = redis.status === "connecting" && redis.stream?.connecting === false;
      const what = isOpen && settings.tls !== undefined ? "begin TLS" : "answer";
      lastError ??= new StoreUnavailable("timeout", `Redis ${target} did not ${what} in time`);
      drop(redis);
    }, settings.connectTimeoutMs);
    try {
      await redis.connect();
      const server = { kind: "redis", address: named() ?? target } as const;
      reportCertificate(redis.stream, server, settings.onCertificate);
      const { remoteAddress, remotePort } = redis.stream;
      const address = named() ?? formatAddress(remoteAddress ?? target, remotePort ?? 0);
      const info = readServerInfo(String(await redis.info()));
      return new RedisConnection(redis, address, info);
    } catch (error) {
      drop(redis);
      throw connectFailure(lastError ?? error, target, settings.tls !== undefined);
    } finally {
      clearTimeout(late);
    }
  }

  get open(): boolean {
    return this.#open;
  }

  async call(...[name, ...args]: CommandLine): Promise<unknown> {
    const outcome = await this.#outcome(this.#send(name, args));
    if ("error" in outcome) throw storeFailure(outcome.error, this.address);
    return outcome.value;
  }

  batch(commands: readonly CommandLine[]): Promise<readonly Outcome[]> {
    const { stream } = this.#redis;
    stream.cork();
    const outcomes = commands.map(([name, ...args]) => this.#outcome(this.#send(name, args)));
    stream.uncork();
    return Promise.all(outcomes);
  }

  destroy(reason: string): void {
    if (!this.#open) return;
    this.#open = false;
    this.#reason = reason;
    drop(this.#redis);
  }

  #send(name: string, args: readonly Argument[]): Promise<unknown> {
    return this.#redis.sendCommand(new Line(name, args)) as Promise<unknown>;
  }

  #outcome(answer: Promise<unknown>): Promise<Outcome> {
    return answer.then(
      (value) => ({ value }),
      (error: unknown) => {
        if (isTimeout(error)) this.destroy("a command timed out");
        else if (!isReply(error)) this.destroy("the connection was lost");
        return { error };
      },
    );
  }
}

/** Connections by ioredis. */
export const redisConnections: Connections = RedisConnection;

/** ioredis's options with answers in the shapes of RESP 2. */
type LegacyOptions = RedisOptions & { readonly replyMapping: "legacy" };

/** `disconnect` alone waits until the peer closes its end of the stream. */
function drop(redis: Redis): void {
  redis.disconnect();
  redis.stream?.destroy();
}

function describe(settings: ConnectionSettings): string {
  return settings.address ?? `${settings.name} of the Sentinels ${settings.sentinels?.join(", ")}`;
}

function commonOptions(settings: ConnectionSettings, purpose: string): LegacyOptions {
  return {
    lazyConnect: true,
    retryStrategy: null,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
    protocol: 2,
    replyMapping: "legacy",
    disableClientInfo: true,
    connectionName: `holdfast-${purpose}`,
    connectTimeout: settings.connectTimeoutMs,
    commandTimeout: settings.commandTimeoutMs,
    maxLoadingRetryTime: 200,
    ...(settings.username !== undefined && { username: settings.username }),
    ...(settings.password !== undefined && { password: settings.password }),
    ...(settings.tls !== undefined && { tls: settings.tls }),
  };
}

/** Each attempt asks another Sentinel first, and leaves time to ask them all. */
function primaryOptions(
  settings: ConnectionSettings,
  purpose: string,
  attempt: number,
  onPrimary: (address: string) => void,
): LegacyOptions {
  const common = commonOptions(settings, purpose);
  const { sentinels, connectTimeoutMs } = settings;
  if (sentinels === undefined) return { ...common, ...parseAddress(settings.address ?? "") };
  const first = attempt % sentinels.length;
  const eachMs = Math.ceil(connectTimeoutMs / (sentinels.length + 1));
  return {
    ...common,
    connectTimeout: eachMs,
    Connector: quietSentinelConnector(onPrimary),
    sentinels: [...sentinels.slice(first), ...sentinels.slice(0, first)].map(parseAddress),
    name: settings.name,
    role: "master",
    failoverDetector: true,
    sentinelRetryStrategy: () => null,
    sentinelReconnectStrategy: () => 1_000,
    sentinelCommandTimeout: eachMs,
    updateSentinels: false,
    ...(settings.tls !== undefined && { enableTLSForSentinelMode: true }),
    ...(settings.sentinelTls !== undefined && { sentinelTLS: settings.sentinelTls }),
    ...(settings.sentinelUsername !== undefined && { sentinelUsername: settings.sentinelUsername }),
    ...(settings.sentinelPassword !== undefined && { sentinelPassword: settings.sentinelPassword }),
  };
}
