import { z } from "zod";
import { askJson, type JsonAnswer } from "./https-json.ts";
import {
  hostsOf,
  objectOf,
  type Properties,
  type VcenterObject,
  type VcenterType,
  vcenterTypes,
} from "./vcenter-object.ts";
import { firstRelease, helloPath, sessionHeader, unboxed } from "./vi-json.ts";

/** Where a vCenter is, and how it proves itself. */
export interface VcenterAddress {
  /** Its identifier (`about.instanceUuid`), lower case. */
  readonly guid: string;
  /** `https://HOST`, with `:PORT` unless it is 443. */
  readonly address: string;
  /** PEM of the authorities that may issue its certificate; by default the system's. */
  readonly ca: string | undefined;
}

/** A user's session at a vCenter, cloned from the one of the user's browser: it has the same privileges. */
export interface ClonedSession {
  /** Such as `VSPHERE.LOCAL\alice`. */
  readonly userName: string;
  readonly token: string;
  /** The path of the VI JSON API, with its release. */
  readonly base: string;
  readonly content: z.infer<typeof contentForm>;
}

/** vCenter does not know the session: it has ended, or never was. */
export class SessionRefused extends Error {
  override readonly name = "SessionRefused";
}

/** vCenter has no such object, or the user may not see it. */
export class ObjectMissing extends Error {
  override readonly name = "ObjectMissing";
}

/** Releases of the VI JSON API that have what is used here, the best first. */
const releases = ["9.0.0.0", "8.0.3.0", "8.0.2.0", firstRelease];
const askMs = 4000;
/** A machine may have hundreds of devices, and a cluster's configuration names all of its machines. */
const bytesMax = 8 << 20;

const reference = z.object({ value: z.string().min(1) });
const contentForm = z.object({
  about: z.object({ instanceUuid: z.string() }),
  sessionManager: reference,
  propertyCollector: reference,
});
const faultForm = z.object({ _typeName: z.string() });
const property = z.object({ name: z.string(), val: z.unknown() });
const retrieved = z.object({
  token: z.string().nullish(),
  objects: z.array(
    z.object({
      propSet: z.array(property).nullish(),
      missingSet: z.array(z.object({ path: z.string() })).nullish(),
    }),
  ),
});

/** One vCenter: what Holdfast asks of it, in the name of a user. */
export class VcenterApi {
  readonly #at: VcenterAddress;

  constructor(at: VcenterAddress) {
    this.#at = at;
  }

  /** Clones the session of this token. Throws a `SessionRefused` if vCenter does not know it. */
  async clone(token: string): Promise<ClonedSession> {
    const { guid, address } = this.#at;
    const base = `/sdk/vim25/${await this.#release()}`;
    const content = contentForm.parse(
      await this.#value(`${base}/ServiceInstance/ServiceInstance/content`, { method: "GET" }),
    );
    const found = content.about.instanceUuid.toLowerCase();
    // Before it gets the user's token.
    if (found !== guid) throw new Error(`${address}: is another vCenter, ${found}`);
    const asked = { token, body: { vc_guid: guid } };
    const ticket = z
      .object({ session_clone_ticket: z.string() })
      .parse(await this.#value("/api/ui/vcenter/session/clone-ticket", asked));
    const path = `${base}/SessionManager/${encodeURIComponent(content.sessionManager.value)}`;
    const cloneTicket = ticket.session_clone_ticket;
    const answer = await this.#ask(`${path}/CloneSession`, { body: { cloneTicket } });
    const { userName } = z.object({ userName: z.string().min(1) }).parse(answer.value);
    const own = answer.headers[sessionHeader];
    if (typeof own !== "string") throw new Error(`${address}: gave no token with the session`);
    return { userName, token: own, base, content };
  }

  /** Ends a cloned session. */
  async logout({ token, base, content }: ClonedSession): Promise<void> {
    const manager = encodeURIComponent(content.sessionManager.value);
    await this.#ask(`${base}/SessionManager/${manager}/Logout`, { token });
  }

  /** The keys of an object, with those of its hosts if it is a cluster. Throws an `ObjectMissing`. */
  async object(session: ClonedSession, type: VcenterType, id: string): Promise<VcenterObject> {
    const [own] = (await this.#properties(session, type, [id])).found;
    if (own === undefined) throw new ObjectMissing(`vCenter shows no ${type} ${id}`);
    const object = objectOf(type, own);
    const hosts = type === "ClusterComputeResource" ? hostsOf(own) : [];
    if (hosts.length === 0) return object;
    const { found, isAll } = await this.#properties(session, "HostSystem", hosts);
    const each = found.map((host) => objectOf("HostSystem", host));
    const more = isAll && found.length === hosts.length ? [] : ["host"];
    return {
      ...object,
      keys: [...object.keys, ...each.flatMap(({ keys }) => keys)],
      unread: [...new Set([...object.unread, ...each.flatMap(({ unread }) => unread), ...more])],
    };
  }

  async #properties(
    { token, base, content }: ClonedSession,
    type: VcenterType,
    ids: readonly string[],
  ): Promise<{ readonly found: readonly Properties[]; readonly isAll: boolean }> {
    const objectSet = ids.map((value) => ({
      _typeName: "ObjectSpec",
      obj: { _typeName: "ManagedObjectReference", type, value },
    }));
    const propSet = [{ _typeName: "PropertySpec", type, pathSet: vcenterTypes[type] }];
    const body = {
      specSet: [{ _typeName: "PropertyFilterSpec", objectSet, propSet }],
      options: { _typeName: "RetrieveOptions" },
    };
    const collector = encodeURIComponent(content.propertyCollector.value);
    const path = `${base}/PropertyCollector/${collector}/RetrievePropertiesEx`;
    const value = await this.#value(path, { token, body });
    // Nothing fits: vCenter answers null.
    const { objects, token: next } = retrieved.parse(value ?? { objects: [] });
    const found = objects.map(({ propSet: given, missingSet }) => ({
      values: Object.fromEntries((given ?? []).map(({ name, val }) => [name, unboxed(val)])),
      missing: (missingSet ?? []).map(({ path: missed }) => missed),
    }));
    return { found, isAll: next === undefined || next === null };
  }

  async #release(): Promise<string> {
    const { status, value } = await this.#ask(
      helloPath,
      { body: { api_releases: releases } },
      [404],
    );
    const release = z.object({ api_release: z.string() }).safeParse(value).data?.api_release;
    return status === 404 || release === undefined || release === "" ? firstRelease : release;
  }

  async #value(path: string, asking: Asking): Promise<unknown> {
    return (await this.#ask(path, asking)).value;
  }

  /** Throws unless the answer is a success, or its status is `expected`. No message has a token. */
  async #ask(
    path: string,
    { method = "POST", token, body }: Asking,
    expected: readonly number[] = [],
  ): Promise<JsonAnswer> {
    const { address, ca } = this.#at;
    const answer = await askJson(`${address}${path}`, {
      method,
      timeoutMs: askMs,
      bytesMax,
      ...(ca !== undefined && { ca }),
      ...(token !== undefined && { headers: { [sessionHeader]: token } }),
      ...(body !== undefined && { body }),
    });
    const { status, value } = answer;
    if ((status >= 200 && status < 300) || expected.includes(status)) return answer;
    const fault = faultForm.safeParse(value).data?._typeName ?? "";
    // A session that has ended is a fault with the status 500.
    if (status === 401 || status === 403 || sessionFaults.has(fault))
      throw new SessionRefused(fault);
    if (fault === "ManagedObjectNotFound") throw new ObjectMissing(fault);
    throw new Error(`${address}${path}: answered ${status} ${fault}`.trimEnd());
  }
}

const sessionFaults = new Set(["NotAuthenticated", "InvalidLogin"]);

interface Asking {
  readonly method?: "GET" | "POST";
  readonly token?: string;
  readonly body?: unknown;
}
