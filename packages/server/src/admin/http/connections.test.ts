import { readdirSync } from "node:fs";
import { Agent, request } from "node:https";
import { connect as connectTcp, type Socket } from "node:net";
import { PassThrough } from "node:stream";
import { type ConnectionOptions, connect } from "node:tls";
import { expect, onTestFinished, test } from "vitest";
import { identifiersIn } from "../../management/keys/identifiers.ts";
import { bearer, instanceNames, openerOf, tokenOf } from "../../testing/admin.ts";
import { endBadRequest } from "./connections.ts";

const open = openerOf(onTestFinished);
type Admin = Awaited<ReturnType<typeof open>>;
const manager = tokenOf("manager");

function descriptors(): number {
  return readdirSync("/proc/self/fd").length;
}

function silent({ url }: Admin, count: number): Socket[] {
  const { hostname: host, port } = new URL(url);
  const sockets = Array.from({ length: count }, () =>
    connectTcp({ host, port: Number(port) })
      .on("error", () => undefined)
      .resume(),
  );
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
  });
  return sockets;
}

/** Opens TLS connections and sends the same bytes on each. */
async function begun({ url, ca }: Admin, count: number, bytes: string): Promise<Socket[]> {
  const { hostname: host, port } = new URL(url);
  const all = Array.from({ length: count }, () => {
    const options = { host, port: Number(port), ca, allowHalfOpen: true };
    const socket = connect(options as ConnectionOptions);
    socket.on("error", () => undefined);
    onTestFinished(() => void socket.destroy());
    return new Promise<Socket>((resolve) => {
      socket.once("secureConnect", () => {
        socket.write(bytes);
        resolve(socket);
      });
      socket.once("close", () => resolve(socket));
    });
  });
  return await Promise.all(all);
}

/** Sends requests on one connection that is kept open. */
function keptAlive({ url, ca }: Admin) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1, ca });
  onTestFinished(() => agent.destroy());
  const ports = new Set<number>();
  const ask = () =>
    new Promise<number>((resolve, reject) => {
      const headers = { authorization: `Bearer ${manager}` };
      const sent = request(`${url}/v1/whoami`, { agent, headers }, (response) => {
        ports.add(response.socket.localPort ?? 0);
        response.resume().on("end", () => resolve(response.statusCode ?? 0));
      });
      sent.on("error", reject).end();
    });
  return { ask, ports };
}

test("connections that send nothing are closed at their time-out, and their descriptors are freed", async () => {
  const admin = await open({ times: { handshakeMs: 500 } });
  const before = descriptors();
  const sockets = silent(admin, 100);
  await expect.poll(() => sockets.every(({ closed }) => closed)).toBe(true);
  await expect.poll(() => descriptors()).toBeLessThanOrEqual(before);
  // On a slow machine, this client's handshake may time out, too: it tries again.
  const asked = () => admin.ask("/v1/whoami", { token: manager }).catch(() => undefined);
  await expect.poll(asked).toMatchObject({ status: 409 });
});

test.each([
  ["half a head", "GET /v1/whoami HTTP/1.1\r\nHost: x\r\nX-Half: "],
  [
    "half a body",
    `POST /v1/instances HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${manager}\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{`,
  ],
])("a connection with %s is closed at its time-out, even if the client waits", async (_, bytes) => {
  const admin = await open({ times: { headersMs: 500, requestMs: 500 } });
  const before = descriptors();
  const sockets = await begun(admin, 12, bytes);
  expect(sockets.every(({ closed }) => !closed)).toBe(true);
  // The client's ends are still open.
  await expect.poll(() => descriptors()).toBeLessThanOrEqual(before + 12);
});

test("an administrator is served while strangers of the same address flood the port", async () => {
  const admin = await open({ connectionsMax: 128 });
  const kept = keptAlive(admin);
  expect(await kept.ask()).toBe(409);
  let flooding = true;
  const flood = (async () => {
    while (flooding) {
      silent(admin, 20);
      await begun(admin, 4, "");
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
  for (let round = 0; round < 10; round++) {
    expect(await admin.ask("/v1/whoami", { token: manager })).toMatchObject({ status: 409 });
    expect(await kept.ask()).toBe(409);
  }
  flooding = false;
  await flood;
  expect(kept.ports.size).toBe(1);
});

test("idle connections of one token do not block another token", async () => {
  const admin = await open({ connectionsMax: 16 });
  const head = `GET /v1/whoami HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${tokenOf("viewer")}\r\n\r\n`;
  for (let round = 0; round < 5; round++) await begun(admin, 8, head);
  const kept = keptAlive(admin);
  expect(await kept.ask()).toBe(409);
  const more = await begun(admin, 8, head);
  expect(await kept.ask()).toBe(409);
  expect(kept.ports.size).toBe(1);
  expect(more.some(({ closed }) => !closed)).toBe(true);
});

const head = (method: string, path: string) => (token: string) =>
  `${method} /v1/${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n`;
const halfBodyOf = (bytes: number) =>
  `content-type: application/json\r\ncontent-length: ${bytes}\r\n\r\n{`;
const [halfBody, halfLarge] = [halfBodyOf(100), halfBodyOf(300_000)];
const orphans = { inUse: Array.from({ length: 10_000 }, (_, at) => `${at}`.padStart(36, "0")) };

test.each<[string, (token: string) => string, string, string, unknown, number]>([
  [
    "bodies that arrive slowly",
    (token) => `${head("POST", "instances/kmip-one/certificates")(token)}${halfBody}`,
    ...(["GET", "whoami", undefined, 409] as const),
  ],
  [
    "requests that take long",
    (token) => `${head("GET", "instances/kmip-one/users")(token)}\r\n`,
    ...(["GET", "whoami", undefined, 409] as const),
  ],
  [
    "large bodies that arrive slowly",
    (token) => `${head("POST", "instances/kmip-one/orphans")(token)}${halfLarge}`,
    ...(["POST", "instances/kmip-two/orphans", orphans, 200] as const),
  ],
  [
    "followers",
    (token) => `${head("GET", "events/stream")(token)}\r\n`,
    ...(["GET", "events/stream", undefined, 200] as const),
  ],
])(
  "%s of three tokens of one instance leave room for others",
  async (_, bytes, method, path, body, status) => {
    const [one = ""] = Object.keys(instanceNames);
    const names = ["a", "b", "c"].map((name) => `hf_${name}_${"x".repeat(32)}`);
    let admitted = 0;
    const tokens = {};
    for (const name of names) {
      const get = () => {
        admitted += 1;
        return { ...bearer("operator", [one]), id: name };
      };
      Object.defineProperty(tokens, name, { get });
    }
    const never = new Promise<never[]>((resolve) => onTestFinished(() => resolve([])));
    const admin = await open({
      connectionsMax: 256,
      tokens,
      handlers: {
        listUsers: async () => ({ items: await never }),
        reportOrphans: async ({ body: { inUse } }) => ({
          items: [],
          given: identifiersIn({ inUse }).given,
          matched: 0,
        }),
        followEvents: async function* ({ principal }) {
          if (principal.instances !== undefined) yield* await never;
        },
      },
    });
    await Promise.all(names.map((name) => begun(admin, 24, bytes(name))));
    await expect.poll(() => admitted).toBeGreaterThanOrEqual(72);
    const asked = await admin.ask(`/v1/${path}`, { method, token: manager, body });
    expect(asked).toMatchObject({ status });
  },
);

test.each<[string, readonly (readonly string[])[], string]>([
  ["small bodies of two tokens that arrive slowly", [["kmip-one"], ["kmip-two"]], halfBody],
  ["large bodies of a token with two instances", [["kmip-one", "kmip-two"]], halfLarge],
])("%s leave room for another's large body", async (_, bounds, rest) => {
  let admitted = 0;
  const tokens = {};
  const ids = Object.keys(instanceNames);
  const names = bounds.map((_bound, at) => `hf_${at}_${"x".repeat(32)}`);
  for (const [at, name] of names.entries()) {
    const get = () => {
      admitted += 1;
      const reached = ids.filter((id) => bounds[at]?.includes(instanceNames[id] ?? ""));
      return { ...bearer("operator", reached), id: name };
    };
    Object.defineProperty(tokens, name, { get });
  }
  const reportOrphans = async () => ({ items: [], given: 0, matched: 0 });
  const admin = await open({ tokens, handlers: { reportOrphans } });
  for (const [at, name] of names.entries()) {
    for (const instance of bounds[at] ?? []) {
      await begun(admin, 1, `${head("POST", `instances/${instance}/orphans`)(name)}${rest}`);
    }
  }
  await expect.poll(() => admitted).toBe(2);
  const asking = { method: "POST", token: manager, body: orphans };
  expect(await admin.ask("/v1/instances/kmip-one/orphans", asking)).toMatchObject({ status: 200 });
});

test.each([
  ["ERR_HTTP_REQUEST_TIMEOUT", "408 Request Timeout"],
  ["HPE_INVALID_METHOD", "400 Bad Request"],
])("a request that fails with %s is answered with %s", (code, status) => {
  const socket = new PassThrough();
  endBadRequest({ code }, socket as unknown as Socket);
  expect(String(socket.read())).toMatch(new RegExp(`^HTTP/1.1 ${status}\r\n`));
});
