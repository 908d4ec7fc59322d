import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { createAuthority } from "@holdfast/testing/pki";
import { CryptoManager } from "./crypto-manager.ts";
import { Fault } from "./fault.ts";
import { Inventory, type Managed, noMethod } from "./inventory.ts";
import type { Exchange } from "./pyvmomi.ts";

/**
 * A vCenter as clients of its VI JSON API see it, over TLS: sessions, tasks and `CryptoManagerKmip`, with the published
 * shapes. It connects to the key servers itself, as vCenter does. Prints its port and its authority on one line.
 * `POST /faults` sets what goes wrong next.
 */
const [user = "administrator@vsphere.local", password = "secret"] = process.argv.slice(2);
const base = /^\/sdk\/vim25\/\d+(?:\.\d+){3}\/(vsan\/)?(\w+)\/([^/]+)\/(\w+)$/;
const release = "8.0.3.0";

/** What goes wrong: answers of 503, sessions that have expired, calls that take long, one method that fails. */
interface Faults {
  busy: number;
  expired: number;
  slowMs: number;
  failing: string;
  /** What it fails with. */
  fault?: string;
  /** A method at which the session has expired, once. */
  expiresAt: string;
  /** A method that something in between answers, with a page. */
  page: string;
  /** What a method answers once in place of the truth; an empty text for an answer without a body. */
  instead: Readonly<Record<string, unknown>>;
  /** Whether vSAN has JSON; older releases have only SOAP. */
  vsanJson: boolean;
}

const faults: Faults = {
  ...{ busy: 0, expired: 0, expiresAt: "", slowMs: 0, failing: "", page: "" },
  ...{ instead: {}, vsanJson: true },
};
const sessions = new Set<string>();
const tasks = new Map<string, unknown>();
const calls: string[] = [];
const exchanges: Exchange[] = [];
const manager = new CryptoManager();
const inventory = new Inventory();

interface Reply {
  readonly status: number;
  readonly body?: unknown;
  readonly session?: string;
  readonly page?: string;
}

const value = (body: unknown): Reply =>
  body === undefined ? { status: 204 } : { status: 200, body };
const reference = (type: string, id: string) => ({
  _typeName: "ManagedObjectReference",
  ...{ type, value: id },
});

type Body = Readonly<Record<string, unknown>>;

/** What tests ask and tell the stand-in itself. */
const ofTests: Readonly<Record<string, (body: Body) => unknown>> = {
  "/faults": (body) => Object.assign(faults, body),
  "/calls": () => calls,
  "/exchanges": () => exchanges,
  "/use": (body) => manager.use(body),
  "/forget": () => manager.forget(),
  "/objects": () => inventory.objects,
  "/about": () => content.about,
  "/inventory": (body) => inventory.use(body["objects"] as readonly Managed[]),
};

async function answer(request: IncomingMessage, said: string): Promise<Reply> {
  const path = decodeURIComponent(request.url ?? "");
  const body = (said === "" ? {} : JSON.parse(said)) as Body;
  const told = ofTests[path];
  if (told !== undefined) return value(told(body));
  if (faults.busy > 0) {
    faults.busy -= 1;
    return { status: 503 };
  }
  if (path === "/api/vcenter/system?action=hello") return value(hello(body));
  const [type = "", id = "", name = ""] = placeIn(path);
  if (type === "") return { status: 404 };
  if (name !== "info") calls.push(name);
  if (type === "ServiceInstance") return value(content);
  if (name === "Login") return login(body);
  refuseStrangers(String(request.headers["vmware-api-session-id"] ?? ""), name);
  if (type === "Task") return value(tasks.get(id));
  if (request.method === "GET") return value(inventory.property(type, id, name) ?? null);
  return await called(type, id, name, body);
}

/** Type, identifier and method or property in a path; none where there is no such service. */
function placeIn(path: string): readonly string[] {
  const [, vsan, ...place] = base.exec(path) ?? [];
  return vsan !== undefined && !faults.vsanJson ? [] : place;
}

function hello({ api_releases: releases }: Body): Body {
  return { api_release: (releases as readonly string[]).includes(release) ? release : "" };
}

/** Refuses who has no session, and ends a session that signs out. */
function refuseStrangers(session: string, name: string): void {
  const expires = faults.expired > 0 && name !== "Logout";
  if (expires || faults.expiresAt === name) {
    if (expires) faults.expired -= 1;
    faults.expiresAt = "";
    sessions.delete(session);
    // Views and tokens live in their session.
    inventory.endSession();
  }
  const known = name === "Logout" ? sessions.delete(session) : sessions.has(session);
  if (!known) throw new Fault("NotAuthenticated", "The session is not authenticated.");
}

/** Calls a method; one that ends in `_Task` begins a task, and vSAN has another one. */
async function called(type: string, id: string, name: string, body: Body): Promise<Reply> {
  if (name === "Logout") return value(undefined);
  await sleep(faults.slowMs);
  if (faults.failing === name) {
    faults.failing = "";
    throw new Fault(faults.fault ?? "RuntimeFault", "A general system error occurred.");
  }
  if (faults.page === name) {
    faults.page = "";
    return { status: 200, page: "<html>Sign in</html>" };
  }
  if (name in faults.instead) {
    const body = faults.instead[name];
    faults.instead = {};
    return value(body === "" ? undefined : body);
  }
  const run = async () => {
    const found = inventory.call(type, id, name, body);
    const result = found === noMethod ? await manager.call(name, body) : found;
    // As it is now: later calls may change it.
    exchanges.push(structuredClone({ type, method: name, body, result }));
    return result;
  };
  const isTask = name.endsWith("_Task") || name === "VsanClusterReconfig";
  return value(isTask ? reference("Task", begun(run)) : await run());
}

/** A task that runs for a moment. */
function begun(run: () => Promise<unknown>): string {
  const id = `task-${tasks.size + 1}`;
  tasks.set(id, { _typeName: "TaskInfo", key: id, state: "running" });
  void run().then(
    (result) => tasks.set(id, { _typeName: "TaskInfo", key: id, state: "success", result }),
    (error: unknown) =>
      tasks.set(id, {
        _typeName: "TaskInfo",
        state: "error",
        error: { localizedMessage: (error as Error).message },
      }),
  );
  return id;
}

function login(body: Readonly<Record<string, unknown>>): Reply {
  if (body["userName"] !== user || body["password"] !== password) {
    throw new Fault(
      "InvalidLogin",
      "Cannot complete login due to an incorrect user name or password.",
    );
  }
  const session = randomUUID();
  sessions.add(session);
  return { status: 200, body: { _typeName: "UserSession", key: session, userName: user }, session };
}

const content = {
  _typeName: "ServiceContent",
  about: {
    _typeName: "AboutInfo",
    ...{ name: "VMware vCenter Server", fullName: "VMware vCenter Server 8.0.3", version: "8.0.3" },
    ...{ apiType: "VirtualCenter", apiVersion: release, instanceUuid: randomUUID() },
  },
  sessionManager: reference("SessionManager", "SessionManager"),
  cryptoManager: reference("CryptoManagerKmip", "CryptoManager"),
  rootFolder: reference("Folder", "group-d1"),
  propertyCollector: reference("PropertyCollector", "propertyCollector"),
  viewManager: reference("ViewManager", "ViewManager"),
  vStorageObjectManager: reference("VcenterVStorageObjectManager", "VStorageObjectManager"),
};

async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const said = await text(request);
  let reply: Reply;
  try {
    reply = await answer(request, said);
  } catch (error) {
    const fault = error instanceof Fault ? error : new Fault("RuntimeFault", String(error));
    reply = { status: 500, body: { _typeName: fault.name, faultstring: fault.message } };
  }
  if (reply.session !== undefined) response.setHeader("vmware-api-session-id", reply.session);
  response.setHeader("content-type", "application/json");
  response
    .writeHead(reply.status)
    .end(reply.page ?? (reply.body === undefined ? "" : JSON.stringify(reply.body)));
}

const since = { notBeforeMs: Date.now() - 3_600_000, days: 2 };
const authority = await createAuthority({ commonName: "VMCA", ...since });
const own = await authority.issue({ commonName: "vcenter", hosts: ["localhost"], ...since });
const server = createServer({ cert: own.certificate, key: own.key }, (request, response) => {
  void serve(request, response);
});
server.listen(0, "127.0.0.1", () => {
  const { port } = server.address() as AddressInfo;
  process.stdout.write(
    `${JSON.stringify({ port, ca: authority.certificate, certificate: own.certificate })}\n`,
  );
});
