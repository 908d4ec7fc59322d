import { createHash, randomBytes, randomUUID } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { connect } from "node:tls";
import {
  type AdminClient,
  type Contract,
  contract,
  type Role,
  type Route,
  type RouteRequest,
  roles,
} from "@holdfast/admin";
import { makeRecord, StoreUnavailable, systemInstance } from "@holdfast/engine";
import { answerOf, until } from "@holdfast/testing";
import { selfSigned } from "@holdfast/testing/pki";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { accessMatrix, mayCall } from "../support/access-matrix.ts";
import { adminClient, firstToken, isBusy, patientClient } from "../support/admin-api.ts";
import { openStoreOf } from "../support/node-root.ts";
import { RawHttps } from "../support/raw-https.ts";
import { type Region, startRegion } from "../support/region.ts";

const routes = Object.entries(contract) as [string, Route][];
/** No route knows this parameter: a caller with access gets a 400, and nothing is carried out. */
const unknownQuery = "matrix=1";

let region: Region;
let client: AdminClient;
let manager: string;
/** Kind of token → its secret. */
const tokens: Record<string, string | undefined> = {};
const ids = { own: "", foreign: "", labelled: "" };
let origin = "";
const sources: RawHttps[] = [];

/** Each operation comes from its own address, since the failures of one address are limited. */
function from(place: number): RawHttps {
  const made = new RawHttps(origin, region.ca, `127.0.${1 + (place >> 7)}.${1 + (place & 127)}`);
  sources.push(made);
  return made;
}

type TokenBody = RouteRequest<(typeof contract)["createToken"]>["body"];

async function makeToken(
  name: string,
  role: Role,
  bound: Pick<TokenBody, "instances" | "labels"> = {},
): Promise<string> {
  return (await client.call("createToken", { body: { name, roles: [role], ...bound } })).secret;
}

/** An expired token. Only a record that is written directly to the store can be one. */
async function expiredToken(): Promise<string> {
  const secret = `hf_${randomBytes(32).toString("base64url")}`;
  const values = {
    hash: createHash("sha256").update(secret).digest("hex"),
    name: "expired",
    role: ["manager", "security-officer"],
    instances: undefined,
    labels: undefined,
    createdMs: 1000,
    createdBy: "test",
    expiresMs: 2000,
    origin: "api",
  } as const;
  const after = makeRecord("Token", randomUUID(), values, { us: 1_000_000, region: "a" });
  await using opened = await openStoreOf(region);
  const commit = () => opened.store.commit(systemInstance, [{ kind: "create", after }], []);
  await answerOf("the record is written", commit, (error) => error instanceof StoreUnavailable);
  return secret;
}

beforeAll(async () => {
  region = await startRegion({
    instances: ["own", "foreign"],
    nodes: 1,
    replicas: 0,
    admin: true,
    settings: { admin: { requestsPerSecond: 100_000 } },
  });
  const target = { node: region.node(0), ca: region.ca };
  origin = `https://${target.node.host}:${target.node.admin}`;
  manager = await firstToken(target);
  client = patientClient(target, manager);
  for await (const { id, name } of client.items("listInstances", { query: {} })) {
    if (name === "own") ids.own = id;
    if (name === "foreign") ids.foreign = id;
  }
  const ordered = { name: "labelled", labels: { group: "finance", site: "a" } };
  ids.labelled = (await client.call<"createInstance">("createInstance", { body: ordered })).id;
  for (const role of roles) {
    tokens[role] = await makeToken(role, role);
    for (const [kind, bound] of Object.entries(bounds())) {
      tokens[`${role}, ${kind}`] = await makeToken(`${role} ${kind}`, role, bound);
    }
  }
  tokens["revoked"] = await makeToken("revoked", "manager");
  await client.call("revokeToken", { params: { token: "revoked" } });
  tokens["expired"] = await expiredToken();
  tokens["none"] = undefined;
  tokens["unknown"] = `hf_${randomBytes(32).toString("base64url")}`;
  tokens["no token"] = "password";
  await until("the expired token is known", async () => {
    const { items } = await client.call("listTokens", { query: {} });
    return items.some(({ name, state }) => name === "expired" && state === "expired");
  });
});

afterAll(async () => {
  for (const one of sources) one[Symbol.dispose]();
  await client?.[Symbol.asyncDispose]();
  await region?.[Symbol.asyncDispose]();
});

/** What a token is bound to. `other …` does not reach the instance of the request. */
function bounds(): Readonly<Record<string, Pick<TokenBody, "instances" | "labels">>> {
  return {
    instance: { instances: [ids.own] },
    label: { labels: { group: "finance" } },
    "other instance": { instances: [ids.foreign] },
    "other label": { labels: { group: "finance", site: "b" } },
  };
}

/** What the matrix says must happen: `in` = the request reaches its validation. */
function expected(operation: keyof Contract, kind: string): "in" | 401 | 403 | 404 {
  if (accessMatrix[operation] === "public") return "in";
  const [role, bound] = kind.split(", ") as [Role, string | undefined];
  if (!roles.includes(role)) return 401;
  const allowed = mayCall(operation, role);
  if (!allowed.may || (bound !== undefined && !allowed.bound)) return 403;
  const isOfInstance = contract[operation].path.includes("{instance}");
  return bound?.startsWith("other ") && isOfInstance ? 404 : "in";
}

function pathOf({ path }: Route, kind: string): string {
  const filled = path
    .replace("{instance}", kind.endsWith("label") ? ids.labelled : ids.own)
    .replaceAll(/\{\w+\}/g, "00000000-0000-0000-0000-000000000000");
  return `${filled}?${unknownQuery}`;
}

describe("the access matrix", () => {
  test("covers every operation", () => {
    expect(Object.keys(accessMatrix).toSorted()).toEqual(Object.keys(contract).toSorted());
    expect(Object.keys(tokens)).toHaveLength(5 * 5 + 5);
  });

  test.each(routes.map(([operation, route], place) => [operation, route, place] as const))(
    "holds for %s",
    async (operation, route, place) => {
      // An address may call a route that needs no token a few times only.
      const addresses = [from(place), from(place + 300)] as const;
      const found: Record<string, unknown> = {};
      const wanted: Record<string, unknown> = {};
      for (const [at, [kind, token]] of Object.entries(tokens).entries()) {
        const source = at < 15 ? addresses[0] : addresses[1];
        // The list of identifiers is read before the query is checked.
        const given = operation === "reportOrphans" ? '{"inUse":["a"]}' : "{}";
        const body = route.body === undefined ? undefined : given;
        const answer = await source.insist({
          method: route.method,
          path: pathOf(route, kind),
          token,
          body,
        });
        const letIn = answer.status === 400 && answer.text.includes("query");
        found[kind] = letIn ? "in" : answer.status;
        wanted[kind] = expected(operation as keyof Contract, kind);
        expect(answer.headers["content-type"]).toContain("application/problem+json");
        expect(answer.text).not.toMatch(/\bat .+:\d+|node_modules|\.ts\b/);
      }
      expect(found).toEqual(wanted);
    },
  );

  test("an instance of another token gets the same answer as an unknown instance", async () => {
    const source = from(200);
    const ask = async (instance: string, token: string | undefined) => {
      const path = `/v1/instances/${instance}`;
      const { status, json } = await source.insist({ method: "GET", path, token });
      return { status, ...json, instance: "" };
    };
    for (const kind of ["manager, other instance", "manager, other label"]) {
      const token = tokens[kind];
      const missing = await ask("00000000-0000-0000-0000-000000000000", token);
      expect(missing.status).toBe(404);
      expect(await ask(ids.labelled, token)).toEqual(missing);
      expect(await ask("labelled", token)).toEqual(missing);
    }
  });

  test("a token that is bound to a label sees instances as long as they have it", async () => {
    const source = from(202);
    const token = tokens["viewer, label"];
    const seen = async () => {
      const { json } = await source.insist({ method: "GET", path: "/v1/instances", token });
      return (json["items"] as readonly { readonly name: string }[]).map(({ name }) => name);
    };
    const label = (labels: Readonly<Record<string, string>>) =>
      client.call("updateInstance", { params: { instance: ids.labelled }, body: { labels } });
    expect(await seen()).toEqual(["labelled"]);
    await label({ group: "sales" });
    await until("the token sees nothing", async () => (await seen()).length === 0);
    await label({ group: "finance", site: "a" });
    await until("the token sees it again", async () => (await seen()).includes("labelled"));
  });

  test("denials are audit events, and metrics count them", async () => {
    await until("a denial is an event", async () => {
      const query = { limit: 1000 };
      for await (const event of client.items("listEvents", { query })) {
        const { action, outcome } = event as { readonly action: string; readonly outcome: string };
        if (action.endsWith("kmip-management.authorize") && outcome === "failure") return true;
      }
      return false;
    });
    const metrics = await region.node(0).metrics();
    expect(metrics).toMatch(/holdfast_admin_denied_total\{reason="revoked"\} [1-9]/);
    expect(metrics).toMatch(/holdfast_admin_denied_total\{reason="role"\} [1-9]/);
    expect(region.node(0).logText()).not.toMatch(/hf_[\w-]{43}/);
  });
});

describe("every operation that reads", () => {
  const reads = routes.filter(
    ([, { method, path, stream }]) =>
      method === "GET" && stream !== true && !/\{(?!instance)/.test(path),
  );

  test.each(reads)("%s returns what the contract says", async (_, route) => {
    const source = from(201);
    const path = route.path.replace("{instance}", "own");
    const answer = await source.insist({ method: "GET", path, token: manager });
    // Not every instance has this part; then the answer is "not found".
    if (answer.status === 404) expect(answer.json["code"]).toBe("notFound");
    else {
      expect({ ...answer, text: "" }).toMatchObject({ status: 200 });
      expect(route.answer.safeParse(answer.json).success).toBe(true);
    }
  });
});

describe("malformed requests", () => {
  const put = (body: string, path = "/v1/instances/own/users/u") =>
    from(202).insist({ method: "PUT", path, token: manager, body });

  test("a body that is too large, or that would change the prototypes of objects, is refused", async () => {
    const large = JSON.stringify({ password: "x".repeat(300_000) });
    expect(await put(large)).toMatchObject({ status: 413, json: { code: "tooLarge" } });
    for (const body of [
      '{"password":"a long password","__proto__":{"role":"manager"}}',
      '{"password":"a long password","constructor":{"prototype":{"role":"manager"}}}',
      "[".repeat(100_000),
      `{"password":${"[".repeat(100_000)}${"]".repeat(100_000)}}`,
      '{"password":',
      "\u0000",
    ]) {
      expect(await put(body)).toMatchObject({ status: 400, json: { code: "invalid" } });
    }
    const query = "/v1/instances?__proto__[role]=manager&constructor=1";
    const answer = await from(202).insist({ method: "GET", path: query, token: manager });
    expect(answer).toMatchObject({ status: 400 });
  });

  test.each([
    "/v1/instances/..%2f..%2f..%2fetc%2fpasswd",
    "/v1/instances/%2e%2e",
    "/v1/instances/own%00",
    "/v1/../metrics",
    "//v1/tokens",
    "/v1/instances/own/../../tokens",
    "/V1/tokens",
    "/v1/tokens/",
    "/v1/instances?limit=-1",
    "/v1/instances?limit=1&limit=2",
  ])("%s reaches no route", async (path) => {
    const answer = await from(203).insist({ method: "GET", path, token: tokens["viewer"] });
    expect([400, 403, 404, 405]).toContain(answer.status);
    expect(answer.headers["content-type"]).toContain("application/problem+json");
  });

  test("names and cursors that are too long are refused", async () => {
    const ask = (path: string) => from(203).insist({ method: "GET", path, token: manager });
    expect(await ask(`/v1/instances/${"a".repeat(5000)}`)).toMatchObject({ status: 404 });
    expect(await ask(`/v1/instances?cursor=${"A".repeat(8000)}`)).toMatchObject({ status: 400 });
  });

  test.each([
    ["two Content-Length headers", "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"],
    ["a length and chunks", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
    ["chunks under another name", "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"],
    ["an invalid header", "X: 1\r\n Folded: 2\r\nBad Header: 3\r\n\r\n"],
    ["headers that are too long", `X: ${"a".repeat(40_000)}\r\n\r\n`],
  ])("a request with %s is refused, and the connection ends", async (_, rest) => {
    const head = `POST /v1/checks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${manager}\r\n`;
    const smuggled = "GET /v1/tokens HTTP/1.1\r\nHost: x\r\n\r\n";
    const text = await exchange(`${head}${rest}${smuggled}`);
    expect(text.match(/HTTP\/1\.1 \d+/g)).toEqual([expect.stringMatching(/ 4\d\d$/)]);
    expect(text).not.toContain("items");
  });

  test("plain HTTP gets no answer", async () => {
    const answer = fetch(origin.replace("https:", "http:"), { signal: AbortSignal.timeout(5000) });
    await expect(answer).rejects.toThrow();
  });
});

describe("a running node", () => {
  test("streams events as they happen, until the token is revoked", async () => {
    const follower = adminClient(
      { node: region.node(0), ca: region.ca },
      await makeToken("f", "viewer"),
    );
    const end = new AbortController();
    const actions: string[] = [];
    const follow = async () => {
      for await (const event of follower.follow("followEvents", { query: {} }, end.signal)) {
        actions.push(`${(event as { readonly action: string }).action} ${event.outcome}`);
      }
    };
    const followed = answerOf("a stream", follow, isBusy);
    const refused = expect(followed).rejects.toMatchObject({ code: "unauthenticated" });
    await until("an event arrives", async () => {
      if (actions.length === 0) await makeToken(`seen ${randomUUID().slice(0, 8)}`, "viewer");
      return actions.some((action) => /kmip-token\.create success$/.test(action));
    });
    await client.call("revokeToken", { params: { token: "f" } });
    await refused;
    await follower[Symbol.asyncDispose]();
  });

  test("uses changed certificate files for new connections", async () => {
    const { certificate, key } = await selfSigned({
      commonName: "another",
      hosts: ["127.0.0.1"],
      notBeforeMs: Date.now() - 3_600_000,
      days: 2,
    });
    // Its connection is open before, and trusts only the old one.
    const before = from(204);
    const whoAmI = () => before.insist({ method: "GET", path: "/v1/whoami", token: manager });
    expect(await whoAmI()).toMatchObject({ status: 200 });
    await writeFile(join(region.folder, "server.pem"), certificate);
    await writeFile(join(region.folder, "server-key.pem"), key);
    await until("the new certificate is shown", async () => (await shownName()) === "another");
    expect((await whoAmI()).json).toMatchObject({ roles: ["security-officer", "manager"] });
  });
});

/** The name in the certificate that a new connection is shown. */
function shownName(): Promise<string> {
  const { hostname: host, port } = new URL(origin);
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port: Number(port), rejectUnauthorized: false }, () => {
      resolve(String(socket.getPeerCertificate().subject.CN));
      socket.destroy();
    });
    socket.on("error", reject);
  });
}

/** Sends some bytes and returns everything that comes back until the connection ends. */
function exchange(bytes: string): Promise<string> {
  const { hostname: host, port } = new URL(origin);
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port: Number(port), ca: region.ca }, () => socket.write(bytes));
    let text = "";
    socket.setTimeout(300_000, () => reject(new Error("the connection stayed open")));
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1");
    });
    socket.on("error", () => resolve(text));
    socket.on("close", () => resolve(text));
  });
}
