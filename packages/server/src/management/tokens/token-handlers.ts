import { setTimeout as delay } from "node:timers/promises";
import {
  type Call,
  type Contract,
  type Handlers,
  ManagementError,
  type Role,
  roles,
} from "@holdfast/admin";
import type { Clock, Ids, SystemRecord } from "@holdfast/engine";
import { managementEvents } from "../../audit/management-event.ts";
import type { Presence } from "../../records/presence.ts";
import type { Applied, Records, WrittenRecord } from "../../records/records.ts";
import type { InstanceLookup } from "../instance-lookup.ts";
import { pageBy } from "../paging.ts";
import { type Bootstrap, bootstrapId } from "./bootstrap.ts";
import type { TokenBook } from "./token-book.ts";
import { hashOf, newToken } from "./token-text.ts";

export interface TokenDeps {
  readonly book: Pick<TokenBook, "list">;
  readonly bootstrap: Pick<Bootstrap, "used" | "missing">;
  readonly instances: Pick<InstanceLookup, "find" | "refresh">;
  readonly records: Pick<Records, "create" | "destroy">;
  readonly presence: Pick<Presence, "of">;
  readonly clock: Pick<Clock, "wallMs">;
  readonly ids: Pick<Ids, "randomBytes">;
  /** The pause between two tries to have the other region agree to the first token; 1,000 unless given. */
  readonly pauseMs?: number;
  /** The node that answers. */
  readonly about: { readonly region: string; readonly node: string; readonly version: string };
}

type Names = "whoAmI" | "listTokens" | "createToken" | "revokeToken";
type CallOf<Name extends Names> = Call<Contract[Name]>;

type Write = (
  claims: readonly (readonly ["first", string])[],
  agreed: boolean,
) => Promise<WrittenRecord<"Token">>;

const dayMs = 86_400_000;
const agreedTries = 10;
const agreedPauseMs = 1000;

/** Tokens of the management API. */
export function tokenHandlers(deps: TokenDeps): Pick<Handlers, Names> {
  return {
    whoAmI: async ({ principal }) => {
      const { id, name, instances } = principal;
      const own = deps.book.list().find((entry) => entry.id === id);
      const { labels, expiresMs } = own ?? {};
      return {
        name,
        roles: [...principal.roles],
        ...deps.about,
        ...(instances === undefined ? {} : { instances: [...instances] }),
        ...(labels === undefined ? {} : { labels }),
        ...(expiresMs === undefined ? {} : { expiresAt: new Date(expiresMs).toISOString() }),
      };
    },
    listTokens: (call) => list(deps, call),
    createToken: (call) => create(deps, call),
    revokeToken: (call) => revoke(deps, call),
  };
}

async function list({ book, presence, clock }: TokenDeps, { query }: CallOf<"listTokens">) {
  const { items, next } = pageBy(book.list(), placeOf, query);
  const regions = await presence.of(items.map(({ id }) => id));
  const nowMs = clock.wallMs();
  return {
    items: items.map((entry) => answer(entry, nowMs, regions.get(entry.id) ?? {})),
    ...next,
  };
}

async function create(deps: TokenDeps, call: CallOf<"createToken">) {
  const { clock, ids, bootstrap } = deps;
  const { name, days, labels } = call.body;
  const given = roles.filter((role) => call.body.roles.includes(role));
  const first = call.principal.id === bootstrapId;
  await deps.instances.refresh();
  if (first) refuseLate(deps, call);
  else refuseForeign(call.principal.roles, given);
  const instances = await identifiers(deps, call);
  const secret = newToken(ids.randomBytes);
  const nowMs = clock.wallMs();
  const values = {
    hash: hashOf(secret),
    name,
    role: given,
    instances,
    labels,
    createdMs: nowMs,
    createdBy: call.principal.name,
    expiresMs: nowMs + days * dayMs,
    origin: first ? "bootstrap" : "api",
  } as const;
  const target = { id: call.newId, name };
  const events = managementEvents(call, call.audit, target, {
    timeMs: nowMs,
    detail: {
      roles: given.join(" "),
      days,
      ...(instances === undefined ? {} : { instances: instances.join(" ") }),
      ...(labels === undefined ? {} : { labels: labelText(labels) }),
    },
  });
  const write: Write = (claims, agreed) => {
    const all = [["name", name], ...claims] as const;
    const options = { id: call.newId, agreed, taken };
    return deps.records.create("Token", { ...values, claims: all }, events, options);
  };
  const { record, regions } = first ? await writeFirst(deps, call, write) : await write([], false);
  if (first) bootstrap.used();
  return { token: answer(record, nowMs, regions), secret };
}

/** The one-time token gives only roles that no valid token has, and these for the whole system. */
function refuseLate({ bootstrap }: TokenDeps, { body }: CallOf<"createToken">): void {
  const { missing } = bootstrap;
  if (missing.length === 0) {
    const says = "a manager and a security officer have tokens already: use those";
    throw new ManagementError("forbidden", says);
  }
  const isBound = body.instances !== undefined || body.labels !== undefined;
  if (isBound || body.roles.some((role) => !missing.includes(role))) {
    throw new ManagementError(
      "forbidden",
      `the one-time token only makes a token with the role ${missing.join(" or ")}, bound to nothing`,
    );
  }
}

/** The role that gives a role. A manager does not decide who is a client, and so does not give the role that does. */
const giverOf = (role: Role): Role => (role === "security-officer" ? role : "manager");

function refuseForeign(own: readonly Role[], given: readonly Role[]): void {
  const wrong = given.find((role) => !own.includes(giverOf(role)));
  if (wrong === undefined) return;
  const says = `only a token with the role ${giverOf(wrong)} gives the role ${wrong}`;
  throw new ManagementError("forbidden", says);
}

/** Who may give one of a token's roles may revoke it: a stolen token with both must not wait for somebody with both. */
function refuseForeignRevocation(own: readonly Role[], of: readonly Role[]): void {
  if (of.some((role) => own.includes(giverOf(role)))) return;
  const [role = "viewer"] = of;
  const says = `only a token with the role ${giverOf(role)} revokes a token with the role ${role}`;
  throw new ManagementError("forbidden", says);
}

/** `group=finance site=a`. */
function labelText(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(" ");
}

/**
 * If one-time tokens are used at several nodes at once, only one of them makes a token. Where the other region cannot
 * be reached for a while, this region decides alone, so that the holder of the one-time token is not locked out.
 */
async function writeFirst(
  deps: TokenDeps,
  call: CallOf<"createToken">,
  write: Write,
): ReturnType<Write> {
  const { book, instances } = deps;
  const before = book.list().filter(({ origin }) => origin === "bootstrap").length;
  const claims = [["first", String(before)]] as const;
  for (let tries = 1; tries <= agreedTries; tries += 1) {
    try {
      return await write(claims, true);
    } catch (error) {
      if (!(error instanceof ManagementError) || error.code !== "peerUnreachable") throw error;
    }
    await delay(deps.pauseMs ?? agreedPauseMs);
    await instances.refresh();
    refuseLate(deps, call);
  }
  return await write(claims, false);
}

async function identifiers(
  { instances }: TokenDeps,
  { body }: CallOf<"createToken">,
): Promise<readonly string[] | undefined> {
  if (body.instances === undefined) return undefined;
  const found = await Promise.all(
    body.instances.map(async (text) => {
      try {
        return (await instances.find(text)).id;
      } catch {
        throw new ManagementError("notFound", "a token cannot be bound to an unknown instance");
      }
    }),
  );
  return [...new Set(found)].toSorted();
}

async function revoke(deps: TokenDeps, call: CallOf<"revokeToken">) {
  const { book, records, clock, instances } = deps;
  const live = (): readonly SystemRecord<"Token">[] => {
    const named = book.list().filter(({ destroyed }) => destroyed === undefined);
    const exact = named.filter(({ id }) => id === call.params.token);
    return exact.length > 0 ? exact : named.filter(({ name }) => name === call.params.token);
  };
  if (live().length === 0) await instances.refresh();
  // Before the first is revoked: all of them, or none.
  for (const { role } of live()) refuseForeignRevocation(call.principal.roles, role);
  const revoked: { readonly id: string; readonly regions: Applied }[] = [];
  // Regions that were cut off from each other may have made two tokens with one name: both are revoked.
  for (const { id, name } of live()) {
    const events = managementEvents(call, call.audit, { id, name }, { timeMs: clock.wallMs() });
    const { regions } = await records.destroy("Token", id, events);
    revoked.push({ id, regions });
  }
  const [answered] = revoked;
  if (answered !== undefined) return answered;
  throw new ManagementError("notFound", "token not found, or revoked already");
}

function answer(record: SystemRecord<"Token">, nowMs: number, regions: Applied) {
  const { id, name, role, instances, labels, createdMs, createdBy, expiresMs, destroyed } = record;
  const expired = expiresMs <= nowMs;
  return {
    id,
    name,
    roles: [...role],
    createdBy,
    regions,
    ...(instances === undefined ? {} : { instances: [...instances] }),
    ...(labels === undefined ? {} : { labels }),
    createdAt: new Date(createdMs).toISOString(),
    expiresAt: new Date(expiresMs).toISOString(),
    state:
      destroyed !== undefined
        ? ("revoked" as const)
        : expired
          ? ("expired" as const)
          : ("valid" as const),
  };
}

/** Newest first. */
function placeOf({ createdMs, id }: SystemRecord<"Token">): string {
  return `${String(8.64e15 - createdMs).padStart(17, "0")} ${id}`;
}

function taken(claim: string): ManagementError {
  return claim.startsWith("first ")
    ? new ManagementError("forbidden", "a first token was made elsewhere just now")
    : new ManagementError(
        "nameTaken",
        "a valid or expired token has that name: choose another, or revoke that one",
      );
}
