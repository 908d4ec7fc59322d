import { AdminProblem, AdminUnreachable } from "@holdfast/admin/errors";
import { follow } from "@holdfast/admin/follow";
import { pathOf } from "@holdfast/admin/request";
import { signal } from "@preact/signals";
import { chunksOf } from "./chunks.ts";
import {
  type AnswerOf,
  type NodeAnswer,
  type Operation,
  type OperationName,
  operations,
  type RequestOf,
  type Who,
} from "./contract.ts";

/** The parts of any request; the contract has the exact types. */
export interface LooseRequest {
  readonly params?: Readonly<Record<string, unknown>>;
  readonly query?: Readonly<Record<string, unknown>>;
  readonly body?: unknown;
}

/** How one call is made. */
export interface CallOptions {
  /** The same for every repetition of a POST. */
  readonly idempotencyKey?: string;
  readonly ifMatch?: string | undefined;
  readonly approval?: string | undefined;
  readonly dryRun?: boolean;
  readonly signal?: AbortSignal;
  /** The only node that is asked; the present one, or the next one that answers, unless given. */
  readonly at?: string | undefined;
}

/** The node that served this page, as a prefix of addresses; the page may be behind a proxy's path. */
const own = new URL("..", document.baseURI).href;
const readMs = 10_000;
/** Some POSTs are repeated at the next node; other changes are not, so their answer is waited for longer. */
const postMs = 15_000;
const changeMs = 60_000;
/** The end of a session is written to the stores of all regions, which must not make a person wait for long. */
const endMs = 5000;

/** All nodes that the console may ask, its own first. */
export const nodes = signal<readonly string[]>([own]);
/** The node that is asked now. */
export const asked = signal(own);
/** Who is signed in: `undefined` while unknown, `null` if nobody is. */
export const who = signal<Who | null | undefined>(undefined);
/** Whether the session of `who` is over or does not count at the node that is asked: what is open stays, and waits. */
export const mustSignIn = signal(false);
/** Whether the nodes belong to a development cluster, which a person may break here. */
export const hasSwitches = signal(false);
/** The domain of authenticators' keys; undefined = the host of this page. */
export const relyingParty = signal<string | undefined>(undefined);
/** The session of the vSphere Client, as headers, where the page is part of it; else empty. */
export const vcenterSession = signal<Readonly<Record<string, string>>>({});
/** What a person should know before signing in. */
export const signInNotice = signal("");
/** Where a person signs in at the identity provider of the node that is asked; undefined if it has none. */
export const signInAt = signal<string | undefined>(undefined);
/** The node that has said where a person signs in. */
export const providerOf = signal(own);
/** Where a person ends the session at the identity provider too; undefined if it does not offer that. */
export const signOutAt = signal<string | undefined>(undefined);
/** What the person should know about the connection; empty if all is well. */
export const notice = signal("");

/**
 * Carries out an operation at the present node, or at the next one that answers if it cannot be done twice there. Throws an
 * `AdminProblem` if the service refuses, and an `AdminUnreachable` if nothing answers.
 */
export function call<Name extends OperationName>(
  name: Name,
  request: RequestOf<Name>,
  options?: CallOptions,
): Promise<AnswerOf<Name>>;
/** The same for an operation whose name comes from a table. */
export function call(
  name: OperationName,
  request: LooseRequest,
  options?: CallOptions,
): Promise<Readonly<Record<string, unknown>>>;
export async function call(
  name: OperationName,
  request: LooseRequest,
  options: CallOptions = {},
): Promise<unknown> {
  const repeats = mayRepeat(operations[name], options);
  const key = options.idempotencyKey ?? crypto.randomUUID();
  // Before any node is asked: a parameter that is missing is not a node that is silent.
  addressOf(asked.value, name, request);
  const ask = (node: string) => send(node, name, request, { ...options, idempotencyKey: key });
  const answer = await (options.at === undefined
    ? askInTurn(repeats, ask)
    : askOnce(options.at, ask));
  try {
    return await read(answer);
  } catch (error) {
    const isOver = error instanceof AdminProblem && error.code === "unauthenticated";
    if (isOver && name !== "whoAmI") void findWho().catch(() => undefined);
    throw error;
  }
}

/** Asks every node at the same time: what each answers, and why the others do not. Throws if none answers. */
export async function callEvery(
  name: OperationName,
  request: LooseRequest,
): Promise<{
  readonly answers: readonly NodeAnswer[];
  readonly faults: readonly { readonly at: string; readonly error: unknown }[];
}> {
  const all = nodes.peek();
  const ask = async (at: string): Promise<NodeAnswer> => {
    const answer = await callAt(at, name, request as never);
    return { at, answer: answer as NodeAnswer["answer"] };
  };
  const heard = await Promise.allSettled(all.map(ask));
  const answers = heard.flatMap((one) => (one.status === "fulfilled" ? one.value : []));
  const faults = heard.flatMap((one, index) =>
    one.status === "rejected" ? { at: all[index] ?? own, error: one.reason as unknown } : [],
  );
  if (answers.length === 0) throw faults[0]?.error;
  return { answers, faults };
}

/** Carries out an operation at one node only. */
export async function callAt<Name extends OperationName>(
  node: string,
  name: Name,
  request: RequestOf<Name>,
  options: CallOptions = {},
): Promise<AnswerOf<Name>> {
  return (await read(await send(node, name, request, options))) as AnswerOf<Name>;
}

/**
 * Follows the events of a stream until `ending` is aborted; continues with another node if one fails. `tell` hears each
 * time that a connection begins or ends.
 */
export function followed(
  name: OperationName,
  request: LooseRequest,
  ending: AbortSignal,
  tell: (isLive: boolean) => void = () => undefined,
): AsyncGenerator<Readonly<Record<string, unknown>>> {
  const connect = async (headers: Readonly<Record<string, string>>) => {
    const answer = await askInTurn(true, (node) =>
      streamAt(addressOf(node, name, request), headers, ending),
    );
    if (!answer.ok || answer.body === null) await read(answer);
    tell(true);
    return chunksOf(answer.body as ReadableStream<Uint8Array>, () => tell(false));
  };
  return follow({ connect, signal: ending });
}

/** Asks for a stream: its answer must begin in time, and ends with `ending`. */
async function streamAt(
  address: URL,
  headers: Readonly<Record<string, string>>,
  ending: AbortSignal,
): Promise<Response> {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(new DOMException("", "TimeoutError")), readMs);
  try {
    return await fetch(address, {
      headers: { ...headers, ...consoleHeaders },
      credentials: "include",
      signal: AbortSignal.any([ending, late.signal]),
    });
  } finally {
    clearTimeout(timer);
  }
}

/** Signs in at every node with a token or the code of a one-time link; throws if the present node refuses. */
export async function signIn(secret: { readonly token: string } | { readonly code: string }) {
  await signOuts.peek();
  const body = JSON.stringify(secret);
  const at = (node: string) =>
    fetch(new URL("console/session", node), {
      method: "POST",
      headers: { ...consoleHeaders, "content-type": "application/json" },
      credentials: "include",
      body,
      signal: AbortSignal.timeout(readMs),
    });
  const answer = await askInTurn(true, at);
  if (!answer.ok) await read(answer);
  // A host name of its own needs a cookie of its own. A node that refuses asks for the token later.
  const others = "token" in secret ? nodes.value.filter((node) => node !== asked.value) : [];
  void Promise.allSettled(others.map(at));
  sessions.value += 1;
  await findWho();
  signInNotice.value = "";
  if (who.value === null || mustSignIn.value) {
    throw new Error("The browser did not keep the session: allow cookies.");
  }
}

/** What the development cluster says to a switch: what was done, and what its load has seen. */
export interface Switched {
  readonly lines: readonly string[];
  readonly fault?: string;
  readonly parts?: readonly string[];
  readonly load?: Readonly<Record<string, number | boolean>>;
}

/** Breaks or repairs a part of the development cluster, or asks what its load has seen. */
export async function turnSwitch(request: unknown): Promise<Switched> {
  const answer = await askInTurn(true, (node) =>
    fetch(new URL("console/switches", node), {
      method: "POST",
      headers: { ...consoleHeaders, "content-type": "application/json" },
      credentials: "include",
      signal: AbortSignal.timeout(readMs),
      body: JSON.stringify(request),
    }),
  );
  return (await read(answer)) as Switched;
}

/** An object of vCenter, with the keys that it uses, as far as the person may see them there. */
export interface VcenterObject {
  readonly name: string;
  /** What vCenter may have written to its keys as x-Identifier. */
  readonly identifiers: readonly string[];
  readonly keys: readonly {
    readonly key: string;
    /** The name of the key provider in vCenter. */
    readonly provider: string;
    readonly use: "home" | "disk" | "host" | "vsanKek" | "vsanHostKey" | "policy";
    /** The name of the disk or host that uses it. */
    readonly of: string;
  }[];
  /** What the person may not read at vCenter. */
  readonly unread: readonly string[];
}

/** Asks vCenter through the node for an object, by the name that the vSphere Client gives it. */
export async function readVcenterObject(id: string): Promise<VcenterObject> {
  const address = new URL(`console/plugin/object?${new URLSearchParams({ id })}`, own);
  const headers = { ...consoleHeaders, ...vcenterSession.peek() };
  // The node asks vCenter several times.
  const signal = AbortSignal.timeout(postMs);
  return (await read(await fetch(address, { headers, signal }))) as VcenterObject;
}

/** Ends the session at every node; says at which it may still count. */
export async function signOut(): Promise<void> {
  const all = nodes.value;
  const end = async (node: string) => {
    const answer = await fetch(new URL("console/session", node), {
      method: "DELETE",
      headers: consoleHeaders,
      credentials: "include",
      // The person may close the tab at once.
      keepalive: true,
      signal: AbortSignal.timeout(endMs),
    });
    if (!answer.ok) await read(answer);
  };
  // Nothing that is still asked in this session asks the person to sign in again.
  sessions.value += 1;
  who.value = null;
  mustSignIn.value = false;
  const ending = Promise.allSettled(all.map(end));
  signOuts.value = ending;
  const ends = await ending;
  const [silent, faults]: [string[], string[]] = [[], []];
  for (const [at, settled] of ends.entries()) {
    if (settled.status === "fulfilled") continue;
    const [host, reason] = [hostOf(all[at] ?? ""), settled.reason as unknown];
    // This refusal says until when it counts.
    const told = reason instanceof AdminProblem && reason.code === "storeUnavailable";
    if (told) faults.push(`${host}: ${(reason as AdminProblem).message}.`);
    else silent.push(host);
  }
  if (silent.length > 0) {
    const says = "did not end the session: it may still count there. Sign out again later.";
    faults.unshift(`${silent.join(" and ")} ${says}`);
  }
  if (faults.length > 0) signInNotice.value = faults.join(" ");
  else signInNotice.value = signInAt.value === undefined ? "" : signedOut;
}

/** The latest sign-out: its answers take away the cookie, so a sign-in waits for them. */
const signOuts = signal<Promise<unknown>>(Promise.resolve());

/** What a node says to a browser before anybody is signed in. */
interface Session {
  readonly nodes: readonly string[];
  readonly signedIn: boolean;
  readonly hasSwitches: boolean;
  readonly relyingParty?: string;
  readonly signInAt?: string;
  readonly signOutAt?: string;
}

async function sessionAt(node: string): Promise<Session> {
  const answer = await fetch(new URL("console/session", node), {
    credentials: "include",
    signal: AbortSignal.timeout(readMs),
  });
  return (await answer.json()) as Session;
}

/** Finds out which nodes there are, and who is signed in. */
export async function findSession(): Promise<void> {
  const session = await sessionAt(own);
  relyingParty.value = session.relyingParty;
  hasSwitches.value = session.hasSwitches;
  signInAt.value = session.signInAt;
  signOutAt.value = session.signOutAt;
  const all = session.nodes.map((node) => new URL(node).href);
  nodes.value = [own, ...all.filter((node) => node !== own)];
  if (session.signedIn) await findWho();
  else who.value = null;
}

/** Finds out where a person signs in at the identity provider of the present node: another one than before has its own. */
export async function findProvider(): Promise<void> {
  const node = asked.value;
  const session = await sessionAt(node).catch(() => undefined);
  if (node !== asked.value) return;
  providerOf.value = node;
  signInAt.value = session?.signInAt;
  signOutAt.value = session?.signOutAt;
}

/** Counts sign-ins and sign-outs: an answer about a session before the present one counts for nothing. */
const sessions = signal(0);

/** Finds out who is signed in. */
export async function findWho(): Promise<void> {
  const session = sessions.peek();
  try {
    const found = await call("whoAmI", {});
    if (session !== sessions.peek()) return;
    who.value = found;
    mustSignIn.value = false;
  } catch (error) {
    if (session === sessions.peek()) takeRefusal(error);
  }
}

/** Takes in why nobody can say who is signed in; throws if that leaves it open. */
function takeRefusal(error: unknown): void {
  if (!(error instanceof AdminProblem)) throw error;
  // A service that cannot answer now has not said that the session is over.
  if (error.code === "unauthenticated") {
    if (who.value && asked.value === own) signInNotice.value = sessionOver;
    // Only a person who signs out leaves what is open: a form, or a secret that is shown once.
    if (who.value) mustSignIn.value = true;
    else who.value = null;
  } else if (who.value === undefined) throw error;
}

const sessionOver = "The session is over: it has ended, or its token has. Sign in again.";
/** Said after a sign-out, where there is an identity provider. */
export const signedOut =
  "You are signed out of the console. Your session at the identity provider is not ended by that.";
const consoleHeaders = { "x-holdfast-console": "1" } as const;

function addressOf(node: string, name: OperationName, request: LooseRequest): URL {
  const path = pathOf(operations[name] as unknown as Parameters<typeof pathOf>[0], request);
  return new URL(path.slice(1), node);
}

/** Whether a call that got no answer may be sent to another node: a POST only if it cannot be done twice. */
function mayRepeat({ method, makes, repeatable }: Operation, { dryRun }: CallOptions): boolean {
  if (method === "GET") return true;
  return method === "POST" && (makes !== undefined || repeatable === true || dryRun === true);
}

function send(
  node: string,
  name: OperationName,
  request: LooseRequest,
  options: CallOptions,
): Promise<Response> {
  const { idempotencyKey, ifMatch, approval, dryRun, signal: given } = options;
  const { method, repeatable } = operations[name];
  const headers: Record<string, string> = {
    ...consoleHeaders,
    ...vcenterSession.peek(),
    accept: "application/json",
  };
  if (request.body !== undefined) headers["content-type"] = "application/json";
  if (method === "POST" && repeatable !== true && idempotencyKey !== undefined && !dryRun) {
    headers["idempotency-key"] = idempotencyKey;
  }
  if (ifMatch !== undefined) headers["if-match"] = `"${ifMatch}"`;
  if (approval !== undefined) headers["approval"] = approval;
  if (dryRun === true) headers["dry-run"] = "true";
  const ms = method === "GET" ? readMs : mayRepeat(operations[name], options) ? postMs : changeMs;
  const limit = AbortSignal.timeout(ms);
  return fetch(addressOf(node, name, request), {
    method,
    headers,
    credentials: "include",
    signal: given === undefined ? limit : AbortSignal.any([limit, given]),
    body: request.body === undefined ? null : JSON.stringify(request.body),
  });
}

/** Asks one node after another until one answers; never repeats what may have had an effect. */
async function askInTurn(
  repeats: boolean,
  ask: (node: string) => Promise<Response>,
): Promise<Response> {
  const before = asked.value;
  if (!repeats) return askOnce(before, ask);
  const first = Math.max(nodes.value.indexOf(before), 0);
  for (let turn = 0; turn < nodes.value.length; turn++) {
    const node = nodes.value[(first + turn) % nodes.value.length] ?? own;
    try {
      const answer = await ask(node);
      // Another call may have moved on meanwhile.
      if (turn > 0 && asked.value === before) {
        notice.value = `${hostOf(before)} does not answer: the console continues with ${hostOf(node)}.`;
        asked.value = node;
      }
      return answer;
    } catch (error) {
      if (!isSilence(error)) throw error;
    }
  }
  throw new AdminUnreachable("No node answers. The console tries again.");
}

/** Asks one node, once: without an answer nobody knows what was done. */
async function askOnce(node: string, ask: (node: string) => Promise<Response>): Promise<Response> {
  try {
    return await ask(node);
  } catch (error) {
    if (!isSilence(error)) throw error;
    throw new AdminUnreachable(
      `${hostOf(node)} gave no answer: the change may have been made or not. Look, and try again.`,
    );
  }
}

/** Whether a node gave no answer. */
function isSilence(error: unknown): boolean {
  return (
    error instanceof TypeError || (error instanceof DOMException && error.name === "TimeoutError")
  );
}

/** Host and port of a node. */
export function hostOf(node: string): string {
  return new URL(node).host;
}

/** How far the clocks of nodes are ahead of the browser's, by origin, in milliseconds. */
const aheadMs = new Map<string, number>();
/** The header of an answer has whole seconds: a smaller difference counts as none. */
const aheadLeastMs = 2000;

/** The time at a node by its last answer, in milliseconds since the epoch; the browser's if it has not said its own. */
export function timeAt(node: string): number {
  return Date.now() + (aheadMs.get(new URL(node).origin) ?? 0);
}

function noteTime({ headers, url }: Response): void {
  const ahead = Date.parse(headers.get("date") ?? "") - Date.now();
  if (Number.isNaN(ahead)) return;
  aheadMs.set(new URL(url).origin, Math.abs(ahead) < aheadLeastMs ? 0 : ahead);
}

async function read(answer: Response): Promise<unknown> {
  noteTime(answer);
  const value: unknown = await answer.json().catch(() => undefined);
  const isDocument = typeof value === "object" && value !== null;
  if (answer.ok && isDocument) return value;
  // A proxy may have answered, or the answer is broken: the service has refused nothing.
  if (!isDocument && (answer.ok || answer.status >= 500)) {
    throw new AdminUnreachable(
      `The answer ${answer.status} is not one of the service: a change may have been made or not. Look, and try again.`,
    );
  }
  const document = (value ?? {}) as Readonly<Record<string, unknown>>;
  const waitSeconds = Number(answer.headers.get("retry-after")) || undefined;
  throw new AdminProblem(answer.status, document, waitSeconds);
}
