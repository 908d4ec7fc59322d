import { X509Certificate } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { TLSSocket } from "node:tls";
import { OperatorError } from "@holdfast/server/operator-error";
import { firstRelease, helloPath, sessionHeader, unboxed } from "@holdfast/server/vi-json";
import type { Agent, Dispatcher } from "undici";
import { Failure, reasonOf } from "../terminal/failure.ts";

/** How vCenter is reached. */
export interface VcenterOptions {
  /** `https://HOST` or `https://HOST:PORT`. */
  readonly url: string;
  /** PEM of the authority that issued vCenter's certificate; the system's authorities unless given. */
  readonly ca?: string;
  /** SHA-256 of vCenter's certificate, hex without colons, in place of an authority. */
  readonly fingerprint?: string;
}

/** Who logs in. */
interface Login {
  readonly userName: string;
  readonly password: string;
}

/** A reference to a managed object. */
export interface MoRef {
  readonly type: string;
  readonly value: string;
}

/** A refusal of vCenter. */
export class VcenterFault extends OperatorError {
  /** The name of the fault, such as `InvalidLogin`. */
  readonly fault: string;

  constructor(fault: string, message: string) {
    super(message, fault === "NoPermission" ? "denied" : "wrong");
    this.fault = fault;
  }
}

/** The managers of a vCenter. */
export interface Content {
  readonly about: {
    readonly fullName: string;
    readonly apiVersion: string;
    readonly instanceUuid?: string;
  };
  readonly sessionManager: MoRef;
  readonly cryptoManager?: MoRef;
  readonly rootFolder: MoRef;
  readonly propertyCollector: MoRef;
  readonly viewManager: MoRef;
  readonly vStorageObjectManager?: MoRef;
}

interface TaskInfo {
  readonly state: "queued" | "running" | "success" | "error";
  readonly error?: { readonly localizedMessage?: string };
  readonly result?: unknown;
}

const connectMs = 10_000;
/** vCenter itself asks key managers for some answers, and waits for those that are silent. */
const answerMs = 120_000;
const answerBytesMax = 16 << 20;
const releases = ["9.1.0.0", "9.0.0.0", "8.0.3.0", "8.0.2.0", firstRelease];
/** A vCenter that restarts, or has too much to do, is asked again after these times. */
const busyWaitsMs = [1000, 3000, 9000] as const;
const taskEveryMs = 1000;
const taskMaxMs = 300_000;
/** vSAN gives its keys to each host of a cluster. */
const vsanTaskMaxMs = 1_800_000;

/** A session with vCenter over its VI JSON API (vSphere 8.0 U1 and later). */
export class Vcenter implements AsyncDisposable {
  readonly host: string;
  readonly #origin: string;
  readonly #agent: Agent;
  readonly #login: Login;
  #base = "";
  #session: string | undefined;
  #entering: Promise<void> | undefined;
  #content: Content | undefined;

  private constructor(origin: string, agent: Agent, login: Login) {
    this.#origin = origin;
    this.host = new URL(origin).hostname;
    this.#agent = agent;
    this.#login = login;
  }

  /** Connects and logs in. */
  static async open(options: VcenterOptions, login: Login): Promise<Vcenter> {
    const vcenter = new Vcenter(new URL(options.url).origin, await agentOf(options), login);
    try {
      await vcenter.#begin();
      return vcenter;
    } catch (error) {
      await vcenter[Symbol.asyncDispose]();
      throw error;
    }
  }

  get content(): Content {
    if (this.#content === undefined) throw new TypeError("not logged in");
    return this.#content;
  }

  /** The manager of key providers. */
  get cryptoManager(): MoRef {
    const { cryptoManager, about } = this.content;
    if (cryptoManager?.type === "CryptoManagerKmip") return cryptoManager;
    throw new Failure(
      `${this.#origin}: ${about.fullName} manages no key providers: give the address of a vCenter Server`,
    );
  }

  /** Calls a method; the answer is `undefined` where it has no value. */
  async call(object: MoRef, method: string, body?: unknown): Promise<unknown> {
    return await this.#within("POST", this.#path(object, method), body);
  }

  /** Reads a property of an object. */
  async property(object: MoRef, name: string): Promise<unknown> {
    return unboxed(await this.#within("GET", this.#path(object, name)));
  }

  /** Calls a method of a service beside `vim25` that shares its session, such as vSAN's. */
  async callAt(service: string, object: MoRef, method: string, body: unknown): Promise<unknown> {
    const path = this.#path(object, method).replace(this.#base, `${this.#base}/${service}`);
    return await this.#within("POST", path, body);
  }

  /** Calls a method that begins a task; answers the task's result. */
  async task(object: MoRef, method: string, body?: unknown): Promise<unknown> {
    return await this.#ended(method, (await this.call(object, method, body)) as MoRef, taskMaxMs);
  }

  /** The same with a service beside `vim25`; its tasks are vCenter's. */
  async taskAt(service: string, object: MoRef, method: string, body: unknown): Promise<unknown> {
    const task = (await this.callAt(service, object, method, body)) as MoRef;
    return await this.#ended(method, task, vsanTaskMaxMs);
  }

  async #ended(method: string, task: MoRef, maxMs: number): Promise<unknown> {
    for (let waitedMs = 0; waitedMs < maxMs; waitedMs += taskEveryMs) {
      const info = (await this.#within("GET", this.#path(task, "info"))) as TaskInfo;
      if (info.state === "success") return unboxed(info.result);
      if (info.state === "error") {
        const why = info.error?.localizedMessage ?? "it does not say why";
        throw new OperatorError(`vCenter: ${method} failed: ${why}`);
      }
      await sleep(taskEveryMs);
    }
    throw new OperatorError(
      `vCenter: ${method} did not end in ${maxMs / 60_000} minutes: look at its task, then try again`,
      "again",
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#session !== undefined) {
      const { sessionManager } = this.content;
      await this.#ask("POST", this.#path(sessionManager, "Logout")).catch(() => undefined);
    }
    await this.#agent.destroy();
  }

  async #begin(): Promise<void> {
    this.#base = `/sdk/vim25/${await this.#release()}`;
    const entry = { type: "ServiceInstance", value: "ServiceInstance" };
    const content = await this.#ask("GET", this.#path(entry, "content"));
    this.#content = content as Content;
    if (typeof this.#content?.about?.apiVersion !== "string") {
      throw new Failure(`${this.#origin}: is not a vCenter with the VI JSON API (8.0 U1 or later)`);
    }
    await this.#enter();
  }

  /** The newest release of the API that both sides know. vCenter 8.0 U1 cannot be asked. */
  async #release(): Promise<string> {
    const answer = await this.#send("POST", helloPath, { api_releases: releases });
    if (answer.status === 404) return firstRelease;
    const { api_release: release } = (answer.value ?? {}) as { readonly api_release?: unknown };
    if (answer.status === 200 && typeof release === "string" && release !== "") return release;
    throw new Failure(`${this.#origin}: is not a vCenter with the VI JSON API (8.0 U1 or later)`);
  }

  /** Asks within a session. One that has expired was refused before anything was done: then it is asked again. */
  async #within(method: "GET" | "POST", path: string, body?: unknown): Promise<unknown> {
    const session = this.#session;
    try {
      return await this.#ask(method, path, body);
    } catch (error) {
      if (!(error instanceof VcenterFault) || error.fault !== "NotAuthenticated") throw error;
      // Several requests may find it expired: the first one logs in for all.
      if (this.#session === session) {
        this.#entering ??= this.#enter().finally(() => {
          this.#entering = undefined;
        });
      }
      await this.#entering;
      return await this.#ask(method, path, body);
    }
  }

  async #enter(): Promise<void> {
    try {
      await this.#ask("POST", this.#path(this.content.sessionManager, "Login"), this.#login);
    } catch (error) {
      const isWrong = error instanceof VcenterFault && error.fault === "InvalidLogin";
      if (!isWrong) throw error;
      throw new OperatorError(
        `vCenter does not let ${this.#login.userName} in: check the user name (such as administrator@vsphere.local) and the password`,
        "denied",
      );
    }
    if (this.#session === undefined) throw new Failure(`${this.#origin}: gave no session`);
  }

  #path({ type, value }: MoRef, name: string): string {
    const parts = [type, value, name].map(encodeURIComponent);
    return `${this.#base}/${parts.join("/")}`;
  }

  async #ask(method: "GET" | "POST", path: string, body?: unknown): Promise<unknown> {
    const { status, value } = await this.#send(method, path, body);
    if (status === 200 || status === 204) return value ?? undefined;
    throw faultOf(status, value, path.split("/").at(-1) ?? "");
  }

  /** Sends a request, again while vCenter has too much to do. */
  async #send(
    method: "GET" | "POST",
    path: string,
    body?: unknown,
  ): Promise<{ readonly status: number; readonly value: unknown }> {
    for (const waitMs of busyWaitsMs) {
      const answer = await this.#once(method, path, body);
      if (answer.statusCode !== 503) return await this.#read(answer);
      await answer.body.dump();
      await sleep(waitMs);
    }
    return await this.#read(await this.#once(method, path, body));
  }

  /** Reads an answer, and remembers the session that it may give. */
  async #read({ statusCode: status, headers, body }: Dispatcher.ResponseData) {
    const session = headers[sessionHeader];
    if (typeof session === "string") this.#session = session;
    return { status, value: this.#parsed(await body.text()) };
  }

  /** The value of an answer. A page of something in between must not pass for an empty list. */
  #parsed(text: string): unknown {
    if (text === "") return undefined;
    try {
      return JSON.parse(text) ?? undefined;
    } catch {
      throw new OperatorError(
        `${this.#origin}: an answer is not JSON: is a proxy in between, or is this no vCenter?`,
        "again",
      );
    }
  }

  async #once(
    method: "GET" | "POST",
    path: string,
    body: unknown,
  ): Promise<Dispatcher.ResponseData> {
    const session = this.#session === undefined ? {} : { [sessionHeader]: this.#session };
    const sent = body === undefined ? {} : { "content-type": "application/json" };
    try {
      return await this.#agent.request({
        ...{ origin: this.#origin, path, method },
        headers: { accept: "application/json", ...sent, ...session },
        body: body === undefined ? null : JSON.stringify(body),
        bodyTimeout: answerMs,
        headersTimeout: answerMs,
      });
    } catch (error) {
      throw unreachable(this.#origin, error);
    }
  }
}

async function agentOf({ ca, fingerprint }: VcenterOptions): Promise<Agent> {
  const { Agent: Connections, buildConnector } = await import("@holdfast/admin/http-client");
  const usual = { timeout: connectMs, minVersion: "TLSv1.2" } as const;
  const bounds = { maxResponseSize: answerBytesMax };
  if (fingerprint === undefined) {
    return new Connections({ ...bounds, connect: ca === undefined ? usual : { ...usual, ca } });
  }
  // The certificate is compared before a byte is sent; a resumed session would show none.
  const open = buildConnector({ ...usual, rejectUnauthorized: false, maxCachedSessions: 0 });
  return new Connections({
    ...bounds,
    connect: (options, done) =>
      open(options, (...[error, socket]) => {
        if (error !== null) return done(error, null);
        const shown = (socket as TLSSocket).getPeerCertificate();
        const found = shown.fingerprint256?.replaceAll(":", "").toLowerCase();
        if (found === fingerprint) return done(null, socket);
        socket.destroy();
        const says = `it shows the certificate ${found ?? "none"}, and not that of --vcenter-fingerprint`;
        return done(new Failure(says), null);
      }),
  });
}

const untrusted =
  /self.signed|unable to (get|verify)|UNABLE_TO|DEPTH_ZERO|altname|certificate has expired/i;

function unreachable(origin: string, error: unknown): Error {
  const { code = "", cause } = error as { readonly code?: string; readonly cause?: unknown };
  const why = cause instanceof Error ? reasonOf(cause) : reasonOf(error);
  if (error instanceof Failure) return new Failure(`${origin}: ${why}`);
  if (untrusted.test(`${why} ${code}`)) {
    return new Failure(
      `${origin}: its certificate is not trusted (${why}): give --vcenter-ca with the authority that issued it, or --vcenter-fingerprint`,
    );
  }
  return new OperatorError(`${origin} does not answer: ${why}`, "again");
}

function faultOf(status: number, value: unknown, method: string): Error {
  const { _typeName, faultstring } = (value ?? {}) as Readonly<Record<string, unknown>>;
  if (status === 503) {
    return new OperatorError("vCenter has too much to do (503): try again later", "again");
  }
  if (status !== 500 || typeof _typeName !== "string") {
    return new OperatorError(`vCenter answered ${method} with HTTP status ${status}`, "again");
  }
  const says = typeof faultstring === "string" && faultstring !== "" ? `: ${faultstring}` : "";
  if (_typeName === "NoPermission") {
    return new VcenterFault(
      _typeName,
      `vCenter: the user lacks a privilege for ${method}${privilegeText(value)}${says}`,
    );
  }
  return new VcenterFault(_typeName, `vCenter refused ${method}: ${_typeName}${says}`);
}

/** Which privilege is missing, where vCenter says so. */
function privilegeText(fault: unknown): string {
  const { privilegeId } = (fault ?? {}) as Readonly<Record<string, unknown>>;
  return typeof privilegeId === "string" && privilegeId !== "" ? ` (${privilegeId})` : "";
}

/** The certificate in a PEM from vCenter; undefined if the PEM has none. */
export function certificateIn(pem: unknown): X509Certificate | undefined {
  try {
    return typeof pem === "string" && pem !== "" ? new X509Certificate(pem) : undefined;
  } catch {
    return undefined;
  }
}
