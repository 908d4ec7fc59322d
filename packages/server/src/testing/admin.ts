import { request } from "node:https";
import { contract, type Handlers, ManagementError, type Role, roles } from "@holdfast/admin";
import { createAuthority } from "@holdfast/testing/pki";
import { Authorizer } from "../admin/access/authorizer.ts";
import { type BucketSize, Buckets } from "../admin/access/buckets.ts";
import type { Denial } from "../admin/access/denial-audit.ts";
import type { ConsoleOptions } from "../admin/console/console-routes.ts";
import { ConsoleSessions } from "../admin/console/console-sessions.ts";
import { AdminListener } from "../admin/http/listener.ts";
import { Idempotency } from "../admin/idempotency.ts";
import { MadeBefore } from "../admin/made-before.ts";
import { parseCertificates } from "../base/certificates.ts";
import { systemClock, systemIds } from "../base/system.ts";
import type { ServerIdentity } from "../base/tls.ts";
import {
  authenticator,
  type Bearer,
  type ForeignTokens,
  type TokenRefusal,
} from "../management/tokens/bearer.ts";
import type { NodeEvent } from "../observe/events.ts";
import { type MemoryRegion, MemoryRegions } from "./memory-regions.ts";

/** Names of the tests' instances, by identifier. */
export const instanceNames: Readonly<Record<string, string>> = {
  "6f1f0e9e-3f0f-4b8a-8f5c-2a8d8f4c1a01": "kmip-one",
  "6f1f0e9e-3f0f-4b8a-8f5c-2a8d8f4c1a02": "kmip-two",
};

/** An instance as a handler returns it. */
export const sampleInstance = {
  id: "6f1f0e9e-3f0f-4b8a-8f5c-2a8d8f4c1a01",
  name: "kmip-one",
  description: "",
  labels: {},
  status: "Installed" as const,
  reason: "",
  origin: "order" as const,
  createdBy: "a manager",
  regions: {},
  certificates: 0,
  users: 0,
  keys: {},
  destroyOverKmip: "refused" as const,
  destroyDelay: 604_800,
  pending: {},
  version: "v1",
};

/** An event as a handler returns it. */
export const sampleEvent = {
  eventTime: "2026-11-25T00:00:00Z",
  action: "a",
  outcome: "success" as const,
  severity: "normal" as const,
  initiator: { id: "i" },
  target: { id: "t" },
};

/** Options of a test's listener. */
export interface AdminTestOptions {
  readonly handlers?: Partial<Handlers>;
  /** Tokens by secret, in addition to those of the roles; read again at every request. */
  readonly tokens?: Readonly<Record<string, Bearer | TokenRefusal>>;
  /** Tokens of an identity provider. */
  readonly foreign?: ForeignTokens;
  readonly perSecond?: number;
  readonly failures?: number;
  readonly strangers?: number;
  readonly bodyBytes?: BucketSize;
  readonly lookAgain?: () => Promise<void>;
  readonly madeBefore?: MadeBefore;
  readonly connectionsMax?: number;
  readonly console?: Omit<ConsoleOptions, "sessions">;
  /** Where sessions of the console are kept; a region of its own unless given. */
  readonly region?: Pick<MemoryRegion, "view" | "records">;
  readonly keyProtectApi?: Parameters<typeof AdminListener.open>[0]["keyProtectApi"];
  readonly times?: Parameters<typeof AdminListener.open>[0]["times"];
}

/** A response as received. */
export interface Answered {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  readonly json: Record<string, unknown>;
}

/** Options of a test's request. */
export interface Asking {
  readonly method?: string;
  readonly token?: string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  /** The body without encoding. */
  readonly raw?: string | Buffer;
  /** Sends the body without a media type, as the clients of some languages do. */
  readonly untyped?: true;
}

/** The bearer of a token. */
export function bearer(role: Role, instances?: readonly string[]): Bearer {
  const id = `id-of-${role}${instances === undefined ? "" : "-bound"}`;
  return { id, name: `a ${role}`, roles: [role], instances, expiresMs: undefined };
}

/** The token of a role in tests. */
export function tokenOf(role: string): string {
  return `hf_${`${role}_`.padEnd(43, "x")}`;
}

/** A listener over real TLS, with tokens of all roles and handlers that report that they were reached. */
export async function openAdminTest(options: AdminTestOptions = {}) {
  const authority = await createAuthority({
    commonName: "Test CA",
    notBeforeMs: Date.now() - 1000,
    days: 1,
  });
  const identity = await identityOf(authority);
  const events: NodeEvent[] = [];
  const denials: Denial[] = [];
  const usual: Readonly<Record<string, Bearer>> = Object.fromEntries([
    ...roles.map((role) => [tokenOf(role), bearer(role)]),
    [tokenOf("every-role"), { ...bearer("manager"), roles }],
  ]);
  const verify = (token: string) => options.tokens?.[token] ?? usual[token] ?? "unknown";
  const handlers = { ...reached(), ...options.handlers } as Handlers;
  const { monotonicMs } = systemClock;
  await using opened = new AsyncDisposableStack();
  const { view, records } = options.region ?? opened.use(new MemoryRegions()).a;
  await view.refresh();
  const sessions = new ConsoleSessions({
    view,
    records,
    tokens: { verify },
    lookAgain: () => view.refresh(),
    clock: { monotonicMs, wallMs: options.console?.wallMs ?? systemClock.wallMs },
    ids: systemIds,
  });
  const authorizer = new Authorizer({
    authenticate: authenticator(sessions, options.foreign, undefined, options.console?.vcenters),
    instances: {
      idOf: (text) =>
        Object.entries(instanceNames).find(([id, name]) => id === text || name === text)?.[0],
      labelled: () => [],
    },
    ...(options.lookAgain && { lookAgain: options.lookAgain }),
    requests: new Buckets(
      { perSecond: options.perSecond ?? 10_000, burst: options.perSecond ?? 10_000 },
      monotonicMs,
    ),
    failures: new Buckets({ perSecond: 0.001, burst: options.failures ?? 10_000 }, monotonicMs),
    strangers: new Buckets({ perSecond: 0.001, burst: options.strangers ?? 10_000 }, monotonicMs),
    bytes: new Buckets(options.bodyBytes ?? { perSecond: 1e9, burst: 1e9 }, monotonicMs),
    denied: (denial) => denials.push(denial),
  });
  const listener = await AdminListener.open({
    listen: { host: "127.0.0.1", port: 0 },
    identity,
    authorizer,
    handlers,
    idempotency: new Idempotency(monotonicMs),
    madeBefore:
      options.madeBefore ??
      new MadeBefore({ get: () => undefined, refresh: async () => undefined }, handlers),
    connectionsMax: options.connectionsMax ?? 64,
    console: options.console && { ...options.console, sessions },
    keyProtectApi: options.keyProtectApi,
    ...(options.times && { times: options.times }),
    newId: systemIds.uuid,
    requestId: systemIds.uuid,
    monotonicMs,
    observe: (event) => events.push(event),
  });
  const ca = authority.certificate;
  opened.defer(() => listener.close());
  const closing = opened.move();
  return {
    listener,
    url: `https://${listener.address}`,
    ca,
    events,
    denials,
    newIdentity: () => identityOf(authority),
    ask: (path: string, asking: Asking = {}) =>
      ask(`https://${listener.address}`, ca, path, asking),
    [Symbol.asyncDispose]: () => closing.disposeAsync(),
  };
}

/** The same, but `atEnd` closes it at the end of the test that opened it. */
export function openerOf(atEnd: (close: () => Promise<void>) => void) {
  return async (options: AdminTestOptions = {}) => {
    const admin = await openAdminTest(options);
    atEnd(() => admin[Symbol.asyncDispose]());
    return admin;
  };
}

async function identityOf(
  authority: Awaited<ReturnType<typeof createAuthority>>,
): Promise<ServerIdentity> {
  const { certificate, key } = await authority.issue({
    commonName: "admin",
    hosts: ["127.0.0.1", "localhost"],
    notBeforeMs: Date.now() - 1000,
    days: 1,
  });
  return { pairs: [{ certificate, key }], leaves: parseCertificates(certificate, "test") };
}

function reached(): Partial<Handlers> {
  const say = () => {
    throw new ManagementError("wrongState", "the handler was reached");
  };
  return Object.fromEntries(Object.keys(contract).map((name) => [name, say]));
}

/** Sends a request that no typed client would send. */
function ask(url: string, ca: string, path: string, asking: Asking): Promise<Answered> {
  const { method = "GET", token, headers = {}, body, raw, untyped } = asking;
  const payload = raw ?? (body === undefined ? undefined : JSON.stringify(body));
  return new Promise((resolve, reject) => {
    const sent = request(
      `${url}${path}`,
      {
        method,
        ca,
        agent: false,
        headers: {
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
          ...(payload === undefined
            ? {}
            : {
                ...(untyped !== true && { "content-type": "application/json" }),
                // Node sends no content-length with DELETE.
                "content-length": String(Buffer.byteLength(payload)),
              }),
          ...headers,
        },
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("error", reject);
        response.on("end", () => {
          const text = Buffer.concat(chunks).toString("utf8");
          const { statusCode = 0 } = response;
          resolve({ status: statusCode, headers: response.headers, text, json: parsed(text) });
        });
      },
    );
    sent.on("error", reject);
    sent.end(payload);
  });
}

function parsed(text: string): Record<string, unknown> {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return {};
  }
}
