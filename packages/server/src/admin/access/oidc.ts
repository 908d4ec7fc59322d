import {
  createRemoteJWKSet,
  customFetch,
  decodeJwt,
  errors,
  type JWTPayload,
  jwtVerify,
} from "jose";
import { z } from "zod";
import { reasonOf } from "../../base/operator-error.ts";
import { type RoleSettings, rolesOf } from "../../config/oidc-roles.ts";
import type { Bearer, ForeignTokens, TokenRefusal } from "../../management/tokens/bearer.ts";
import type { NodeObserver } from "../../observe/events.ts";
import { fetchJson } from "./https-json.ts";
import type { InstanceNames } from "./instance-names.ts";

/** An identity provider, and how its tokens are read: the settings of `admin.oidc`. */
interface OidcSettings extends RoleSettings {
  readonly issuer: string;
  readonly audience: string | undefined;
  /** The IBM Cloud account (`account.bss`) that tokens must be of. */
  readonly account: string | undefined;
  readonly roleClaim: string;
  readonly instancesClaim: string | undefined;
  readonly labelsClaim: string | undefined;
  readonly nameClaim: string;
  readonly tokenTypes: readonly string[];
  readonly lifetimeMaxSeconds: number;
  readonly clockToleranceSeconds: number;
}

/** What is needed to check the tokens of an identity provider. */
export interface OidcOptions {
  readonly settings: OidcSettings;
  /** PEM of the authorities that may issue its certificate; by default the system's. */
  readonly ca: string | undefined;
  readonly instances: InstanceNames;
  readonly wallMs: () => number;
  readonly monotonicMs: () => number;
  readonly observe: NodeObserver;
}

type KeySet = ReturnType<typeof createRemoteJWKSet>;

/** What the provider says about itself (OpenID Connect Discovery 1.0, section 3), as far as it is used. */
export type Discovery = z.output<typeof discovery>;

/** A provider that was asked. */
interface Found {
  readonly keys: KeySet;
  readonly says: Discovery;
}

/** Only public-key signatures: anybody could make a symmetric one with the public key as secret. */
const algorithms = [
  "RS256",
  "RS384",
  "RS512",
  "PS256",
  "PS384",
  "PS512",
  "ES256",
  "ES384",
  "ES512",
  "EdDSA",
];
const fetchMs = 5000;
const bytesMax = 1 << 20;
const cacheMs = 600_000;
/** Tokens with an unknown key cause a new request to the provider, no more often than this. */
const cooldownMs = 30_000;
const againMs = 10_000;
const httpsUrl = z.string().regex(/^https:\/\//);
/** Without an endpoint that can be used, tokens still count, and nobody signs in here. */
const endpoint = httpsUrl.optional().catch(undefined);
const discovery = z.object({
  issuer: z.string(),
  jwks_uri: httpsUrl,
  authorization_endpoint: endpoint,
  token_endpoint: endpoint,
  /** OpenID Connect RP-Initiated Logout 1.0, section 2.1. */
  end_session_endpoint: endpoint,
  token_endpoint_auth_methods_supported: z.array(z.string()).optional().catch(undefined),
});

/**
 * Tokens of an identity provider: OpenID Connect Core 1.0, 3.1.3.7, and RFC 9068 if they are access
 * tokens.
 */
export class OidcTokens implements ForeignTokens {
  readonly #options: OidcOptions;
  #found: Promise<Found> | undefined;
  /** What the provider said last. */
  #last: Found | undefined;
  /** It is asked again then: its endpoints may move. */
  #foundUntilMs = Number.NEGATIVE_INFINITY;
  #failedMs = Number.NEGATIVE_INFINITY;

  constructor(options: OidcOptions) {
    this.#options = options;
  }

  async verify(token: string): Promise<Bearer | TokenRefusal> {
    const { settings, wallMs } = this.#options;
    // Without the provider: one that is down must not keep the streams of an expired token open.
    if (this.#hasEnded(token)) return "expired";
    let keys: KeySet;
    try {
      ({ keys } = await this.#provider());
    } catch {
      return "unavailable";
    }
    try {
      const { payload, protectedHeader } = await jwtVerify(token, keys, {
        issuer: settings.issuer,
        ...(settings.audience !== undefined && { audience: settings.audience }),
        algorithms,
        clockTolerance: settings.clockToleranceSeconds,
        currentDate: new Date(wallMs()),
        requiredClaims: ["exp", "sub"],
      });
      if (!isOfAccount(payload, settings.account)) return "unknown";
      // IBM's access tokens name no audience: one that does was made for somebody else.
      if (settings.audience === undefined && payload.aud !== undefined) return "unknown";
      return this.#unfit(payload, protectedHeader.typ) ?? this.#bearer(payload);
    } catch (error) {
      return this.#refusal(error);
    }
  }

  #hasEnded(token: string): boolean {
    const { settings, wallMs } = this.#options;
    try {
      const { exp } = decodeJwt(token);
      return exp !== undefined && (exp + settings.clockToleranceSeconds) * 1000 <= wallMs();
    } catch {
      return false;
    }
  }

  #refusal(error: unknown): TokenRefusal {
    if (error instanceof errors.JWTExpired) return "expired";
    const unreachable =
      !(error instanceof errors.JOSEError) ||
      error instanceof errors.JWKSTimeout ||
      error.code === "ERR_JOSE_GENERIC";
    return unreachable ? "unavailable" : "unknown";
  }

  /**
   * Refuses long-lived tokens, and ID tokens: these have the same issuer, audience and signature,
   * but are made for somebody else.
   */
  #unfit({ exp = 0 }: JWTPayload, typ: string | undefined): TokenRefusal | undefined {
    const { settings, wallMs } = this.#options;
    if (!settings.tokenTypes.map(mediaType).includes(mediaType(typ))) return "wrongType";
    const lifetimeMax = settings.lifetimeMaxSeconds + settings.clockToleranceSeconds;
    return exp - wallMs() / 1000 > lifetimeMax ? "longLived" : undefined;
  }

  #bearer(payload: JWTPayload): Bearer | TokenRefusal {
    const { settings } = this.#options;
    // RFC 7519, 4.1.2. The library checks only that it is there.
    const sub: unknown = payload.sub;
    if (typeof sub !== "string" || sub.trim() === "") return "noSubject";
    const roles = rolesOf(valuesOf(payload, settings.roleClaim), settings);
    // A subject without a role has no access here.
    if (roles.length === 0) return "unknown";
    const [name = ""] = valuesOf(payload, settings.nameClaim);
    // A name that cannot be seen, or that moves what stands beside it, could pass for another.
    const isShown = name.trim() !== "" && !/\p{C}/u.test(name);
    return {
      id: `${settings.issuer} ${sub}`,
      name: (isShown ? name : sub).slice(0, 128),
      roles,
      instances: this.#instances(payload),
      expiresMs: payload.exp === undefined ? undefined : payload.exp * 1000,
    };
  }

  /** The instances that both claims leave; undefined = all. */
  #instances(payload: JWTPayload): readonly string[] | undefined {
    const { settings, instances } = this.#options;
    const named = boundBy(payload, settings.instancesClaim)?.flatMap((one) => {
      return instances.idOf(one) ?? [];
    });
    const labels = boundBy(payload, settings.labelsClaim);
    if (labels === undefined) return named;
    const pairs = labels.map((one) => /^([^=]+)=(.*)$/s.exec(one));
    const wanted = new Map<string, string>();
    for (const [, key = "", value = ""] of pairs.map((each) => each ?? [])) {
      // A malformed label, or a second value of one key, reaches no instance.
      if (key === "" || (wanted.get(key) ?? value) !== value) return [];
      wanted.set(key, value);
    }
    const labelled = wanted.size === 0 ? [] : instances.labelled(wanted);
    return labelled.filter((one) => named?.includes(one) ?? true);
  }

  /** What the provider says about itself; rejects while it does not answer, or answers for another issuer. */
  async discovered(): Promise<Discovery> {
    return (await this.#provider()).says;
  }

  /** The same, as far as it is known without asking. */
  get known(): Discovery | undefined {
    return this.#last?.says;
  }

  #provider(): Promise<Found> {
    const nowMs = this.#options.monotonicMs();
    if (this.#found !== undefined && nowMs < this.#foundUntilMs) return this.#found;
    this.#foundUntilMs = nowMs + cacheMs;
    const failedMs = this.#failedMs;
    const found = this.#discover().catch((error: unknown) => {
      if (!this.#waits()) this.#failed(error);
      if (this.#last !== undefined) {
        // The keys may still be given at their place.
        this.#failedMs = failedMs;
        return this.#last;
      }
      this.#found = undefined;
      throw error;
    });
    this.#found = found;
    return found;
  }

  /** OpenID Connect Discovery 1.0, section 4. */
  async #discover(): Promise<Found> {
    const { settings } = this.#options;
    const url = `${settings.issuer.replace(/\/$/, "")}/.well-known/openid-configuration`;
    const found = discovery.safeParse(await this.#fetch(url));
    if (!found.success) throw new Error(`${url}: names no https:// jwks_uri`);
    if (found.data.issuer !== settings.issuer) throw new Error(`${url}: is that of another issuer`);
    const { jwks_uri: keysUrl } = found.data;
    const before = this.#last?.says.jwks_uri === keysUrl ? this.#last.keys : undefined;
    const keys = before ?? this.#keysAt(keysUrl);
    this.#last = { keys, says: found.data };
    return this.#last;
  }

  #keysAt(url: string): KeySet {
    return createRemoteJWKSet(new URL(url), {
      timeoutDuration: fetchMs,
      cacheMaxAge: cacheMs,
      cooldownDuration: cooldownMs,
      [customFetch]: async (asked) => {
        try {
          return Response.json(await this.#fetch(asked));
        } catch (error) {
          // They may have moved.
          this.#foundUntilMs = Number.NEGATIVE_INFINITY;
          throw error;
        }
      },
    });
  }

  /** After a failure, the provider is not asked again for `againMs`. */
  async #fetch(url: string): Promise<unknown> {
    const { ca } = this.#options;
    if (this.#waits()) throw new Error("it was asked a moment ago, and did not answer");
    try {
      return await fetchJson(url, { timeoutMs: fetchMs, bytesMax, ...(ca && { ca }) });
    } catch (cause) {
      this.#failed(cause);
      throw cause;
    }
  }

  #waits(): boolean {
    return this.#options.monotonicMs() - this.#failedMs < againMs;
  }

  #failed(cause: unknown): void {
    const { monotonicMs, observe } = this.#options;
    this.#failedMs = monotonicMs();
    const message = `admin.oidc: tokens cannot be checked: ${reasonOf(cause)}`;
    observe({ type: "warning", message, cause });
  }
}

/** A header's `typ`, by RFC 7515, 4.1.9: without regard to case, and `application/` may be left out. */
function mediaType(typ: string = "JWT"): string {
  return typ.toLowerCase().replace(/^application\//, "");
}

/** IBM's IAM tokens name no audience, but the account that they are of. */
function isOfAccount(payload: JWTPayload, account: string | undefined): boolean {
  return account === undefined || valuesOf(payload, "account.bss").includes(account);
}

/** What a claim binds a token to; undefined = nothing, where no claim is configured or its value is `*`. */
function boundBy(payload: JWTPayload, claim: string | undefined): readonly string[] | undefined {
  if (claim === undefined) return undefined;
  const values = valuesOf(payload, claim);
  return values.includes("*") ? undefined : values;
}

/** The strings of a claim; dots in a name lead into objects, unless the whole name is a claim. */
function valuesOf(payload: JWTPayload, claim: string): readonly string[] {
  const steps = Object.hasOwn(payload, claim) ? [claim] : claim.split(".");
  let value: unknown = payload;
  for (const step of steps) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, step)) return [];
    value = (value as Record<string, unknown>)[step];
  }
  const list = Array.isArray(value) ? value : [value];
  return list.filter((one): one is string => typeof one === "string");
}
