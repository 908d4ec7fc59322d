import { RootOfTrustError } from "@holdfast/engine";
import { type CallTimes, callTimes } from "../http/retry.ts";
import type { HpcsSettings, KeyProtectSettings } from "../settings.ts";

/** Settings that have been checked. */
export interface KeyManagerSettings {
  readonly kind: "key-protect" | "hpcs";
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

/** `guid` as IBM writes it. */
export const guid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Checks settings; what cannot be is a `RootOfTrustError` that names the setting. */
export function checkSettings(settings: KeyProtectSettings | HpcsSettings): KeyManagerSettings {
  const { type: kind, instanceId, rootKey, apiKey, ca, inFlightMax, deadlineMs } = settings;
  // HPCS: root keys of the default ring only, and what is not said is looked up in all rings.
  const keyRing = settings.type === "hpcs" ? "default" : settings.keyRing;
  checked("instanceId", instanceId, guid, "the GUID of the key manager's instance");
  checked("rootKey", rootKey, /^[A-Za-z0-9_-]{2,90}$/, "the id or an alias of a root key");
  checked("keyRing", keyRing, /^[A-Za-z0-9-]{2,100}$/, "the id of a key ring");
  const role = settings.role ?? "manager";
  // One attempt that hangs leaves time for another.
  const attemptMs = Math.ceil(Math.min(callTimes.attemptMs, deadlineMs * 0.4));
  const times = { ...callTimes, deadlineMs, attemptMs };
  const urls = { url: origin("url", settings.url), iamUrl: origin("iamUrl", settings.iamUrl) };
  return { kind, instanceId, rootKey, keyRing, apiKey, ...urls, ca, role, inFlightMax, times };
}

/** These go into a header, a path or a host name, and some are named in requests: nothing else passes. */
export function checked(name: string, value: string | undefined, form: RegExp, must: string): void {
  if (value !== undefined && !form.test(value)) throw wrong(name, must);
}

function origin(name: string, value: string): string {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  const bare = url?.protocol === "https:" && url.pathname === "/" && url.search + url.hash === "";
  if (url === undefined || !bare || url.username !== "" || url.password !== "") {
    throw wrong(name, "https://HOST or https://HOST:PORT");
  }
  return url.origin;
}

function wrong(name: string, must: string): RootOfTrustError {
  return new RootOfTrustError("denied", `${name}: must be ${must}`);
}
