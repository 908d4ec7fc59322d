import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { createAuthority } from "@holdfast/testing/pki";
import { exportJWK, generateKeyPair, type JWTPayload, SignJWT } from "jose";

type KeyPair = Awaited<ReturnType<typeof generateKeyPair>>;

/** How a test's token differs from a valid one. */
export interface TokenOptions {
  readonly claims?: JWTPayload;
  readonly issuer?: string;
  readonly audience?: string;
  /** Seconds from now. */
  readonly expiresIn?: number;
  readonly key?: KeyPair;
  readonly kid?: string;
  readonly typ?: string;
}

/** An identity provider over real TLS: discovery, keys, and tokens of any kind. */
export class OidcProvider implements AsyncDisposable {
  readonly ca: string;
  readonly issuer: string;
  /** The paths of the requests received. */
  readonly asked: string[] = [];
  /** Replaces fields of the discovery document; for providers that lie. */
  discovery: Readonly<Record<string, unknown>> = {};
  broken = false;
  readonly #server: Server;
  #key: KeyPair;
  #kid = "k1";

  private constructor(server: Server, ca: string, key: KeyPair) {
    this.#server = server;
    this.#key = key;
    this.ca = ca;
    this.issuer = `https://localhost:${(server.address() as AddressInfo).port}/realm`;
    server.on("request", (request, response) => {
      void this.#answer(request.url ?? "").then(
        (document) => response.end(JSON.stringify(document)),
        () => response.writeHead(500).end("{}"),
      );
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
    return new SignJWT({ sub: "alice", roles: ["kmip-operators"], ...claims })
      .setProtectedHeader({ alg: "ES256", kid: kid ?? this.#kid, typ: typ ?? "at+jwt" })
      .setIssuer(issuer ?? this.issuer)
      .setAudience(audience ?? "holdfast")
      .setIssuedAt(nowSeconds)
      .setExpirationTime(nowSeconds + expiresIn)
      .sign((key ?? this.#key).privateKey);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(path: string): Promise<unknown> {
    this.asked.push(path);
    if (this.broken) throw new Error("broken");
    if (path === "/realm/.well-known/openid-configuration") {
      return { issuer: this.issuer, jwks_uri: `${this.issuer}/keys`, ...this.discovery };
    }
    const jwk = await exportJWK(this.#key.publicKey);
    return { keys: [{ ...jwk, kid: this.#kid, alg: "ES256", use: "sig" }] };
  }
}
