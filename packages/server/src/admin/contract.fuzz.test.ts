import { connect } from "node:tls";
import { contract, openApi, type Route } from "@holdfast/admin";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openAdminTest, tokenOf } from "../testing/admin.ts";

const routes = Object.entries(contract) as [string, Route][];
const manager = tokenOf("every-role");
const seed = 20_261_125;
let admin: Awaited<ReturnType<typeof openAdminTest>>;

beforeAll(async () => {
  admin = await openAdminTest();
});
afterAll(() => admin[Symbol.asyncDispose]());

/** Texts that often break programs, and any others. */
const text = fc.oneof(
  fc.string({ maxLength: 40 }),
  fc.string({ unit: "grapheme", maxLength: 20 }),
  fc.constantFrom(
    "..",
    "%2e%2e",
    "__proto__",
    "constructor",
    "kmip-one",
    "' OR 1=1 --",
    "\u0000",
    "\ud800",
    "*",
  ),
);
const json = fc.jsonValue({ maxDepth: 4 });
/** Nearly valid input: the names of a schema with any values. */
function near(schema: Route["body"] | undefined): fc.Arbitrary<unknown> {
  const shape = (schema as { readonly shape?: object } | undefined)?.shape;
  if (shape === undefined) return json;
  const names = [...Object.keys(shape), "__proto__", "extra"];
  return fc.dictionary(fc.constantFrom(...names), fc.oneof(text, json), { maxKeys: 8 });
}

function request(route: Route) {
  return fc.record({
    params: fc.array(text, { minLength: 3, maxLength: 3 }),
    query: fc.array(fc.tuple(text, text), { maxLength: 4 }),
    known: fc.dictionary(fc.constantFrom("limit", "cursor", "force", "name", "instance"), text, {
      maxKeys: 3,
    }),
    body: fc.oneof(near(route.body), json),
    headers: fc.dictionary(
      fc.constantFrom("idempotency-key", "if-match", "last-event-id", "if-none-match"),
      fc.string({ unit: fc.constantFrom(...'abc"*W/ 0,-'), maxLength: 30 }),
      { maxKeys: 2 },
    ),
  });
}

/** Lone surrogates cannot be encoded, and are replaced. */
function escaped(value: string): string {
  return encodeURIComponent(Buffer.from(value).toString());
}

describe("for any request", () => {
  test.each(routes)("%s refuses it or calls its handler, and never fails", async (_, route) => {
    await fc.assert(
      fc.asyncProperty(request(route), async ({ params, query, known, body, headers }) => {
        const parts = [...params];
        const path = route.path.replaceAll(/\{\w+\}/g, () => escaped(parts.shift() ?? "") || "-");
        const pairs = [...query, ...Object.entries(known)].map((pair) =>
          pair.map(escaped).join("="),
        );
        const asked = `${path}${pairs.length === 0 ? "" : `?${pairs.join("&")}`}`;
        const { method } = route;
        const answer = await admin.ask(asked, {
          method,
          token: manager,
          headers,
          ...(method === "GET" ? {} : { body }),
        });
        // The handlers of these tests answer `wrongState` when they are called.
        expect([400, 404, 405, 409, 412, 413]).toContain(answer.status);
        expect(answer.json["code"]).toMatch(
          /^(invalid|notFound|methodNotAllowed|wrongState|preconditionFailed)$/,
        );
      }),
      { seed, numRuns: 12 },
    );
  });

  test("an unknown token is refused quickly, always with the same answer", async () => {
    const any = fc.oneof(
      fc.string({ unit: fc.constantFrom(..."abcXYZ019-._~+/="), minLength: 1, maxLength: 300 }),
      fc
        .tuple(fc.base64String(), fc.base64String(), fc.base64String())
        .map((parts) => `eyJ${parts.join(".")}`),
    );
    await fc.assert(
      fc.asyncProperty(any, async (token) => {
        const answer = await admin.ask("/v1/whoami", { token });
        expect(answer).toMatchObject({ status: 401, json: { code: "unauthenticated" } });
        expect(answer.json).toMatchObject({ detail: expect.stringContaining("unknown token") });
      }),
      { seed, numRuns: 60 },
    );
  });

  test.each([
    ["a head that never ends", "GET /v1/whoami HTTP/1.1\r\nHost: x\r\nX-Slow: "],
    [
      "a body that never ends",
      `POST /v1/tokens HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${manager}\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{`,
    ],
  ])("%s is cut off", async (_, head) => {
    await using strict = await openAdminTest({ times: { headersMs: 700, requestMs: 1000 } });
    const { hostname: host, port } = new URL(strict.url);
    const socket = connect({ host, port: Number(port), ca: strict.ca }, () => socket.write(head));
    const drip = setInterval(() => socket.writable && socket.write("a"), 100);
    const closed = await new Promise((resolve) => {
      socket.on("error", () => undefined);
      socket.on("close", () => resolve(true));
      socket.resume();
    });
    clearInterval(drip);
    expect(closed).toBe(true);
  });
});

describe("the OpenAPI document", () => {
  const document = openApi("0.1.0") as unknown as {
    readonly openapi: string;
    readonly paths: Readonly<
      Record<string, Readonly<Record<string, { readonly operationId: string }>>>
    >;
  };

  test("has every operation once, and no broken reference", () => {
    const ids = Object.values(document.paths).flatMap((path) =>
      Object.values(path).map(({ operationId }) => operationId),
    );
    expect(ids.toSorted()).toEqual(Object.keys(contract).toSorted());
    const references = JSON.stringify(document).matchAll(/"\$ref":"#\/([^"]+)"/g);
    for (const [, path = ""] of references) {
      const found = path
        .split("/")
        .reduce<unknown>(
          (at, step) => (at as Record<string, unknown> | undefined)?.[step],
          document,
        );
      expect({ path, found: typeof found }).toEqual({ path, found: "object" });
    }
  });
});
