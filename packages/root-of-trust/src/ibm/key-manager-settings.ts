import { type CallTimes, callTimes } from "../http/retry.ts";
import type { SecretSource } from "../kind.ts";
import { checked, guid, type KeyManagerType, wrong } from "./key-manager-urls.ts";

interface IbmSettings {
  /** `https://HOST[:PORT]` of the key manager. */
  readonly url: string;
  /** `https://HOST[:PORT]` of IAM, which gives tokens for the API key. */
  readonly iamUrl: string;
  /** GUID of the key manager's instance. */
  readonly instanceId: string;
  /** The root key's identifier or alias; only `listRootKeys` works without it. */
  readonly rootKey?: string;
  readonly apiKey: SecretSource;
  /** PEM of the authorities to trust for both hosts; by default the public ones. */
  readonly ca?: string;
  /** Role that the API key needs: what IBM's own service requires (`manager`, the default), or only what is used. */
  readonly role?: "manager" | "reader";
  /** How long one call may take, including retries. */
  readonly deadlineMs: number;
  /** Maximum number of concurrent calls; further calls wait. */
  readonly inFlightMax: number;
}

/** A root key in Key Protect. */
export interface KeyProtectSettings extends IbmSettings {
  readonly type: "key-protect";
  readonly keyRing?: string;
}

/** A root key in Dedicated Key Protect. */
export interface DedicatedKeyProtectSettings extends IbmSettings {
  readonly type: "dedicated-key-protect";
  readonly keyRing?: string;
}

/** A root key in Hyper Protect Crypto Services, always in the default key ring. */
export interface HpcsSettings extends IbmSettings {
  readonly type: "hpcs";
}

/** A root key in any of IBM's key managers. */
export type AnyIbmSettings = KeyProtectSettings | DedicatedKeyProtectSettings | HpcsSettings;

/** Validated settings. */
export interface KeyManagerSettings {
  readonly kind: KeyManagerType;
  readonly instanceId: string;
  readonly rootKey: string | undefined;
  readonly keyRing: string | undefined;
  readonly apiKey: () => Promise<string>;
  readonly url: string;
  readonly iamUrl: string;
  readonly ca: string | undefined;
  readonly role: "manager" | "reader";
  readonly inFlightMax: number;
  readonly times: CallTimes;
}

/** Validates settings; throws a `RootOfTrustError` that names the invalid setting. */
export function checkSettings(settings: AnyIbmSettings): KeyManagerSettings {
  const { type: kind, instanceId, rootKey, apiKey, ca, inFlightMax, deadlineMs } = settings;
  // HPCS has root keys in the default ring only, and without a ring it would search all rings.
  const keyRing = settings.type === "hpcs" ? "default" : settings.keyRing;
  checked("instanceId", instanceId, guid, "the GUID of the key manager's instance");
  checked("rootKey", rootKey, /^[A-Za-z0-9_-]{2,90}$/, "the id or an alias of a root key");
  checked("keyRing", keyRing, /^[A-Za-z0-9-]{2,100}$/, "the id of a key ring");
  const role = settings.role ?? "manager";
  // If one attempt hangs, there is time for another.
  const attemptMs = Math.ceil(Math.min(callTimes.attemptMs, deadlineMs * 0.4));
  const times = { ...callTimes, deadlineMs, attemptMs };
  const urls = { url: origin("url", settings.url), iamUrl: origin("iamUrl", settings.iamUrl) };
  return { kind, instanceId, rootKey, keyRing, apiKey, ...urls, ca, role, inFlightMax, times };
}

function origin(name: string, value: string): string {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  const bare = url?.protocol === "https:" && url.pathname === "/" && url.search + url.hash === "";
  if (url === undefined || !bare || url.username !== "" || url.password !== "") {
    throw wrong(name, "https://HOST or https://HOST:PORT");
  }
  return url.origin;
}
