import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, writeFileSync } from "node:fs";
import { connect as connectTcp, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ConnectionOptions, connect, type TLSSocket } from "node:tls";
import { Relay } from "@holdfast/testing";
import { type Authority, createAuthority, type Issued, selfSigned } from "@holdfast/testing/pki";
import { byteString, encode, FrameReader, structure } from "@holdfast/ttlv";
import { type Instance, loadInstances } from "../access/instances.ts";
import { Passwords } from "../access/passwords.ts";
import { Trust } from "../access/trust.ts";
import { purposes } from "../base/certificates.ts";
import { systemClock } from "../base/system.ts";
import { readIdentity } from "../base/tls.ts";
import { type EndpointOptions, KmipEndpoint } from "../kmip/kmip-endpoint.ts";
import type { NodeEvent } from "../observe/events.ts";

/** Certificates for one test file, created once. */
export interface TestPki {
  readonly folder: string;
  readonly serverAuthority: Authority;
  readonly server: Issued;
  /** Issues client certificates for instance `issued`. */
  readonly clientAuthority: Authority;
  readonly issued: Issued;
  /** A self-signed certificate that gives access to instance `pinned`. */
  readonly pinned: Issued;
  readonly stranger: Issued;
}

const dayMs = 86_400_000;
const since = () => ({ notBeforeMs: Date.now() - dayMs, days: 10 });

/** Creates the certificates of a test file. */
export async function makePki(): Promise<TestPki> {
  const serverAuthority = await createAuthority({ commonName: "Server CA", ...since() });
  const clientAuthority = await createAuthority({ commonName: "Client CA", ...since() });
  const request = { commonName: "client", ...since() };
  return {
    folder: mkdtempSync(join(tmpdir(), "holdfast-endpoint-")),
    serverAuthority,
    clientAuthority,
    server: await issueServer(serverAuthority),
    issued: await clientAuthority.issue(request),
    pinned: await selfSigned({ ...request, commonName: "kmipClient" }),
    stranger: await selfSigned({ ...request, commonName: "stranger" }),
  };
}

/** Issues a server certificate for loopback. */
export function issueServer(
  authority: Authority,
  keyType: "P-256" | "RSA-2048" = "P-256",
): Promise<Issued> {
  return authority.issue({
    commonName: "node",
    ...since(),
    keyType,
    hosts: ["127.0.0.1", "localhost"],
    purposes: [purposes.serverAuth],
  });
}

/** Writes pairs of certificate and key to files and returns the settings that name them. */
export function tlsSettings(pki: TestPki, name: string, ...pairs: readonly Issued[]) {
  const write = (kind: string, text: string, at: number) => {
    const path = join(pki.folder, `${name}-${at}.${kind}`);
    writeFileSync(path, text);
    return path;
  };
  return {
    certificate: pairs.map((pair, at) => write("pem", pair.certificate, at)),
    key: pairs.map((pair, at) => write("key", pair.key, at)),
    suites: "default" as const,
  };
}

/** The instances `pinned` and `issued`. */
export function testInstances(pki: TestPki): readonly Instance[] {
  const entry = { id: undefined, users: [] };
  return loadInstances([
    { ...entry, name: "pinned", certificates: [pki.pinned.certificate], authorities: [] },
    { ...entry, name: "issued", certificates: [], authorities: [pki.clientAuthority.certificate] },
  ]);
}

/** An endpoint on a free loopback port, with all events that it reported. */
export interface RunningEndpoint extends AsyncDisposable {
  readonly endpoint: KmipEndpoint;
  readonly port: number;
  readonly events: NodeEvent[];
}

const limits: EndpointOptions["limits"] = {
  listen: { host: "127.0.0.1", port: 0 },
  connectionsMax: 100,
  // No timeout ends a connection unless the test sets one: a closed connection was closed at once.
  handshakeTimeoutMs: 600_000,
  requestBytesMax: 1 << 20,
  requestDeadlineMs: 600_000,
  idleTimeoutMs: 600_000,
  pipelineMax: 16,
  inFlightBytesMax: 1 << 24,
};

/** Opens an endpoint that answers every request with the request itself by default. */
export async function startEndpoint(
  pki: TestPki,
  options: Partial<Omit<EndpointOptions, "limits">> & {
    readonly limits?: Partial<EndpointOptions["limits"]>;
  } = {},
): Promise<RunningEndpoint> {
  const events: NodeEvent[] = [];
  let requests = 0;
  const endpoint = new KmipEndpoint({
    suites: "default",
    identity: readIdentity(tlsSettings(pki, "server", pki.server)),
    ticketSecret: randomBytes(48),
    trust: new Trust(testInstances(pki)),
    passwords: new Passwords(),
    execute: async (request) => request,
    refuse: () => message(),
    clock: systemClock,
    requestId: () => `request-${++requests}`,
    observe: (event) => events.push(event),
    ...options,
    limits: { ...limits, ...options.limits },
  });
  await endpoint.open();
  return {
    endpoint,
    port: Number(endpoint.address.split(":").at(-1)),
    events,
    [Symbol.asyncDispose]: () => endpoint.close(),
  };
}

/** Connects by TLS, verifying the server; resolves when the client's side of the handshake is done. */
export async function connectTls(
  pki: TestPki,
  port: number,
  client?: Issued,
  options: ConnectionOptions = {},
): Promise<TLSSocket> {
  const socket = connect({
    host: "127.0.0.1",
    port,
    ca: pki.serverAuthority.certificate,
    ...(client === undefined ? {} : { cert: client.certificate, key: client.key }),
    ...options,
  });
  await once(socket, "secureConnect");
  // A test detects a reset after the handshake by "close"; it must not be an uncaught error.
  socket.on("error", () => undefined);
  return socket;
}

/** Opens a plain TCP connection. */
export async function connectPlain(port: number): Promise<Socket> {
  const socket = connectTcp({ host: "127.0.0.1", port, allowHalfOpen: false });
  await once(socket, "connect");
  socket.on("error", () => undefined);
  return socket;
}

/** A request message of about `bytes` bytes, identified by `mark`. */
export function message(bytes = 64, mark = 0): Uint8Array {
  const body = new Uint8Array(Math.max(8, bytes - 16)).fill(mark);
  return encode(structure(0x42_0078, [byteString(0x42_0020, body)]));
}

/** Reads the next `count` messages. Rejects if the connection ends earlier. */
export function receive(socket: TLSSocket, count = 1): Promise<Uint8Array[]> {
  const reader = new FrameReader({ frameBytesMax: 1 << 26 });
  const got: Uint8Array[] = [];
  return new Promise((resolve, reject) => {
    const settle = (done: () => void) => {
      socket.off("data", onData).off("close", onClose);
      done();
    };
    const onData = (chunk: Buffer) => {
      got.push(...reader.push(chunk));
      if (got.length >= count) settle(() => resolve(got));
    };
    const onClose = () => settle(() => reject(new Error(`closed after ${got.length} messages`)));
    socket.on("data", onData).on("close", onClose);
  });
}

/** Sends one message and returns the answer. */
export async function ask(socket: TLSSocket, request: Uint8Array): Promise<Uint8Array> {
  const answer = receive(socket);
  socket.write(request);
  return (await answer)[0] as Uint8Array;
}

/** Waits until a socket is closed; drops the bytes that it still receives. */
export async function untilClosed(socket: Socket): Promise<void> {
  if (!socket.closed) {
    socket.resume();
    // Not `once` of node:events, which rejects when the connection is reset.
    await new Promise((resolve) => socket.once("close", resolve));
  }
}

/** Waits until a condition holds; fails after 120 seconds. */
export async function until(condition: () => boolean): Promise<void> {
  const endMs = performance.now() + 120_000;
  while (!condition()) {
    if (performance.now() > endMs) throw new Error("it did not happen within 120 s");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Waits for the end of a connection at the server and returns its event. */
export async function endingOf(running: RunningEndpoint): Promise<NodeEvent | undefined> {
  const find = () => running.events.find(({ type }) => type === "connectionEnded");
  await until(() => find() !== undefined);
  return find();
}

/** A relay in front of a port, with the bytes that the server has sent through it. */
export async function startRelay(port: number) {
  const relay = await Relay.open(port);
  const fromServer: Buffer[] = [];
  relay.watch = (bytes, way) => {
    if (way === "back") fromServer.push(bytes);
    return "pass";
  };
  return {
    port: relay.port,
    fromServer,
    [Symbol.asyncDispose]: () => relay[Symbol.asyncDispose](),
  };
}
