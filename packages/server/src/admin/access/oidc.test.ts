import { generateKeyPair, SignJWT, UnsecuredJWT } from "jose";
import {
  afterAll,
  beforeAll,
  beforeEach,
  describe,
  expect,
  onTestFinished,
  test,
  vi,
} from "vitest";
import type { NodeEvent } from "../../observe/events.ts";
import { OidcProvider } from "../../testing/oidc-provider.ts";
import { type OidcOptions, OidcTokens } from "./oidc.ts";

let provider: OidcProvider;
let events: NodeEvent[] = [];
let nowMs = 0;

beforeAll(async () => {
  provider = await OidcProvider.start();
});
afterAll(() => provider[Symbol.asyncDispose]());
beforeEach(() => {
  events = [];
  nowMs = 0;
  provider.broken = false;
  provider.discovery = {};
  provider.asked.length = 0;
});

const labelled: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "id-1": { group: "finance", site: "a" },
  "id-2": { group: "finance", site: "b=c" },
  "id-3": {},
};

function tokens(
  settings: Partial<OidcOptions["settings"]> = {},
  ca: string = provider.ca,
): OidcTokens {
  return new OidcTokens({
    settings: {
      issuer: provider.issuer,
      audience: "holdfast",
      account: undefined,
      roleClaim: "roles",
      viewer: ["kmip-viewers"],
      auditor: ["kmip-auditors"],
      operator: ["kmip-operators"],
      securityOfficer: ["kmip-officers"],
      manager: ["kmip-managers"],
      instancesClaim: undefined,
      labelsClaim: undefined,
      nameClaim: "preferred_username",
      clockToleranceSeconds: 5,
      tokenTypes: ["at+jwt"],
      lifetimeMaxSeconds: 3600,
      ...settings,
    },
    ca,
    instances: {
      idOf: (text) => ({ one: "id-1", two: "id-2" })[text],
      labelled: (wanted) =>
        Object.entries(labelled).flatMap(([id, labels]) => {
          return [...wanted].every(([key, value]) => labels[key] === value) ? [id] : [];
        }),
    },
    wallMs: () => Date.now(),
    monotonicMs: () => nowMs,
    observe: (event) => events.push(event),
  });
}

describe("tokens of an identity provider", () => {
  test.each([
    ["at+jwt", ["at+jwt"], "manager"],
    ["application/at+JWT", ["at+jwt"], "manager"],
    ["JWT", ["at+jwt"], "wrongType"],
    ["id+jwt", ["JWT"], "wrongType"],
    ["JWT", ["at+jwt", "JWT"], "manager"],
  ])("with the type %s, where %j are access tokens, give: %s", async (typ, tokenTypes, outcome) => {
    const claims = { roles: ["kmip-managers"] };
    const verified = await tokens({ tokenTypes }).verify(await provider.token({ claims, typ }));
    expect(typeof verified === "string" ? verified : verified.roles.join()).toBe(outcome);
  });

  test("without an audience count if they are of the account, as those of IBM's IAM", async () => {
    const iam = {
      audience: undefined,
      account: "9f86d081884c7d659a2feaa0c55ad015",
      roleClaim: "iam_id",
      manager: ["IBMid-1234"],
      nameClaim: "sub",
      tokenTypes: ["JWT"],
    };
    const claims = { iam_id: "IBMid-1234", account: { valid: true, bss: iam.account } };
    const known = tokens(iam);
    const verified = async (changes: object) => {
      const token = await provider.token({
        claims: { ...claims, ...changes },
        typ: "JWT",
        audience: null,
      });
      return await known.verify(token);
    };
    expect(await verified({})).toMatchObject({ name: "alice", roles: ["manager"] });
    expect(await verified({ iam_id: "IBMid-9" })).toBe("unknown");
    expect(await verified({ aud: "another client" })).toBe("unknown");
    for (const account of [{ bss: "another" }, {}, undefined, iam.account]) {
      expect(await verified({ account }), JSON.stringify(account)).toBe("unknown");
    }
    const bound = tokens({ ...iam, audience: "holdfast" });
    const unbound = await provider.token({ claims, typ: "JWT", audience: null });
    expect(await bound.verify(unbound)).toBe("unknown");
  });

  test("are refused if they are valid for too long", async () => {
    const known = tokens({ lifetimeMaxSeconds: 600 });
    expect(await known.verify(await provider.token({ expiresIn: 500 }))).toMatchObject({
      roles: ["operator"],
    });
    expect(await known.verify(await provider.token({ expiresIn: 700 }))).toBe("longLived");
  });

  test("stand for their subject, with every role that a claim gives", async () => {
    const known = tokens();
    const claims = {
      preferred_username: "alice@example.com",
      roles: ["kmip-viewers", "kmip-managers"],
    };
    expect(await known.verify(await provider.token({ claims }))).toMatchObject({
      id: `${provider.issuer} alice`,
      name: "alice@example.com",
      roles: ["viewer", "manager"],
      instances: undefined,
    });
    expect(await known.verify(await provider.token())).toMatchObject({
      name: "alice",
      roles: ["operator"],
    });
    expect(provider.asked).toEqual(["/realm/.well-known/openid-configuration", "/realm/keys"]);
  });

  test.each(["", " ", "ops\u202e", "o\u200bps", "ops\nroot"])(
    "have their subject as name instead of %j, which could pass for another",
    async (preferred_username) => {
      const token = await provider.token({ claims: { preferred_username } });
      expect(await tokens().verify(token)).toMatchObject({ name: "alice" });
    },
  );

  test("may have a claim in nested objects, or one whose own name has dots", async () => {
    const deep = tokens({ roleClaim: "realm_access.roles" });
    const claims = { realm_access: { roles: ["kmip-viewers"] } };
    expect(await deep.verify(await provider.token({ claims }))).toMatchObject({
      roles: ["viewer"],
    });
    const flat = { "realm_access.roles": "kmip-managers" };
    expect(await deep.verify(await provider.token({ claims: flat }))).toMatchObject({
      roles: ["manager"],
    });
  });

  test.each([
    [["one", "none"], ["id-1"]],
    ["two", ["id-2"]],
    [["*"], undefined],
    [undefined, []],
    [{ one: true }, []],
  ])("that name the instances %j are bound to %j", async (instances, bound) => {
    const known = tokens({ instancesClaim: "instances" });
    const claims = instances === undefined ? {} : { instances };
    expect(await known.verify(await provider.token({ claims }))).toMatchObject({
      instances: bound,
    });
  });

  test.each([
    [["group=finance"], undefined, ["id-1", "id-2"]],
    [["group=finance", "site=b=c"], undefined, ["id-2"]],
    ["site=a", undefined, ["id-1"]],
    [["group=finance"], ["two"], ["id-2"]],
    [["*"], undefined, []],
    [["*"], ["one"], ["id-1"]],
    [["*"], ["*"], undefined],
    [["group=finance", "group=other"], ["*"], []],
    [["group"], ["*"], []],
    [["=finance"], ["*"], []],
    [[], ["*"], []],
    [undefined, ["*"], []],
  ])(
    "that name the labels %j and the instances %j are bound to %j",
    async (labels, instances, bound) => {
      const claim = instances === undefined && bound?.length !== 0 ? undefined : "instances";
      const known = tokens({ instancesClaim: claim, labelsClaim: "labels" });
      const claims = { ...(labels && { labels }), ...(instances && { instances }) };
      expect(await known.verify(await provider.token({ claims }))).toMatchObject({
        instances: bound,
      });
    },
  );

  test.each<[string, () => Promise<string>, string]>([
    ["has expired", () => provider.token({ expiresIn: -60 }), "expired"],
    ["is for another audience", () => provider.token({ audience: "vcenter" }), "unknown"],
    ["is of another issuer", () => provider.token({ issuer: "https://evil.example" }), "unknown"],
    ["has a number as subject", () => provider.token({ claims: numbered }), "noSubject"],
    ["has an empty subject", () => provider.token({ claims: { sub: "" } }), "noSubject"],
    ["gives no role", () => provider.token({ claims: { roles: ["staff"] } }), "unknown"],
    [
      "has roles of Object.prototype",
      () => provider.token({ claims: { roles: { constructor: 1 } } }),
      "unknown",
    ],
    [
      "has another key's signature",
      async () => provider.token({ key: await generateKeyPair("ES256") }),
      "unknown",
    ],
    ["has no signature", async () => unsigned(), "unknown"],
    ["is signed with the public key as an HMAC secret", () => symmetric(), "unknown"],
    ["has changed claims", async () => flipped(await provider.token()), "unknown"],
  ])("are refused if one %s", async (_, make, refusal) => {
    expect(await tokens().verify(await make())).toBe(refusal);
  });

  test("are verified with a new key of the provider, and unknown keys do not cause repeated requests", async () => {
    const known = tokens();
    expect(await known.verify(await provider.token())).toMatchObject({ roles: ["operator"] });
    const asked = provider.asked.length;
    for (let at = 0; at < 5; at++) {
      expect(await known.verify(await provider.token({ kid: `guess-${at}` }))).toBe("unknown");
    }
    expect(provider.asked.length).toBeLessThanOrEqual(asked + 1);
    await provider.rotate("k2");
    expect(await tokens().verify(await provider.token())).toMatchObject({ roles: ["operator"] });
  });

  test("are verified with the keys of where the provider has moved them, without a restart", async () => {
    const known = tokens();
    const operator = { roles: ["operator"] };
    expect(await known.verify(await provider.token())).toMatchObject(operator);
    provider.discovery = {
      jwks_uri: `${provider.issuer}/moved`,
      token_endpoint: "https://moved.example/token",
    };
    await provider.rotate("k3");
    nowMs = 599_000;
    await known.verify(await provider.token());
    expect(provider.asked).not.toContain("/realm/moved");
    nowMs = 600_000;
    expect(await known.verify(await provider.token())).toMatchObject(operator);
    expect(provider.asked.at(-1)).toBe("/realm/moved");
    expect(known.known).toMatchObject({ token_endpoint: "https://moved.example/token" });
    provider.discovery = { issuer: "https://evil.example" };
    nowMs = 1_200_000;
    expect(await known.verify(await provider.token())).toMatchObject(operator);
    expect(events).toEqual([expect.objectContaining({ type: "warning" })]);
  });

  test("are verified with new keys also while only the provider's description of itself is wrong", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    onTestFinished(() => void vi.useRealTimers());
    const known = tokens();
    await known.verify(await provider.token());
    provider.discovery = { issuer: "https://evil.example" };
    nowMs = 600_000;
    // The library reads keys again after 30 s.
    vi.setSystemTime(Date.now() + 31_000);
    await provider.rotate("k4");
    expect(await known.verify(await provider.token())).toMatchObject({ roles: ["operator"] });
    expect(events).toEqual([expect.objectContaining({ type: "warning" })]);
  });

  test("find moved keys soon where nothing answers at their old place", async () => {
    const known = tokens();
    provider.discovery = { jwks_uri: "https://localhost:1/keys" };
    expect(await known.verify(await provider.token())).toBe("unavailable");
    provider.discovery = {};
    nowMs = 10_000;
    expect(await known.verify(await provider.token())).toMatchObject({ roles: ["operator"] });
  });

  test("cannot be checked while the provider is down or is not the right one, which is reported", async () => {
    provider.broken = true;
    const known = tokens();
    const token = await provider.token();
    expect(await known.verify(token)).toBe("unavailable");
    expect(await known.verify(token)).toBe("unavailable");
    expect(await known.verify(await provider.token({ expiresIn: -60 }))).toBe("expired");
    expect(provider.asked).toHaveLength(1);
    expect(events).toEqual([expect.objectContaining({ type: "warning" })]);
    provider.broken = false;
    nowMs = 60_000;
    expect(await known.verify(token)).toMatchObject({ roles: ["operator"] });
    provider.discovery = { issuer: "https://evil.example" };
    expect(await tokens().verify(token)).toBe("unavailable");
    provider.discovery = { jwks_uri: "http://localhost/keys" };
    expect(await tokens().verify(token)).toBe("unavailable");
    provider.discovery = {};
    const other = await OidcProvider.start();
    expect(await tokens({}, other.ca).verify(token)).toBe("unavailable");
    await other[Symbol.asyncDispose]();
  });
});

/** As some providers that do not follow RFC 7519, 4.1.2. */
const numbered = { sub: 4711 as unknown as string };

function unsigned(): string {
  return new UnsecuredJWT({ roles: ["kmip-managers"] })
    .setSubject("mallory")
    .setIssuer(provider.issuer)
    .setAudience("holdfast")
    .setExpirationTime("5m")
    .encode();
}

/** HS256 with a secret that everybody can read. */
function symmetric(): Promise<string> {
  return new SignJWT({ sub: "mallory", roles: ["kmip-managers"] })
    .setProtectedHeader({ alg: "HS256", kid: "k1" })
    .setIssuer(provider.issuer)
    .setAudience("holdfast")
    .setExpirationTime("5m")
    .sign(new TextEncoder().encode(provider.ca));
}

function flipped(token: string): string {
  const [head, payload = "", signature] = token.split(".");
  const claims = Buffer.from(payload, "base64url").toString().replace("operators", "managers!");
  return [head, Buffer.from(claims).toString("base64url"), signature].join(".");
}
