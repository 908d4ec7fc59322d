import { hash } from "node:crypto";
import type { Contract, Reply } from "@holdfast/admin";
import type { Shares } from "../http/shares.ts";
import { problemOf } from "../problem.ts";
import type { Calls } from "./calls.ts";
import { Refusal } from "./refusals.ts";

/** A root key of Key Protect, and what stands for it here. */
interface RootKey {
  /** The identifier that callers send and get as `crk_id`: a UUID. */
  readonly id: string;
  readonly aliases: readonly string[];
  /** By region: a root of trust, as an order of an instance names it. */
  readonly regions: Readonly<Record<string, object>>;
}

/** Who made an object: the entry of its client's certificate, also a deleted one. */
interface Creator {
  readonly id: string;
  /** Who added the certificate. */
  readonly addedBy: string;
}

/** What the routes are served with. */
export interface ApiSettings {
  /** The identifier of the Key Protect instance: `Bluemix-Instance`. */
  readonly instanceId: string;
  readonly rootKeys: readonly RootKey[];
  /** For how many seconds destroyed objects of new adapters can be restored. */
  readonly destroyDelay: number;
  /** Where clients reach these routes: `https://HOST:PORT`. */
  readonly url: string;
  /** Finds the client's certificate of an instance by its fingerprint. */
  readonly creatorOf: (instance: string, fingerprint: string) => Creator | undefined;
  /** Sees what other nodes wrote a moment ago; never rejects. */
  readonly refresh: () => Promise<void>;
  readonly wallMs: () => number;
}

/** One request, read. */
export interface Context {
  readonly api: ApiSettings;
  readonly calls: Calls;
  /** Places for long lists. */
  readonly walks: Shares;
  /** Parts of the path. */
  readonly params: Readonly<Record<string, string>>;
  readonly query: unknown;
  readonly body: unknown;
  /** The same for each repetition of a POST; undefined where the caller marks none. */
  readonly repeated: string | undefined;
  /** A random UUID. */
  readonly newId: string;
}

/** An instance as the management API shows it. */
export type Instance = Reply<Contract["readInstance"]>;

/** The labels of an instance that is an adapter: of which Key Protect instance, and under which root key. */
export const adapterLabels = {
  instance: "key-protect.instance",
  rootKey: "key-protect.root-key",
} as const;

/** The most adapters of a Key Protect instance, and the most certificates of an adapter. */
export const quota = 200;

const uuidForm = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * The adapter that the path names; throws a 404 for any other instance. What another node has made is seen from here on: a
 * client asks for it at once, and Terraform forgets what it does not get.
 */
export async function adapterOf({ api, calls }: Context): Promise<Instance> {
  await api.refresh();
  const found = await aboutAdapter(calls.call("readInstance"));
  if (found.labels[adapterLabels.instance] === api.instanceId && found.status !== "Deleted") {
    return found;
  }
  throw noAdapter();
}

/** Runs work in which "not found" means the adapter. The route may be about another thing. */
export async function aboutAdapter<Answer>(work: Promise<Answer>): Promise<Answer> {
  try {
    return await work;
  } catch (error) {
    throw problemOf(error, "").code === "notFound" ? noAdapter() : error;
  }
}

function noAdapter(): Refusal {
  return missing("adapter", "KMIP_ADAPTER_NOT_FOUND_ERR");
}

/** Everything in a list of the management API, page by page. */
export async function allPages<Thing>(
  read: (page: Readonly<Record<string, string>>) => Promise<{
    readonly items: readonly Thing[];
    readonly next?: string | undefined;
  }>,
): Promise<readonly Thing[]> {
  const found: Thing[] = [];
  let cursor: string | undefined;
  do {
    const { items, next } = await read({ limit: "1000", ...(cursor !== undefined && { cursor }) });
    found.push(...items);
    cursor = next;
  } while (cursor !== undefined);
  return found;
}

/** A 404. */
export function missing(what: string, code: string): Refusal {
  const message = `no KMIP ${what} has this identifier or name`;
  return new Refusal(404, `KMIP ${what} could not be found`, { code, message });
}

/** A 409: one more would be too many. */
export function tooManyOf(what: string, code: string): Refusal {
  const message = `at most ${quota} are possible: delete one first`;
  return new Refusal(409, `KMIP ${what} could not be created`, { code, message });
}

/** A name as IBM makes it where none is given; a repetition gets the same one. */
export function nameFor(prefix: string, { repeated, newId }: Context): string {
  return `${prefix}_${hash("sha256", repeated ?? newId).slice(0, 16)}`;
}

/** The root key of this identifier or alias. */
export function rootKeyOf({ rootKeys }: ApiSettings, text: string): RootKey | undefined {
  const wanted = text.toLowerCase();
  return (
    rootKeys.find(({ id }) => id === wanted) ??
    rootKeys.find(({ aliases }) => aliases.includes(text))
  );
}

/** Whether a text is a UUID in lower case. */
export function isUuid(text: string): boolean {
  return uuidForm.test(text);
}
