import { connect } from "node:tls";
import { type Handlers, ManagementError } from "@holdfast/admin";
import { StoreUnavailable } from "@holdfast/engine";
import { describe, expect, onTestFinished, test } from "vitest";
import {
  bearer,
  sampleEvent as event,
  sampleInstance as instance,
  instanceNames,
  openerOf,
  tokenOf,
} from "../../testing/admin.ts";

const open = openerOf(onTestFinished);
const [one = "", two = ""] = Object.keys(instanceNames);
const manager = tokenOf("manager");

describe("the admin API", () => {
  test("answers what the contract names, and nothing else", async () => {
    const readInstance = async () => ({ ...instance, sealedSecret: "s3cret" });
    const admin = await open({ handlers: { readInstance } as Partial<Handlers> });
    const answer = await admin.ask("/v1/instances/kmip-one", { token: manager });
    expect(answer.status).toBe(200);
    expect(answer.json).toEqual(instance);
    expect(answer.headers).toMatchObject({
      etag: '"v1"',
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
      "strict-transport-security": expect.stringContaining("max-age"),
    });
    const again = await admin.ask("/v1/instances/kmip-one", {
      token: manager,
      headers: { "if-none-match": '"v1"' },
    });
    expect(again).toMatchObject({ status: 304, text: "" });
  });

  test("gives If-Match to a change and to a deletion", async () => {
    const given: (string | undefined)[] = [];
    const seen = async ({ ifMatch }: { readonly ifMatch: string | undefined }) => {
      given.push(ifMatch);
      throw new ManagementError("preconditionFailed", "it has changed");
    };
    const admin = await open({ handlers: { updateInstance: seen, deleteInstance: seen } });
    for (const asking of [{ method: "PATCH", body: {} }, { method: "DELETE" }]) {
      const headers = { "if-match": '"v1"' };
      const answer = await admin.ask("/v1/instances/kmip-one", {
        ...{ token: manager, headers },
        ...asking,
      });
      expect(answer.status).toBe(412);
    }
    expect(given).toEqual(["v1", "v1"]);
  });

  test("answers an internal error that reveals nothing if a handler's answer violates the contract", async () => {
    const readInstance = async () => ({ ...instance, status: "s3cret" }) as never;
    const admin = await open({ handlers: { readInstance } });
    const answer = await admin.ask("/v1/instances/kmip-one", { token: manager });
    expect(answer.status).toBe(500);
    expect(answer.json).toMatchObject({ code: "internal" });
    expect(answer.text).not.toMatch(/s3cret|\.ts:|at /);
    expect(JSON.stringify(admin.events)).not.toContain("s3cret");
  });

  test.each([
    [
      new ManagementError("keysRemain", "3 keys are Active", { active: 3 }),
      409,
      { code: "keysRemain", active: 3 },
    ],
    [new StoreUnavailable("noLease", "no lease at 10.1.2.3"), 503, { code: "storeUnavailable" }],
    [new StoreUnavailable("noAgreement", "x"), 503, { code: "peerUnreachable" }],
    [new Error("password=hunter2 at /etc/secret"), 500, { code: "internal" }],
  ])("answers %s with a problem document", async (error, status, says) => {
    const admin = await open({ handlers: { readInstance: () => Promise.reject(error) } });
    const answer = await admin.ask("/v1/instances/kmip-one", { token: manager });
    expect(answer.status).toBe(status);
    expect(answer.headers["content-type"]).toContain("application/problem+json");
    expect(answer.json).toMatchObject(says);
    expect(answer.json["type"]).toBe(`urn:holdfast:problem:${String(says.code)}`);
    expect(answer.text).not.toMatch(/hunter2|\/etc|10\.1\.2\.3|at /);
  });

  test("names what is wrong with a request, never its values", async () => {
    const admin = await open();
    const answer = await admin.ask("/v1/instances/kmip-one/users/u", {
      method: "PUT",
      token: tokenOf("security-officer"),
      body: { password: "hunter2", extra: 1 },
    });
    expect(answer.status).toBe(400);
    expect(answer.json["errors"]).toEqual(
      expect.arrayContaining([expect.objectContaining({ at: "body.password" })]),
    );
    expect(answer.text).not.toContain("hunter2");
    const typo = await admin.ask("/v1/instances/kmip-one?forse=true", {
      method: "DELETE",
      token: manager,
    });
    expect(typo.json).toMatchObject({ code: "invalid", detail: expect.stringContaining("forse") });
  });

  test("names the methods of a path if the method is wrong, and does not find an unknown path", async () => {
    const admin = await open();
    const wrong = await admin.ask("/v1/instances/kmip-one", {
      method: "PUT",
      token: manager,
      body: {},
    });
    expect(wrong).toMatchObject({ status: 405, json: { code: "methodNotAllowed" } });
    expect(wrong.headers["allow"]).toBe("GET, PATCH, DELETE");
    expect(await admin.ask("/v1/nothing", { token: manager })).toMatchObject({ status: 404 });
    expect(await admin.ask("/v1/instances/..%2f..%2fetc", { token: manager })).toMatchObject({
      status: 404,
    });
    expect(await admin.ask("/v1/instances/%zz", { token: manager })).toMatchObject({ status: 400 });
  });

  test("shows a bound token its instances only, and does not reveal that others exist", async () => {
    const bound = `hf_bound_${"y".repeat(32)}`;
    const seen: string[] = [];
    let looks = 0;
    const admin = await open({
      tokens: { [bound]: bearer("manager", [one]) },
      lookAgain: async () => {
        looks += 1;
      },
      handlers: {
        readInstance: async ({ params }) => {
          seen.push(params.instance);
          return instance;
        },
      },
    });
    const get = (path: string) => admin.ask(path, { token: bound });
    expect(await get("/v1/instances/kmip-one")).toMatchObject({ status: 200 });
    expect(seen).toEqual([one]);
    expect(looks).toBe(0);
    const foreign = await get("/v1/instances/kmip-two");
    // Not sooner than the other one, which may have been created at another node a moment ago.
    expect(looks).toBe(1);
    const missing = await get("/v1/instances/kmip-none");
    expect(looks).toBe(2);
    const strip = ({ json }: typeof foreign) => ({ ...json, instance: "" });
    expect(foreign.status).toBe(404);
    expect(strip(foreign)).toEqual(strip(missing));
    expect(await get(`/v1/events?instance=${two}`)).toMatchObject({ status: 404 });
    expect(await get("/v1/tokens")).toMatchObject({ status: 403 });
    expect(admin.denials.map(({ reason }) => reason)).toEqual(["instance", "instance", "scope"]);
  });

  test("allows reads, but no changes, while a token cannot be looked up", async () => {
    const token = `hf_stale_${"v".repeat(32)}`;
    const admin = await open({ tokens: { [token]: { ...bearer("manager"), stale: true } } });
    expect(await admin.ask("/v1/status", { token })).toMatchObject({ status: 409 });
    const change = { method: "POST", token, body: { name: "kmip-new" } };
    const refused = await admin.ask("/v1/instances", change);
    expect(refused).toMatchObject({ status: 503, json: { code: "storeUnavailable" } });
    expect(await admin.ask("/v1/tokens", { token })).toMatchObject({ status: 503 });
  });

  test("refuses requests without a valid token, and makes an address that only guesses wait", async () => {
    const admin = await open({ failures: 3 });
    const statuses: number[] = [];
    for (let at = 0; at < 5; at++) {
      const answer = await admin.ask("/v1/instances", {
        token: `hf_guess_${at}_${"z".repeat(24)}`,
      });
      statuses.push(answer.status);
    }
    expect(statuses).toEqual([401, 401, 401, 429, 429]);
    expect(admin.denials).toHaveLength(3);
    expect(await admin.ask("/v1/whoami", { token: manager })).toMatchObject({ status: 409 });
  });

  test("makes an address wait that asks too often for what needs no token", async () => {
    const admin = await open({ strangers: 3 });
    const statuses: number[] = [];
    for (let at = 0; at < 5; at++) statuses.push((await admin.ask("/v1/openapi.json")).status);
    expect(statuses).toEqual([409, 409, 409, 429, 429]);
    expect(await admin.ask("/v1/whoami", { token: manager })).toMatchObject({ status: 409 });
  });

  test("makes a token wait that asks too often", async () => {
    const admin = await open({ perSecond: 2 });
    const statuses: number[] = [];
    for (let at = 0; at < 4; at++)
      statuses.push((await admin.ask("/v1/whoami", { token: manager })).status);
    expect(statuses.slice(0, 2)).toEqual([409, 409]);
    expect(statuses).toContain(429);
  });

  test("passes If-Match to the handler without its quotes, and refuses an invalid one", async () => {
    let seen: string | undefined;
    const admin = await open({
      handlers: {
        updateInstance: async ({ ifMatch }) => {
          seen = ifMatch;
          return instance;
        },
      },
    });
    const patch = (tag: string) =>
      admin.ask("/v1/instances/kmip-one", {
        method: "PATCH",
        token: manager,
        body: { description: "x" },
        headers: { "if-match": tag },
      });
    expect(await patch('"v1"')).toMatchObject({ status: 200 });
    expect(seen).toBe("v1");
    expect(await patch("v1")).toMatchObject({ status: 412 });
  });

  test("sends all items of a long page", async () => {
    const items = Array.from({ length: 120 }, (_, at) => ({ ...instance, name: `kmip-${at}` }));
    const admin = await open({ handlers: { listInstances: async () => ({ items, next: "x" }) } });
    const page = await admin.ask("/v1/instances?limit=200", { token: manager });
    expect(page.json).toEqual({ items, next: expect.any(String) });
    const last = await open({ handlers: { listInstances: async () => ({ items }) } });
    expect((await last.ask("/v1/instances?limit=200", { token: manager })).json).toEqual({ items });
  });

  test("accepts a cursor for its own list only", async () => {
    let seen: string | undefined;
    const admin = await open({
      handlers: {
        listInstances: async ({ query }) => {
          seen = query.cursor;
          return { items: [], next: "after:17" };
        },
      },
    });
    const first = await admin.ask("/v1/instances?limit=5", { token: manager });
    const cursor = String(first.json["next"]);
    expect(cursor).not.toContain("after");
    expect(
      await admin.ask(`/v1/instances?limit=7&cursor=${cursor}`, { token: manager }),
    ).toMatchObject({ status: 200 });
    expect(seen).toBe("after:17");
    const get = (query: string) => admin.ask(`/v1/instances?${query}`, { token: manager });
    expect(await get(`cursor=${cursor}&name=x`)).toMatchObject({ status: 400 });
    expect(await get(`cursor=${cursor.slice(0, -1)}`)).toMatchObject({ status: 400 });
    expect(await get(`cursor=${"A".repeat(4000)}`)).toMatchObject({ status: 400 });
  });
});

describe("a follower of events that reads nothing", () => {
  test("is cut off, and its unsent events do not fill the memory", async () => {
    let told = 0;
    let ended = false;
    const admin = await open({
      times: { stalledMs: 500 },
      handlers: {
        followEvents: async function* () {
          try {
            for (;;) {
              told += 1;
              yield { ...event, text: "x".repeat(100_000) };
            }
          } finally {
            ended = true;
          }
        },
      },
    });
    const { hostname: host, port } = new URL(admin.url);
    const socket = connect({ host, port: Number(port), ca: admin.ca }, () => {
      socket.write(
        `GET /v1/events/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${manager}\r\n\r\n`,
      );
      socket.pause();
    });
    socket.on("error", () => undefined);
    await expect.poll(() => ended).toBe(true);
    expect(told).toBeLessThan(500);
    socket.destroy();
  });
});

describe("a caller", () => {
  test("whose token is revoked while the body arrives is refused", async () => {
    const secret = tokenOf("thief");
    const tokens: Record<string, ReturnType<typeof bearer> | "revoked"> = {};
    tokens[secret] = bearer("manager");
    let made = 0;
    const createToken = async () => {
      made += 1;
      throw new ManagementError("wrongState", "made");
    };
    const admin = await open({ tokens, handlers: { createToken } });
    const { hostname: host, port } = new URL(admin.url);
    const body = JSON.stringify({ name: "x", roles: ["viewer"] });
    const answer = async (revoked: boolean) => {
      let got = "";
      const socket = connect({ host, port: Number(port), ca: admin.ca });
      socket.on("data", (bytes) => {
        got += bytes.toString();
      });
      const head = `POST /v1/tokens HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${secret}\r\nExpect: 100-continue\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`;
      socket.write(head + body.slice(0, -1));
      await expect.poll(() => got).toContain("100 Continue");
      if (revoked) tokens[secret] = "revoked";
      socket.write(body.slice(-1));
      await expect.poll(() => got).toMatch(/HTTP\/1.1 [2-5]/);
      socket.destroy();
      return got;
    };
    expect(await answer(false)).toContain("HTTP/1.1 409");
    expect(made).toBe(1);
    expect(await answer(true)).toContain("the token was revoked");
    expect(made).toBe(1);
  });

  test("that is gone before its token is verified keeps no place", async () => {
    const token = "eyJhbGciOiJub25lIn0.eyJhIjoxfQ.c2lnbmF0dXJl";
    const waiting: (() => void)[] = [];
    let waits = true;
    const foreign = {
      verify: async () => {
        if (waits) await new Promise<void>((resolve) => waiting.push(resolve));
        return bearer("viewer");
      },
    };
    const admin = await open({ foreign, connectionsMax: 4 });
    const { hostname: host, port } = new URL(admin.url);
    for (let count = 1; count <= 4; count += 1) {
      const socket = connect({ host, port: Number(port), ca: admin.ca });
      socket.on("error", () => undefined);
      socket.write(
        `GET /v1/instances HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n\r\n`,
      );
      await expect.poll(() => waiting.length).toBe(count);
      const closed = new Promise((resolve) => socket.once("close", resolve));
      socket.destroy();
      await closed;
      // Its end has arrived before the answer to this.
      await admin.ask("/v1/whoami", { token: manager });
    }
    waits = false;
    for (const verified of waiting) verified();
    await admin.ask("/v1/whoami", { token: manager });
    // Its handler was reached.
    expect((await admin.ask("/v1/whoami", { token })).status).toBe(409);
  });
});

describe("the admin listener", () => {
  test("shows a new certificate without a restart, and accepts only TLS 1.2 or newer", async () => {
    const admin = await open();
    const serial = () =>
      new Promise<string>((resolve, reject) => {
        const { hostname: host, port } = new URL(admin.url);
        const socket = connect({ host, port: Number(port), ca: admin.ca }, () => {
          resolve(socket.getPeerCertificate().serialNumber);
          socket.destroy();
        });
        socket.on("error", reject);
      });
    const before = await serial();
    admin.listener.setIdentity(await admin.newIdentity());
    expect(await serial()).not.toBe(before);
    const { hostname: host, port } = new URL(admin.url);
    const old = new Promise((_, reject) => {
      connect({
        host,
        port: Number(port),
        ca: admin.ca,
        minVersion: "TLSv1.1",
        maxVersion: "TLSv1.1",
      }).on("error", reject);
    });
    await expect(old).rejects.toThrow();
  });
});
