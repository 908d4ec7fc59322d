import { createHash, randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { createAuthority } from "@holdfast/testing/pki";
import { exportJWK, generateKeyPair, type JWTPayload, SignJWT } from "jose";

type KeyPair = Awaited<ReturnType<typeof generateKeyPair>>;

/** How a test's token differs from a valid one. */
export interface TokenOptions {
  readonly claims?: JWTPayload;
  readonly issuer?: string;
  /** null = none. */
  readonly audience?: string | null;
  /** Seconds from now. */
  readonly expiresIn?: number;
  readonly key?: KeyPair;
  readonly kid?: string;
  readonly typ?: string;
}

/** The one client that may sign people in. */
interface ProviderClientEntry {
  readonly id: string;
  /** Undefined for a public client. */
  readonly secret: string | undefined;
  readonly redirectUris: readonly string[];
}

/** An identity provider over real TLS: discovery, keys, tokens of any kind, and sign-in with PKCE. */
export class OidcProvider implements AsyncDisposable {
  readonly ca: string;
  readonly issuer: string;
  /** The paths of the requests received. */
  readonly asked: string[] = [];
  /** Replaces fields of the discovery document; for providers that lie. */
  discovery: Readonly<Record<string, unknown>> = {};
  broken = false;
  client: ProviderClientEntry = { id: "console", secret: undefined, redirectUris: [] };
  /** The token that the next sign-in gives. */
  grants: TokenOptions = {};
  /** Replaces fields of the token endpoint's answer. */
  tokenAnswer: Readonly<Record<string, unknown>> = {};
  /** Where it leads after it ended its own session. */
  postLogoutUris: readonly string[] = [];
  /** How often it ended its own session. */
  ended = 0;
  /** The scheme of the header Authorization of each request at the token endpoint; empty where there was none. */
  readonly seen: string[] = [];
  readonly #server: Server;
  /** Code → the challenge for whose verifier it counts, once, and the redirect URI. */
  readonly #codes = new Map<string, string>();
  #key: KeyPair;
  #kid = "k1";

  private constructor(server: Server, ca: string, key: KeyPair) {
    this.#server = server;
    this.#key = key;
    this.ca = ca;
    this.issuer = `https://localhost:${(server.address() as AddressInfo).port}/realm`;
    server.on("request", (request, response) => {
      this.#serve(request, response).catch(() => response.writeHead(500).end("{}"));
    });
  }

  static async start(): Promise<OidcProvider> {
    const since = { notBeforeMs: Date.now() - 1000, days: 1 };
    const authority = await createAuthority({ commonName: "Provider CA", ...since });
    const { certificate, key } = await authority.issue({
      commonName: "provider",
      hosts: ["localhost"],
      ...since,
    });
    const server = createServer({ cert: certificate, key });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const pair = await generateKeyPair("ES256", { extractable: true });
    return new OidcProvider(server, authority.certificate, pair);
  }

  /** Signs with a new key from now on. */
  async rotate(kid: string): Promise<void> {
    this.#key = await generateKeyPair("ES256", { extractable: true });
    this.#kid = kid;
  }

  token({ claims = {}, issuer, audience, expiresIn = 300, key, kid, typ }: TokenOptions = {}) {
    const nowSeconds = Math.floor(Date.now() / 1000);
    const token = new SignJWT({ sub: "alice", roles: ["kmip-operators"], ...claims })
      .setProtectedHeader({ alg: "ES256", kid: kid ?? this.#kid, typ: typ ?? "at+jwt" })
      .setIssuer(issuer ?? this.issuer)
      .setIssuedAt(nowSeconds)
      .setExpirationTime(nowSeconds + expiresIn);
    if (audience !== null) token.setAudience(audience ?? "holdfast");
    return token.sign((key ?? this.#key).privateKey);
  }

  /** What a person's decision at the page of an authorization request leads to; throws if the request is wrong. */
  decide(request: string, decision: "allow" | "deny"): string {
    const asked = new URL(request).searchParams;
    const { id, redirectUris } = this.client;
    const redirectUri = asked.get("redirect_uri") ?? "";
    if (!redirectUris.includes(redirectUri)) throw new Error(`redirect_uri: ${redirectUri}`);
    const challenge = asked.get("code_challenge") ?? "";
    const wanted = { response_type: "code", client_id: id, code_challenge_method: "S256" };
    for (const [name, value] of Object.entries(wanted)) {
      if (asked.get(name) !== value) throw new Error(`${name}: ${asked.get(name)}`);
    }
    if (!/^[\w-]{43}$/.test(challenge)) throw new Error("no code_challenge");
    const back = new URL(redirectUri);
    if (decision === "deny") back.searchParams.set("error", "access_denied");
    else {
      const code = randomUUID();
      this.#codes.set(code, `${challenge} ${redirectUri}`);
      back.searchParams.set("code", code);
    }
    back.searchParams.set("state", asked.get("state") ?? "");
    back.searchParams.set("iss", this.issuer);
    return back.href;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "", this.issuer);
    const path = url.pathname;
    this.asked.push(path);
    if (this.broken) throw new Error("broken");
    if (path === "/realm/authorize") {
      response.writeHead(200, { "content-type": "text/html" }).end(this.#page(url));
    } else if (path === "/realm/logout" || path === "/realm/logged-out") {
      const back = this.#backAfter(url);
      if (path === "/realm/logged-out") {
        this.ended += 1;
        response.writeHead(303, { location: back }).end();
        return;
      }
      const link = `<a href="logged-out${url.search.replaceAll("&", "&amp;")}">Yes, sign out</a>`;
      response.writeHead(200, { "content-type": "text/html" });
      response.end(`<!doctype html><html lang="en"><title>The provider</title>\n${link}`);
    } else if (path === "/realm/token") {
      const [status, answer] = await this.#exchange(request);
      response.writeHead(status, { "content-type": "application/json" });
      response.end(JSON.stringify(answer));
    } else {
      response.end(JSON.stringify(await this.#document(path)));
    }
  }

  async #document(path: string): Promise<unknown> {
    if (path === "/realm/.well-known/openid-configuration") {
      const { issuer } = this;
      return {
        issuer,
        jwks_uri: `${issuer}/keys`,
        authorization_endpoint: `${issuer}/authorize`,
        token_endpoint: `${issuer}/token`,
        ...this.discovery,
      };
    }
    const jwk = await exportJWK(this.#key.publicKey);
    return { keys: [{ ...jwk, kid: this.#kid, alg: "ES256", use: "sig" }] };
  }

  /** OpenID Connect RP-Initiated Logout 1.0, section 3: only an address that the client registered. */
  #backAfter({ searchParams }: URL): string {
    const back = searchParams.get("post_logout_redirect_uri") ?? "";
    const isKnown = searchParams.get("client_id") === this.client.id;
    if (isKnown && this.postLogoutUris.includes(back)) return back;
    throw new Error(`post_logout_redirect_uri: ${back}`);
  }

  /** Where a person decides whether to sign in. */
  #page(url: URL): string {
    const link = (decision: "allow" | "deny", words: string) =>
      `<p><a href="${this.decide(url.href, decision).replaceAll("&", "&amp;")}">${words}</a>`;
    const links = [link("allow", "Sign in as alice"), link("deny", "Refuse")].join("\n");
    return `<!doctype html><html lang="en"><title>The provider</title>\n${links}`;
  }

  /** RFC 6749, 4.1.3 and 5, and RFC 7636, 4.6. */
  async #exchange(request: IncomingMessage): Promise<readonly [number, unknown]> {
    const form = new URLSearchParams(await text(request));
    const { authorization = "" } = request.headers;
    const { id, secret } = this.client;
    this.seen.push(authorization.split(" ")[0] ?? "");
    const [user, password] = Buffer.from(authorization.replace(/^Basic /, ""), "base64")
      .toString()
      .split(":")
      .map((part) => decodeURIComponent(part.replaceAll("+", " ")));
    const isKnown =
      secret === undefined
        ? form.get("client_id") === id && authorization === ""
        : (user === id && password === secret) || form.get("client_secret") === secret;
    if (request.method !== "POST" || !isKnown) return [401, { error: "invalid_client" }];
    const code = form.get("code") ?? "";
    const bound = this.#codes.get(code);
    this.#codes.delete(code);
    const verified = createHash("sha256")
      .update(form.get("code_verifier") ?? "")
      .digest("base64url");
    const isRight =
      form.get("grant_type") === "authorization_code" &&
      bound === `${verified} ${form.get("redirect_uri")}`;
    if (!isRight) return [400, { error: "invalid_grant" }];
    const answer = { access_token: await this.token(this.grants), token_type: "Bearer" };
    return [200, { ...answer, expires_in: 300, ...this.tokenAnswer }];
  }
}
