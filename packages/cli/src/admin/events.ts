import { setTimeout as delay } from "node:timers/promises";
import { type AdminClient, AdminProblem, type Layout } from "@holdfast/admin";
import { Failure } from "../terminal/failure.ts";
import { complain, say } from "../terminal/lines.ts";
import type { Json } from "../terminal/output.ts";
import type { Operation } from "./build.ts";
import { fieldsOf, optionOf } from "./fields.ts";
import { patiently } from "./patience.ts";
import { type ShowOptions, showList, showNext } from "./show.ts";

/** An event of the API, in CADF format; only these fields are read here. */
type Event = Readonly<Record<string, unknown>> & {
  readonly id?: string;
  readonly action?: string;
  readonly outcome?: string;
  readonly instance?: string;
  readonly initiator?: { readonly name?: string };
  readonly target?: { readonly name?: string };
};

type Query = Readonly<Record<string, unknown>>;

const limitUsual = 100;
const pageMax = 1000;
/** How many earlier events set the column widths for a followed one. */
const recentMax = 20;
/** How long a pending entry is held back to wait for its outcome. */
const holdMs = 1000;

/**
 * Lists events for people, newest first. Each event is one line, although the service reports its
 * start and its outcome as two entries. `--limit` counts lines.
 */
export async function listEvents(
  client: AdminClient,
  { row }: Operation,
  query: Query,
  options: ShowOptions & { readonly all?: unknown },
): Promise<void> {
  const names = new Names(client);
  const layout = row.list as Layout;
  const endless = options.all === true;
  const most = endless ? Number.POSITIVE_INFINITY : Number(query["limit"] ?? limitUsual);
  const rows: Readonly<Record<string, unknown>>[] = [];
  let shown = 0;
  let cursor: Json | undefined;
  for await (const { events, next } of pages(client, query, most)) {
    rows.push(...(await names.rows(events)));
    cursor = next;
    // An audit trail is long: with `--all`, each page is shown as it arrives.
    if (!endless || rows.length === 0) continue;
    showList(rows, layout, options, shown > 0 ? [] : undefined);
    shown += rows.splice(0).length;
  }
  if (shown === 0) showList(rows, layout, options);
  if (!endless) showNext(cursor, options);
}

/** Yields pages of events, each event once, until there are `most` events. */
async function* pages(
  client: AdminClient,
  query: Query,
  most: number,
): AsyncGenerator<{ readonly events: readonly Event[]; readonly next: string | undefined }> {
  const known = new Set<string>();
  let cursor = query["cursor"];
  const reported = new Set<string>();
  for (let left = most; ; ) {
    const asked = { ...query, limit: Math.min(pageMax, left) };
    const next = cursor === undefined ? asked : { ...asked, cursor };
    const page = (await patiently(() => client.call("listEvents", { query: next }))) as EventPage;
    sayMissing(page, reported);
    const events = page.items.filter((event) => isFirstOf(event, known));
    yield { events, next: page.next };
    left -= events.length;
    cursor = page.next;
    if (cursor === undefined || left <= 0) return;
  }
}

interface EventPage {
  readonly items: readonly Event[];
  readonly next?: string;
  readonly missing?: readonly { readonly region: string; readonly reason: string }[] | undefined;
}

/** Says on standard error which regions' events are not in a list, each region once. */
export function sayMissing(
  { missing = [] }: Pick<EventPage, "missing">,
  reported = new Set(),
): void {
  for (const { region, reason } of missing) {
    if (reported.has(region)) continue;
    reported.add(region);
    complain(`the events of region ${region} are missing: ${reason}`);
  }
}

/** The stream delivers these events later, but does not report that they are missing. */
async function sayMissingNow(client: AdminClient, query: Query): Promise<void> {
  try {
    sayMissing(await client.call("listEvents", { query: { ...query, limit: 1 } }));
  } catch (error) {
    // The stream itself reports a refusal; a store that cannot be read may recover in a moment.
    if (!(error instanceof AdminProblem)) throw error;
  }
}

/** Follows events for people, or as JSON lines, until `signal` is aborted or `limit` lines were printed. */
export async function followEvents(
  client: AdminClient,
  operation: Operation,
  { limit, ...query }: Query,
  options: ShowOptions,
  signal: AbortSignal,
): Promise<void> {
  await sayMissingNow(client, query);
  const ending = new AbortController();
  const stop = AbortSignal.any([signal, ending.signal]);
  const stream = client.follow("followEvents", { query }, stop) as AsyncGenerator<Event>;
  const names = new Names(client);
  const layout = operation.row.list as Layout;
  let recent: readonly unknown[] | undefined;
  let left = limit === undefined ? Number.POSITIVE_INFINITY : Number(limit);
  for await (const event of options.json === true ? stream : merged(stream, holdMs)) {
    if (options.json === true) say(JSON.stringify(event));
    else {
      const rows = await names.rows([event]);
      showList(rows, layout, options, recent);
      recent = [...(recent ?? []), ...rows].slice(-recentMax);
    }
    left -= 1;
    if (left <= 0) break;
  }
  ending.abort();
}

/** Throws a `Failure` for options that `--follow` does not support, before any request. */
export function refuseWithFollow(
  given: Readonly<Record<string, unknown>>,
  { query }: Operation,
  follow: Operation["route"],
): void {
  const takes = new Set([...fieldsOf(follow.query).map(({ name }) => name), "limit"]);
  const names = [...query.map(({ name }) => name), "all"];
  const wrong = names.filter((name) => given[name] !== undefined && !takes.has(name));
  if (wrong.length === 0) return;
  throw new Failure(
    `${wrong.map(optionOf).join(", ")}: cannot be used with --follow, which begins now; leave one of them out`,
  );
}

/** Whether this is the first of an event's two entries in a list, which is the outcome. */
function isFirstOf({ id }: Event, known: Set<string>): boolean {
  const key = keyOf(id);
  if (known.has(key)) return false;
  known.add(key);
  return true;
}

/** The identifiers of the two entries of one event differ only in their suffix. */
function keyOf(id = ""): string {
  return id.replace(/-[po]$/, "");
}

/** The stream, without a pending event whose outcome follows within `waitMs`. */
export async function* merged(events: AsyncIterator<Event>, waitMs: number): AsyncGenerator<Event> {
  let held: Event | undefined;
  let next = events.next();
  for (;;) {
    const late = held && delay(waitMs, undefined, { ref: false });
    const got = await (late === undefined ? next : Promise.race([next, late]));
    const isOutcome = got !== undefined && !got.done && keyOf(got.value.id) === keyOf(held?.id);
    if (held !== undefined && !isOutcome) yield held;
    held = undefined;
    if (got === undefined) continue;
    if (got.done === true) return;
    if (got.value.outcome === "pending") held = got.value;
    else yield got.value;
    next = events.next();
  }
}

const certificatePrefix = "CertificateID-";
const instancesMax = 50;
const shortDigits = 12;

/** Names of instances and certificates; each is requested once. */
class Names {
  readonly #client: AdminClient;
  readonly #instances = new Map<string, string>();
  readonly #certificates = new Map<string, string>();
  readonly #asked = new Set<string>();

  constructor(client: AdminClient) {
    this.#client = client;
  }

  /** The events with names in place of identifiers and fingerprints, which get separate fields. */
  async rows(events: readonly Event[]): Promise<readonly Readonly<Record<string, unknown>>[]> {
    await this.#learn(events);
    return events.map((event) => {
      const { action = "", outcome, instance = "", initiator, target } = event;
      const who = initiator?.name ?? "";
      const on = target?.name ?? "";
      return {
        ...event,
        outcome,
        time: event["eventTime"],
        action: action.replace(/^vmware-solutions\./, ""),
        who: this.#certificates.get(who) ?? shortened(who),
        target: this.#instances.get(on) ?? on,
        instance: this.#instances.get(instance) ?? instance,
        whoId: who.replace(certificatePrefix, ""),
        instanceId: instance,
      };
    });
  }

  async #learn(events: readonly Event[]): Promise<void> {
    const news = [...new Set(events.map(({ instance = "" }) => instance))].filter(
      (id) => id !== "" && !this.#asked.has(id),
    );
    for (const id of news.slice(0, instancesMax)) {
      this.#asked.add(id);
      await this.#learnOne(id);
    }
  }

  async #learnOne(instance: string): Promise<void> {
    try {
      const { id, name } = await this.#client.call("readInstance", { params: { instance } });
      this.#instances.set(id, name);
      const certificates = this.#client.items("listCertificates", {
        params: { instance },
        query: {},
      });
      for await (const { fingerprint, name: given } of certificates) {
        this.#certificates.set(`${certificatePrefix}${fingerprint}`, given);
      }
    } catch (error) {
      // The instance may be deleted, or hidden from the token: its identifier is shown instead.
      if (!(error instanceof AdminProblem)) throw error;
    }
  }
}

function shortened(who: string): string {
  if (!who.startsWith(certificatePrefix)) return who;
  return `certificate ${who.slice(certificatePrefix.length).slice(0, shortDigits)}…`;
}
