import { createHash, timingSafeEqual } from "node:crypto";
import { z } from "zod";
import { readText } from "../../base/certificates.ts";
import { OperatorError, reasonOf } from "../../base/operator-error.ts";
import type { Bearer, TokenRefusal } from "../../management/tokens/bearer.ts";
import type { NodeObserver } from "../../observe/events.ts";
import { Buckets } from "../access/buckets.ts";
import { fetchJson, OtherStatus } from "../access/https-json.ts";
import type { Discovery, OidcTokens } from "../access/oidc.ts";

/** Why nobody was signed in. The console has a sentence for each; nothing else reaches the page. */
export type SignInFailure =
  | "providerDown"
  | "providerRefused"
  | "denied"
  | "otherFlow"
  | "usedCode"
  | "wrongType"
  | "longLived"
  | "noSubject"
  | "expired"
  | "noRole"
  | "tooLarge"
  | "noSignOut"
  | "tooMany";

/** What the provider's answer has in the address (RFC 6749, 4.1.2; RFC 9207). Further parameters are ignored. */
export const providerAnswer = z.object({
  state: z.string().max(256),
  code: z.string().min(1).max(8192).optional(),
  error: z.string().optional(),
  iss: z.string().optional(),
});

/** What the token endpoint answers (RFC 6749, 5.1). An ID token says nothing that is used here. */
const tokenAnswer = z.object({
  access_token: z.string().min(1),
  token_type: z.string().regex(/^bearer$/i),
});

/** Ends a sign-in. */
export class SignInFailed extends Error {
  override readonly name = "SignInFailed";
  readonly failure: SignInFailure;

  constructor(failure: SignInFailure) {
    super(failure);
    this.failure = failure;
  }
}

/** What is needed to sign people in at the identity provider. */
export interface ProviderClientOptions {
  readonly settings: {
    readonly origin: string;
    readonly clientId: string;
    readonly scopes: readonly string[];
  };
  /** Undefined for a public client. */
  readonly clientSecret: string | undefined;
  /** Finds the provider, and checks its tokens. */
  readonly oidc: Pick<OidcTokens, "discovered" | "known" | "verify">;
  /** PEM of the authorities that may issue its certificate; by default the system's. */
  readonly ca: string | undefined;
  readonly randomBytes: (count: number) => Uint8Array;
  readonly monotonicMs: () => number;
  readonly observe: NodeObserver;
}

/** A sign-in that a browser has begun, until the provider sends it back. */
export interface Flow {
  /** Binds the provider's answer to this browser. */
  readonly state: string;
  /** Only who has it can use the code (RFC 7636). */
  readonly verifier: string;
}

const exchangeMs = 5000;
const bytesMax = 1 << 17;
/** Failures that the log tells of: strangers can cause them. */
const told = { perSecond: 0.1, burst: 5 };

/** Signs people in at the identity provider: RFC 6749, 4.1, with PKCE (RFC 7636). */
export class ProviderClient {
  readonly #options: ProviderClientOptions;
  readonly #told: Buckets;

  constructor(options: ProviderClientOptions) {
    this.#options = options;
    this.#told = new Buckets(told, options.monotonicMs);
  }

  /** The address of this node's console, as browsers and the provider know it. */
  get origin(): string {
    return this.#options.settings.origin;
  }

  /** Begins a sign-in; `address` is where the browser goes. Throws a `SignInFailed`. */
  async begin(): Promise<{ readonly flow: Flow; readonly address: string }> {
    const { clientId, scopes } = this.#options.settings;
    const { authorization_endpoint } = await this.#discovered();
    const flow = { state: this.#random(), verifier: this.#random() };
    const address = new URL(authorization_endpoint);
    const asks = {
      response_type: "code",
      client_id: clientId,
      redirect_uri: this.#redirectUri,
      scope: scopes.join(" "),
      state: flow.state,
      code_challenge: digest(flow.verifier).toString("base64url"),
      code_challenge_method: "S256",
    };
    for (const [name, value] of Object.entries(asks)) address.searchParams.set(name, value);
    return { flow, address: address.href };
  }

  /** Whether the provider is known to end its own sessions. */
  get endsSessions(): boolean {
    return this.#options.oidc.known?.end_session_endpoint !== undefined;
  }

  /**
   * Where a person ends the session at the provider, which then leads back to the console: OpenID Connect RP-Initiated
   * Logout 1.0. Holdfast keeps no ID token, so the provider asks the person. Throws a `SignInFailed`.
   */
  async signOutAddress(): Promise<string> {
    const found = await this.#options.oidc.discovered().catch(() => undefined);
    if (found === undefined) throw new SignInFailed("providerDown");
    if (found.end_session_endpoint === undefined) throw new SignInFailed("noSignOut");
    const address = new URL(found.end_session_endpoint);
    address.searchParams.set("client_id", this.#options.settings.clientId);
    address.searchParams.set("post_logout_redirect_uri", `${this.origin}/console/`);
    return address.href;
  }

  /** The access token for what the provider answered; throws a `SignInFailed`. */
  async finish(flow: Flow, answer: z.output<typeof providerAnswer>): Promise<string> {
    if (!timingSafeEqual(digest(flow.state), digest(answer.state))) {
      throw new SignInFailed("otherFlow");
    }
    const provider = await this.#discovered();
    // RFC 9207: the answer of another provider.
    if ((answer.iss ?? provider.issuer) !== provider.issuer) throw new SignInFailed("otherFlow");
    if (answer.error === "access_denied") throw new SignInFailed("denied");
    if (answer.error !== undefined || answer.code === undefined) {
      throw new SignInFailed("providerRefused");
    }
    return await this.#exchange(provider, answer.code, flow.verifier);
  }

  /** Whom a token of the provider names, or why it is refused. */
  async check(token: string): Promise<Bearer | TokenRefusal> {
    return await this.#options.oidc.verify(token);
  }

  get #redirectUri(): string {
    return `${this.origin}/console/signed-in`;
  }

  #random(): string {
    return Buffer.from(this.#options.randomBytes(32)).toString("base64url");
  }

  /** The provider with both endpoints. */
  async #discovered() {
    let found: Discovery;
    try {
      found = await this.#options.oidc.discovered();
    } catch {
      // It was reported where it was asked.
      throw new SignInFailed("providerDown");
    }
    const { authorization_endpoint, token_endpoint } = found;
    if (authorization_endpoint !== undefined && token_endpoint !== undefined) {
      return { ...found, authorization_endpoint, token_endpoint };
    }
    this.#tell("it names no https:// authorization_endpoint and token_endpoint");
    throw new SignInFailed("providerRefused");
  }

  /** RFC 6749, 4.1.3. */
  async #exchange(
    provider: Discovery & { readonly token_endpoint: string },
    code: string,
    verifier: string,
  ): Promise<string> {
    const { ca } = this.#options;
    const { form, authorization } = this.#identity(provider);
    const asks = { grant_type: "authorization_code", code, redirect_uri: this.#redirectUri };
    const body = new URLSearchParams({ ...asks, code_verifier: verifier, ...form });
    let answer: unknown;
    try {
      answer = await fetchJson(provider.token_endpoint, {
        timeoutMs: exchangeMs,
        bytesMax,
        form: body,
        ...(authorization && { headers: { authorization } }),
        ...(ca && { ca }),
      });
    } catch (cause) {
      this.#tell(reasonOf(cause), cause);
      const status = cause instanceof OtherStatus ? cause.status : 500;
      if (status >= 500) throw new SignInFailed("providerDown");
      throw new SignInFailed(status === 400 ? "usedCode" : "providerRefused");
    }
    const given = tokenAnswer.safeParse(answer);
    if (given.success) return given.data.access_token;
    this.#tell(`${provider.token_endpoint}: gave no bearer token`);
    throw new SignInFailed("providerRefused");
  }

  /** How the client says who it is (RFC 6749, 2.3.1): in the header, which every provider must take, if it does not say otherwise. */
  #identity({ token_endpoint_auth_methods_supported: methods }: Discovery): {
    readonly form: Readonly<Record<string, string>>;
    readonly authorization?: string;
  } {
    const { clientSecret, settings } = this.#options;
    const { clientId } = settings;
    if (clientSecret === undefined) return { form: { client_id: clientId } };
    const takesPost = methods?.includes("client_secret_post") === true;
    if (takesPost && !methods.includes("client_secret_basic")) {
      return { form: { client_id: clientId, client_secret: clientSecret } };
    }
    const pair = [clientId, clientSecret].map(formEncoded).join(":");
    return { form: {}, authorization: `Basic ${Buffer.from(pair).toString("base64")}` };
  }

  #tell(reason: string, cause?: unknown): void {
    if (this.#told.take("") > 0) return;
    const message = `admin.console.signIn: the provider does not sign people in: ${reason}`;
    this.#options.observe({ type: "warning", message, cause: cause ?? reason });
  }
}

/** The client's secret; an `OperatorError` says what is wrong with its file. */
export function readClientSecret(file: string | undefined): string | undefined {
  if (file === undefined) return undefined;
  const setting = "admin.console.signIn.clientSecretFile";
  const [first = ""] = readText(file, setting).split(/\r?\n/, 1);
  if (first.trim() === "") throw new OperatorError(`${setting}: ${file}: its first line is empty`);
  return first.trim();
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

/** As in a form: `application/x-www-form-urlencoded`. */
function formEncoded(text: string): string {
  return new URLSearchParams({ text }).toString().slice("text=".length);
}
