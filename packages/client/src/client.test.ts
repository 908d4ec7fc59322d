import type { Version } from "@holdfast/kmip";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { type ClientOptions, KmipClient } from "./client.ts";
import { ConnectionError, KmipClientError, MalformedResponseError } from "./errors.ts";
import {
  type Behaviour,
  succeed,
  type TestPki,
  TestServer,
  testPki,
} from "./testing/test-server.ts";

let pki: TestPki;
const open: { close(): Promise<void> }[] = [];

beforeAll(async () => {
  pki = await testPki();
});

afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close();
});

const id = "5d5b0a4a-1f6b-4c6e-9b3b-000000000001";
const activated = succeed(() => ({ uniqueIdentifier: id }));

async function serve(behaviour: Behaviour, port?: number): Promise<TestServer> {
  const server = await TestServer.start(pki, behaviour, port);
  open.push(server);
  return server;
}

async function connect(
  servers: readonly { readonly endpoint: string }[],
  options: Partial<ClientOptions> = {},
): Promise<KmipClient> {
  const client = await KmipClient.connect({
    endpoints: servers.map(({ endpoint }) => endpoint),
    tls: pki.client,
    version: "1.4",
    ...options,
  });
  open.push(client);
  return client;
}

async function failureOf(promise: Promise<unknown>): Promise<Error> {
  return promise.then(
    () => expect.unreachable("it succeeded"),
    (error: Error) => error,
  );
}

describe("operations", () => {
  test("are sent and answered with types, one message each", async () => {
    const server = await serve(activated);
    const client = await connect([server]);
    expect(await client.activate({ uniqueIdentifier: id })).toEqual({ uniqueIdentifier: id });
    expect(server.requests).toMatchObject([
      {
        version: "1.4",
        header: { batchCount: 1, credentials: [] },
        items: [{ operation: "Activate", payload: { uniqueIdentifier: id } }],
      },
    ]);
    expect(server.requests[0]?.items[0]?.uniqueBatchItemId).toBeUndefined();
  });

  test("that fail report the reason on one line", async () => {
    const server = await serve(({ items }) =>
      items.map(() => ({
        operation: "Activate",
        status: "OperationFailed",
        reason: "ItemNotFound",
        message: "no such\nobject\u0007",
      })),
    );
    const client = await connect([server]);
    const error = await failureOf(client.activate({ uniqueIdentifier: id }));
    expect(error).toBeInstanceOf(KmipClientError);
    expect(error).toMatchObject({
      message: "Activate: ItemNotFound: no such object",
      reason: "ItemNotFound",
      status: "OperationFailed",
      operation: "Activate",
    });
  });

  test("of a batch get identifiers, and their failures are part of the answer", async () => {
    const server = await serve(({ items }) =>
      items.map(({ uniqueBatchItemId = new Uint8Array() }, at) => ({
        operation: "Activate",
        uniqueBatchItemId,
        ...(at === 0
          ? { status: "Success", payload: { uniqueIdentifier: id } }
          : { status: "OperationFailed", reason: "ItemNotFound", message: "none" }),
      })),
    );
    const client = await connect([server]);
    const item = { operation: "Activate", payload: { uniqueIdentifier: id } } as const;
    const { items } = await client.request("1.2", [item, item]);
    expect(items.map(({ status }) => status)).toEqual(["Success", "OperationFailed"]);
    const ids = server.requests[0]?.items.map(({ uniqueBatchItemId }) =>
      Buffer.from(uniqueBatchItemId ?? []).toString("hex"),
    );
    expect(ids).toEqual(["0000000000000001", "0000000000000002"]);
    expect(server.requests[0]?.version).toBe("1.2");
  });

  test("carry the credentials of the client", async () => {
    const server = await serve(activated);
    const credential = { type: "UsernameAndPassword", username: "u", password: "p" } as const;
    const client = await connect([server], { credentials: [credential] });
    await client.activate({ uniqueIdentifier: id });
    expect(server.requests[0]?.header.credentials).toEqual([credential]);
  });

  test("fail if the answer is not a KMIP response, and the connection stays open", async () => {
    const notResponse = Buffer.from("42007801000000084200770100000000", "hex");
    const server = await serve(() => notResponse);
    const client = await connect([server]);
    const error = await failureOf(client.query({ queryFunctions: [] }));
    expect(error).toBeInstanceOf(MalformedResponseError);
    expect(error.message).toMatch(/^127\.0\.0\.1:\d+ answered no valid KMIP response: [^\n]+$/);
    server.behaviour = activated;
    await client.activate({ uniqueIdentifier: id });
    expect(server.connections).toBe(1);
  });

  test("end the connection if the answer is not KMIP", async () => {
    const server = await serve(() => Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n"));
    const client = await connect([server]);
    const error = await failureOf(client.activate({ uniqueIdentifier: id }));
    expect(error.message).toMatch(/the answer is not KMIP: not the header of a KMIP message/);
  });

  test("fail if the header of the answer announces more than the limit", async () => {
    const header = Buffer.from("42007b0100010000", "hex");
    const server = await serve(() => header);
    const client = await connect([server], { responseBytesMax: 65_536 });
    const error = await failureOf(client.activate({ uniqueIdentifier: id }));
    expect(error.message).toContain("more than the limit of 65536");
  });
});

describe("the version", () => {
  const versionsOf = (list: readonly string[]): Behaviour =>
    succeed(() => ({
      versions: list.map((version) => {
        const [major, minor] = version.split(".").map(Number);
        return { major, minor };
      }),
    }));

  test.each<[readonly string[], Version]>([
    [["2.1", "2.0", "1.4", "1.3", "1.2", "1.1", "1.0"], "2.1"],
    [["1.1", "1.0"], "1.1"],
    [["3.0", "1.0", "1.3"], "1.3"],
  ])("for a server with %j is %s", async (list, expected) => {
    const server = await serve(versionsOf(list));
    const client = await KmipClient.connect({ endpoints: [server.endpoint], tls: pki.client });
    open.push(client);
    expect(client.version).toBe(expected);
    expect(server.requests.map(({ version }) => version)).toEqual(["1.1"]);
  });

  test("is 1.0 if the server does not know Discover Versions", async () => {
    const server = await serve(({ items }) =>
      items.map(() => ({
        operation: "DiscoverVersions",
        status: "OperationFailed",
        reason: "OperationNotSupported",
        message: "what?",
      })),
    );
    const client = await KmipClient.connect({ endpoints: [server.endpoint], tls: pki.client });
    open.push(client);
    expect(client.version).toBe("1.0");
    expect(server.requests.map(({ version }) => version)).toEqual(["1.1", "2.0"]);
  });

  test("causes an error if there is no common one, and no connection stays open", async () => {
    const server = await serve(versionsOf(["3.0"]));
    const error = await failureOf(
      KmipClient.connect({ endpoints: [server.endpoint], tls: pki.client }),
    );
    expect(error.message).toMatch(/no common version: the client speaks 1\.0, .*2\.1$/);
    await expect.poll(() => server.sockets.size).toBe(0);
  });
});

describe("several endpoints", () => {
  test("are used in turn", async () => {
    const servers = [await serve(activated), await serve(activated), await serve(activated)];
    const client = await connect(servers);
    for (let n = 0; n < 6; n++) await client.activate({ uniqueIdentifier: id });
    expect(servers.map(({ requests }) => requests.length)).toEqual([2, 2, 2]);
    expect(servers.map(({ connections }) => connections)).toEqual([1, 1, 1]);
  });

  test("that refuse the connection are skipped, also for a request that changes something", async () => {
    const alive = await serve(activated);
    const gone = await serve(activated);
    await gone.close();
    open.pop();
    const client = await connect([gone, alive]);
    for (let n = 0; n < 4; n++) await client.activate({ uniqueIdentifier: id });
    expect(alive.requests.length).toBe(4);
  });

  test("are all named in the error if none answers", async () => {
    const gone = [await serve(activated), await serve(activated)];
    for (const server of gone) await server.close();
    open.splice(0);
    const error = await failureOf(connect(gone));
    expect(error).toBeInstanceOf(ConnectionError);
    expect(error).toMatchObject({ failure: "unreachable", sent: false });
    for (const { endpoint } of gone) {
      expect(error.message).toContain(`${endpoint}: connection refused: nothing listens there`);
    }
  });

  test("get a request again after a lost answer, if the request changes nothing", async () => {
    const cutting = await serve((_request, socket) => {
      socket.destroy();
      return undefined;
    });
    const alive = await serve(succeed(() => ({ uniqueIdentifiers: [id] })));
    const client = await connect([cutting, alive]);
    const find = { uniqueIdentifiers: [id] };
    // Whichever endpoint is first, one of two requests goes to the server that drops connections.
    expect(await client.locate({})).toMatchObject(find);
    expect(await client.locate({})).toMatchObject(find);
    expect(cutting.requests.length).toBeGreaterThan(0);
    expect(alive.requests.length).toBe(2);
  });

  test("do not get a change again after a lost answer, unless the caller allows it", async () => {
    const cutting = await serve((_request, socket) => {
      socket.destroy();
      return undefined;
    });
    const client = await connect([cutting]);
    const error = await failureOf(client.activate({ uniqueIdentifier: id }));
    expect(error).toMatchObject({ name: "ConnectionError", failure: "lost", sent: true });
    expect(cutting.requests.length).toBe(1);
    await failureOf(client.activate({ uniqueIdentifier: id }, { repeat: true }));
    expect(cutting.requests.length).toBe(3);
  });

  test("get a batch again only if every operation in it may be repeated", async () => {
    const cutting = await serve((_request, socket) => {
      socket.destroy();
      return undefined;
    });
    const client = await connect([cutting]);
    const read = { operation: "Get", payload: { uniqueIdentifier: id } } as const;
    const change = { operation: "Destroy", payload: { uniqueIdentifier: id } } as const;
    await failureOf(client.request("1.4", [read, change]));
    expect(cutting.requests.length).toBe(1);
    await failureOf(client.request("1.4", [read, read]));
    expect(cutting.requests.length).toBe(3);
  });

  test("are tried in turn if one does not answer in time", async () => {
    const silent = await serve(() => undefined);
    const alive = await serve(succeed(() => ({ uniqueIdentifiers: [] })));
    const client = await connect([silent, alive], { requestTimeoutMs: 200 });
    await client.locate({});
    await client.locate({});
    expect(alive.requests.length).toBe(2);
    const alone = await connect([silent], { requestTimeoutMs: 200 });
    const error = await failureOf(alone.locate({}));
    expect(error).toMatchObject({ failure: "timeout", sent: true });
    expect(error.message).toMatch(/: no answer within 200 ms$/);
  });
});

describe("connections", () => {
  test("are reused, and opened again after the server closed them", async () => {
    const server = await serve(activated);
    const client = await connect([server]);
    await client.activate({ uniqueIdentifier: id });
    for (const socket of server.sockets) socket.end();
    await expect.poll(() => server.sockets.size).toBe(0);
    await client.activate({ uniqueIdentifier: id });
    expect(server.connections).toBe(2);
  });

  test("carry one request at a time, and are limited in number", async () => {
    let release = () => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const server = await serve(async (request, socket) => {
      await gate;
      return activated(request, socket);
    });
    const client = await connect([server], { connectionsMax: 2 });
    const calls = [1, 2, 3, 4].map(() => client.activate({ uniqueIdentifier: id }));
    await expect.poll(() => server.requests.length).toBe(2);
    expect(server.connections).toBe(2);
    release();
    await Promise.all(calls);
    expect(server.requests.length).toBe(4);
    expect(server.connections).toBe(2);
  });

  test("carry several requests with pipelining, and the answers keep their order", async () => {
    const server = await serve(succeed(({ payload }) => payload));
    const client = await connect([server], { connectionsMax: 1, pipelining: 8 });
    const ids = Array.from({ length: 20 }, (_, n) => `id-${n}`);
    const answers = await Promise.all(
      ids.map((uniqueIdentifier) => client.activate({ uniqueIdentifier })),
    );
    expect(answers.map(({ uniqueIdentifier }) => uniqueIdentifier)).toEqual(ids);
    expect(server.connections).toBe(1);
  });

  test("that are all busy for too long cause a separate error", async () => {
    const server = await serve(() => undefined);
    const client = await connect([server], { connectionsMax: 1, requestTimeoutMs: 150 });
    const first = failureOf(client.activate({ uniqueIdentifier: id }, { requestTimeoutMs: 400 }));
    const error = await failureOf(client.activate({ uniqueIdentifier: id }));
    expect(error).toMatchObject({ failure: "busy", sent: false });
    expect(await first).toMatchObject({ failure: "timeout" });
  });

  test("end when the client is closed, and nothing is sent afterwards", async () => {
    const server = await serve(() => undefined);
    const client = await connect([server]);
    const lost = failureOf(client.activate({ uniqueIdentifier: id }));
    await expect.poll(() => server.requests.length).toBe(1);
    await client.close();
    expect(await lost).toMatchObject({ failure: "lost" });
    expect(await failureOf(client.activate({ uniqueIdentifier: id }))).toMatchObject({
      failure: "closed",
    });
    await expect.poll(() => server.sockets.size).toBe(0);
  });
});

describe("the server is verified", () => {
  test("against the given authority", async () => {
    const server = await serve(activated);
    const other = await testPki();
    const error = await failureOf(
      connect([server], { tls: { ...pki.client, ca: other.client.ca } }),
    );
    expect(error.message).toMatch(/does not come from the given certificate authority$/);
  });

  test("by its address", async () => {
    const foreign = await testPki(["127.9.9.9"]);
    const server = await TestServer.start(foreign, activated);
    open.push(server);
    const error = await failureOf(connect([server], { tls: foreign.client }));
    expect(error.message).toMatch(/certificate does not name this host/);
    const named = await connect([server], { tls: { ...foreign.client, serverName: "127.9.9.9" } });
    await named.activate({ uniqueIdentifier: id });
  });

  test("and a refusal of the client certificate is reported as such", async () => {
    const server = await serve(activated);
    const other = await testPki();
    const tls = { ...other.client, ca: pki.client.ca };
    const error = await failureOf(
      connect([server], { tls }).then((client) => client.activate({ uniqueIdentifier: id })),
    );
    expect(error.message).toMatch(/client certificate/);
    expect(error).toMatchObject({ name: "ConnectionError", refused: true });
    expect(error.message).not.toMatch(/\n/);
  });

  test("and a connection that ends before any answer is reported with both possible reasons", async () => {
    const server = await serve((_, socket) => {
      socket.end();
      return undefined;
    });
    const client = await connect([server]);
    const error = await failureOf(client.activate({ uniqueIdentifier: id }));
    expect(error.message).toMatch(
      /client certificate .*, or .* larger than kmip\.requestBytesMax$/,
    );
  });
});
