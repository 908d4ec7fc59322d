import { createHash } from "node:crypto";
import { originOf } from "@holdfast/regions";
import { reasonOf } from "../../base/operator-error.ts";
import {
  type Bearer,
  type ForeignTokens,
  type TokenRefusal,
  vcenterPrefix,
  vcenterToken,
} from "../../management/tokens/bearer.ts";
import type { NodeObserver } from "../../observe/events.ts";
import { Refused } from "../problem.ts";
import { tooMany } from "./authorizer.ts";
import { Buckets } from "./buckets.ts";
import type { InstanceNames } from "./instance-names.ts";
import {
  type ClonedSession,
  ObjectMissing,
  SessionRefused,
  type VcenterAddress,
  VcenterApi,
} from "./vcenter-api.ts";
import type { VcenterObject, VcenterType } from "./vcenter-object.ts";

/** A vCenter, and which of its users may read here: a row of `admin.console.vcenters`. */
export interface Vcenter extends VcenterAddress {
  /** Names of users, as vCenter writes them. Upper and lower case are the same. */
  readonly viewers: readonly string[];
  /** Identifiers or names of the instances that they reach; empty = all. */
  readonly instances: readonly string[];
}

/** What is needed to check sessions of vCenters. */
export interface VcenterSessionsOptions {
  readonly vcenters: readonly Vcenter[];
  readonly instances: InstanceNames;
  readonly monotonicMs: () => number;
  readonly observe: NodeObserver;
}

interface Held {
  readonly session: Promise<ClonedSession>;
  readonly api: VcenterApi;
  readonly untilMs: number;
}

interface Known {
  readonly vcenter: Vcenter;
  readonly api: VcenterApi;
  /** The token of the user's own session. */
  readonly secret: string;
  readonly key: string;
}

const heldMax = 100;
/** Then vCenter is asked again: a user who has signed out there, or lost the right to, is refused. */
const heldMs = 600_000;
/** New sessions that one address asks of a vCenter: one that guesses tokens must leave the others their sessions. */
const clonesOfAddress = { perSecond: 2, burst: 20 };
/** Those of all addresses together: they must not keep the vCenter busy. */
const clones = { perSecond: 20, burst: 200 };
const warnings = { perSecond: 0.1, burst: 1 };

/**
 * Sessions of the vSphere Client as tokens. Which vCenter is asked comes from the configuration, never from the request:
 * otherwise the caller would choose who gets the token.
 */
export class VcenterSessions implements ForeignTokens {
  readonly #options: VcenterSessionsOptions;
  readonly #apis: ReadonlyMap<string, { readonly vcenter: Vcenter; readonly api: VcenterApi }>;
  readonly #held = new Map<string, Held>();
  readonly #clonesOfAddress: Buckets;
  readonly #clones: Buckets;
  readonly #warnings: Buckets;

  constructor(options: VcenterSessionsOptions) {
    this.#options = options;
    this.#apis = new Map(
      options.vcenters.map((vcenter) => [vcenter.guid, { vcenter, api: new VcenterApi(vcenter) }]),
    );
    this.#clonesOfAddress = new Buckets(clonesOfAddress, options.monotonicMs);
    this.#clones = new Buckets(clones, options.monotonicMs);
    this.#warnings = new Buckets(warnings, options.monotonicMs);
  }

  /** The addresses whose pages may frame the console. */
  get origins(): readonly string[] {
    return this.#options.vcenters.map(({ address }) => address);
  }

  /** The identifier of the vCenter that a page names by its identifier or its address; empty if none fits. */
  guidOf(named: string): string {
    const name = named.toLowerCase();
    const found = this.#options.vcenters.find(({ guid, address }) =>
      [guid, address].includes(name),
    );
    return found?.guid ?? "";
  }

  /** Throws a `Refused` if the address `remote` opens too many new sessions. */
  async verify(token: string, remote: string): Promise<Bearer | TokenRefusal> {
    const known = this.#find(token);
    if (known === undefined) return "noVcenter";
    try {
      return this.#bearer(known.vcenter, await this.#session(known, remote));
    } catch (error) {
      if (error instanceof SessionRefused) return "noSession";
      if (error instanceof Refused) throw error;
      this.#warn(known, error);
      return "vcenterAway";
    }
  }

  /** The keys that an object of the token's vCenter uses, as far as its user may see them. */
  async object(
    token: string,
    type: VcenterType,
    id: string,
    remote: string,
  ): Promise<VcenterObject> {
    const known = this.#find(token);
    if (known === undefined) {
      const detail = "only a session of the vSphere Client can ask for an object of vCenter";
      throw new Refused({ code: "forbidden", detail });
    }
    try {
      return await known.api.object(await this.#session(known, remote), type, id);
    } catch (error) {
      if (error instanceof ObjectMissing) {
        throw new Refused({ code: "notFound", detail: "vCenter does not show this object" });
      }
      // The clone has ended before its time, for instance because vCenter was restarted.
      if (error instanceof SessionRefused) {
        this.#forget(known.key);
        const detail = "vCenter has ended the session: try again";
        throw new Refused({ code: "unauthenticated", detail });
      }
      if (error instanceof Refused) throw error;
      this.#warn(known, error);
      throw new Refused({
        code: "storeUnavailable",
        detail: "vCenter does not answer this node; the node's log says why",
      });
    }
  }

  #find(token: string): Known | undefined {
    const [guid = "", encoded = ""] = token.slice(vcenterPrefix.length).split(".");
    const found = token.startsWith(vcenterPrefix) ? this.#apis.get(guid) : undefined;
    if (found === undefined) return undefined;
    const secret = Buffer.from(encoded, "base64url").toString("latin1");
    // One session has one spelling: others would each get a clone.
    if (vcenterToken(guid, secret) !== token) return undefined;
    return { ...found, secret, key: createHash("sha256").update(token).digest("base64") };
  }

  #bearer({ guid, viewers, instances: bound }: Vcenter, { userName }: ClonedSession): Bearer {
    const { instances } = this.#options;
    const isViewer = viewers.some((one) => one.toLowerCase() === userName.toLowerCase());
    return {
      id: `${guid} ${userName}`,
      name: userName.slice(0, 128),
      // Without a role every call is refused, and the event names the user.
      roles: isViewer ? ["viewer"] : [],
      instances: bound.length === 0 ? undefined : bound.flatMap((one) => instances.idOf(one) ?? []),
      expiresMs: undefined,
    };
  }

  /** The clone of the user's session; requests that come together share it. */
  async #session(known: Known, remote: string): Promise<ClonedSession> {
    const { vcenter, api, secret, key } = known;
    const nowMs = this.#options.monotonicMs();
    for (const [each, { untilMs }] of this.#held) if (untilMs <= nowMs) this.#forget(each);
    const held = this.#held.get(key);
    if (held !== undefined) {
      // The one used last moves to the end, so that the first is the one to forget.
      this.#held.delete(key);
      this.#held.set(key, held);
      return held.session;
    }
    // A header takes only these characters.
    if (!/^[\x21-\x7e]+$/.test(secret)) throw new SessionRefused("no token");
    // First the address's own share, so that what is refused there takes nothing of the whole.
    const waitSeconds = this.#clonesOfAddress.take(`${vcenter.guid} ${originOf(remote)}`);
    if (waitSeconds > 0) {
      throw tooMany(waitSeconds, "too many new sessions of the vSphere Client from this address");
    }
    if (this.#clones.take(vcenter.guid) > 0) {
      throw new Error("too many new sessions at the same time");
    }
    const session = api.clone(secret);
    this.#held.set(key, { session, api, untilMs: nowMs + heldMs });
    session.then(
      // Only now: guesses that vCenter refuses must not end the sessions of others.
      () => {
        const [oldest] = this.#held.keys();
        if (this.#held.size > heldMax && oldest !== undefined) this.#forget(oldest);
      },
      () => {
        if (this.#held.get(key)?.session === session) this.#held.delete(key);
      },
    );
    return await session;
  }

  /** Ends a clone at vCenter too; if that fails, vCenter ends it as idle. */
  #forget(key: string): void {
    const held = this.#held.get(key);
    this.#held.delete(key);
    held?.session.then((session) => held.api.logout(session)).catch(() => undefined);
  }

  #warn({ vcenter: { guid, address } }: Known, cause: unknown): void {
    if (this.#warnings.take(guid) > 0) return;
    const message = `admin.console.vcenters: ${address}: sessions cannot be checked: ${reasonOf(cause)}`;
    this.#options.observe({ type: "warning", message, cause });
  }
}
