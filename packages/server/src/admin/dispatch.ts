import { setImmediate } from "node:timers/promises";
import type { Call, Handlers, Route } from "@holdfast/admin";
import { writeUuid } from "@holdfast/engine";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { z } from "zod";
import { madeId } from "../approvals/made-id.ts";
import type { NodeObserver } from "../observe/events.ts";
import { dryRun } from "../records/dry-run.ts";
import type { Admitted } from "./access/authorizer.ts";
import { listName, openCursor, sealCursor } from "./cursor.ts";
import { type Idempotency, idempotencyKey, repeatedId, type Sent } from "./idempotency.ts";
import type { MadeBefore } from "./made-before.ts";
import { Refused } from "./problem.ts";
import { placeOf, type Schemas, validated } from "./validate.ts";

/** What is needed to carry out requests. */
export interface DispatchParts {
  readonly handlers: Handlers;
  readonly idempotency: Idempotency;
  readonly madeBefore: MadeBefore;
  readonly newId: () => string;
  readonly observe: NodeObserver;
}

/** One operation, as it is served. */
export interface Served {
  readonly operation: keyof Handlers;
  readonly route: Route;
  readonly schemas: Schemas;
}

/** A validated call, and the list that it is about. */
export interface Prepared {
  readonly call: Call;
  readonly list: string;
  readonly key: string | undefined;
  /** The call changes nothing: it only finds out whether it would be refused. */
  readonly dry: boolean;
}

/** What a call is made from. */
type Asked = Pick<FastifyRequest, "id" | "headers" | "params" | "query" | "body">;

/** Validates a request whose caller was admitted. */
export function prepare(
  parts: DispatchParts,
  { operation, route, schemas }: Served,
  request: Asked,
  admitted: Admitted,
  signal: AbortSignal,
): Prepared {
  const given = validated(schemas, request);
  const params = { ...(given.params as object), ...named("instance", admitted.instance) };
  const filters = { ...(given.query as object), ...named("instance", admitted.queried) };
  const list = listName(operation, params, filters);
  const query = openedCursor(filters, list);
  const { principal } = admitted;
  const dry = isDry(route, request.headers["dry-run"]);
  const key =
    route.method === "POST" && route.repeatable !== true && !dry
      ? idempotencyKey(request.headers["idempotency-key"])
      : undefined;
  const approval = approvalOf(route, request.headers["approval"]);
  const call = {
    principal,
    params,
    query,
    body: given.body,
    ifMatch: ifMatch(route, request.headers["if-match"]),
    newId: newIdOf(parts, operation, approval, key && { key, operation, principal, params }),
    approval,
    audit: route.audit,
    lastEventId: lastEvent(request.headers["last-event-id"]),
    requestId: request.id,
    signal,
  };
  return { call: call as unknown as Call, list, key, dry };
}

/** Carries out a call; sends its answer, or that of an earlier one with this idempotency key. */
export async function dispatch(
  parts: DispatchParts,
  served: Served,
  prepared: Prepared,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<unknown> {
  const { operation, route } = served;
  const { call, key, dry } = prepared;
  if (dry) {
    return reply
      .code(200)
      .header("content-type", "application/json; charset=utf-8")
      .send(JSON.stringify(await dryRun(() => handled(parts, operation, call))));
  }
  const first = () => carryOut(parts, served, prepared);
  const shownOnce = route.shownOnce === true;
  const { params, body, principal } = call;
  const { sent, repeated } =
    key === undefined
      ? { sent: await first(), repeated: false }
      : await parts.idempotency.run({ key, operation, principal, params, body, shownOnce }, first);
  if (repeated) reply.header("idempotent-replayed", "true");
  const etag = etagOf(route, sent.body);
  if (etag !== undefined) reply.header("etag", etag);
  if (etag !== undefined && route.method === "GET" && request.headers["if-none-match"] === etag) {
    return reply.code(304).send();
  }
  return reply
    .code(sent.status)
    .header("content-type", "application/json; charset=utf-8")
    .send(await printed(sent.body));
}

/** Carries out a call, unless an earlier one with this idempotency key has made its record: then answers that. */
export async function carryOut(
  parts: DispatchParts,
  served: Served,
  { call, list, key }: Prepared,
): Promise<Sent> {
  const { operation, route } = served;
  const work = () => handled(parts, operation, call);
  // What an approved request makes, its use finds: the request works once.
  const isOnce = key === undefined || call.approval !== undefined;
  const answer = isOnce ? await work() : await parts.madeBefore.once(route, call, work);
  const body = await checked(parts, served, answer, list, call);
  return { status: route.status ?? 200, body };
}

function handled({ handlers }: DispatchParts, operation: keyof Handlers, call: Call) {
  const handler = handlers[operation] as unknown as (call: Call) => Promise<unknown>;
  return handler(call);
}

/** The JSON of an answer; a long list is printed in parts, so that other work gets a turn. */
async function printed(body: unknown): Promise<string> {
  const { items, ...rest } = body as { readonly items?: readonly unknown[] };
  if (items === undefined || items.length <= itemsPerTurn) return JSON.stringify(body);
  const parts: string[] = [];
  for (let at = 0; at < items.length; at += itemsPerTurn) {
    parts.push(JSON.stringify(items.slice(at, at + itemsPerTurn)).slice(1, -1));
    await setImmediate();
  }
  const others = JSON.stringify(rest).slice(1, -1);
  return `{"items":[${parts.join(",")}]${others && `,${others}`}}`;
}

/** How many items of a list are handled in one turn of the event loop; a page has up to 1000. */
const itemsPerTurn = 50;

/** The answer as the contract defines it: what the contract does not name is never sent. */
async function checked(
  { observe }: DispatchParts,
  { operation, schemas }: Served,
  answer: unknown,
  list: string,
  { requestId }: Call,
): Promise<unknown> {
  const { items } = answer as { readonly items?: readonly unknown[] };
  const parse = <Value>(schema: z.ZodType<Value>, value: unknown, at: PropertyKey[]): Value => {
    const parsed = schema.safeParse(value);
    if (parsed.success) return parsed.data;
    const places = parsed.error.issues.slice(0, 5).map(({ path }) => placeOf([...at, ...path]));
    const message = `the answer of ${operation} violates its contract: ${places.join(", ")}`;
    observe({ type: "warning", message, cause: `request ${requestId}` });
    throw new TypeError(message);
  };
  let body: { readonly next?: unknown; readonly items?: unknown };
  if (schemas.item === undefined || items === undefined || items.length <= itemsPerTurn) {
    body = parse(schemas.answer, answer, ["answer"]) as typeof body;
  } else {
    const rest = parse(schemas.answer, { ...(answer as object), items: [] }, ["answer"]) as object;
    const found: unknown[] = [];
    for (const [at, item] of items.entries()) {
      found.push(parse(schemas.item, item, ["answer", "items", at]));
      if (at % itemsPerTurn === 0) await setImmediate();
    }
    body = Object.assign(rest, { items: found });
  }
  if (typeof body.next !== "string") return body;
  return { ...body, next: sealCursor(body.next, list) };
}

function openedCursor(query: object, list: string): object {
  const { cursor } = query as { readonly cursor?: unknown };
  return typeof cursor === "string" ? { ...query, cursor: openCursor(cursor, list) } : query;
}

function named(name: string, value: string | undefined): object {
  return value === undefined ? {} : { [name]: value };
}

function ifMatch(route: Route, header: string | undefined): string | undefined {
  const changes = route.method !== "GET" && route.method !== "POST";
  if (route.etag === undefined || !changes) return undefined;
  if (header === undefined) {
    if (route.etag !== "required") return undefined;
    throw new Refused({
      code: "preconditionRequired",
      detail: "send the ETag of what you change as If-Match",
    });
  }
  if (header === "*") return undefined;
  const tag = /^"([^"\s]{1,64})"$/.exec(header)?.[1];
  if (tag !== undefined) return tag;
  throw new Refused({
    code: "preconditionFailed",
    detail: "If-Match: must be one ETag in quotes, as it was given",
  });
}

/** An approved request makes one thing: a repetition of its use finds it, or is refused. */
function newIdOf(
  { newId }: DispatchParts,
  operation: string,
  approval: string | undefined,
  repeated: Parameters<typeof repeatedId>[0] | "" | undefined,
): string {
  if (approval !== undefined) return madeId(operation, approval);
  return repeated ? repeatedId(repeated) : newId();
}

function approvalOf(
  { guarded }: Route,
  header: string | readonly string[] | undefined,
): string | undefined {
  if (header === undefined) return undefined;
  const isUuid = typeof header === "string" && writeUuid(header, new Uint8Array(16), 0);
  if (guarded !== undefined && isUuid) return header;
  const detail =
    guarded === undefined
      ? "Approval: this operation needs no approvals"
      : "Approval: must be the identifier of a request, a lower-case UUID";
  throw new Refused({ code: "invalid", detail });
}

function isDry(route: Route, header: string | readonly string[] | undefined): boolean {
  if (header === undefined) return false;
  if (route.dryRun === true && header === "true") return true;
  const detail =
    route.dryRun === true ? "Dry-Run: must be true" : "Dry-Run: this operation has no dry run";
  throw new Refused({ code: "invalid", detail });
}

function lastEvent(header: string | readonly string[] | undefined): string | undefined {
  return typeof header === "string" && /^[\x21-\x7e]{1,256}$/.test(header) ? header : undefined;
}

function etagOf(route: Route, body: unknown): string | undefined {
  if (route.etag === undefined) return undefined;
  const { version } = body as { readonly version?: unknown };
  return typeof version === "string" ? `"${version}"` : undefined;
}
