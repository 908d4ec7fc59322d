import { RootOfTrustError } from "@holdfast/engine/errors";

/** The kinds of IBM key manager. All have the same API, with few differences. */
export type KeyManagerType = "key-protect" | "dedicated-key-protect" | "hpcs";

/** `guid` as IBM writes it. */
export const guid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Where a node reaches an IBM key manager: comes from its own configuration, never from a request. */
export interface KeyManagerPlace {
  readonly type: KeyManagerType;
  /** GUID of the key manager's instance, which is part of the host names of instances with crypto units of their own. */
  readonly instanceId: string;
  /** Such as `us-south`; required if `host` is absent. */
  readonly region?: string | undefined;
  /** Which IBM network to use. `private` is the default; neither ever falls back to the other. */
  readonly endpoint?: "private" | "public" | undefined;
  /** `HOST[:PORT]` in place of the region's: a VPE gateway, VRF, a dedicated instance. `{instanceId}` is replaced. */
  readonly host?: string | undefined;
  /** `HOST[:PORT]` in place of IAM's. */
  readonly iamHost?: string | undefined;
}

const hostForm = /^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:\d{1,5})?$/;

/** The two URLs of a key manager; throws a `RootOfTrustError` that names the invalid setting. */
export function keyManagerUrls(place: KeyManagerPlace): {
  readonly url: string;
  readonly iamUrl: string;
} {
  const isPrivate = place.endpoint !== "public";
  checked("instanceId", place.instanceId, guid, "the GUID of the key manager's instance");
  const host = (place.host ?? regionHost(place, isPrivate)).replaceAll(
    "{instanceId}",
    place.instanceId,
  );
  const iamHost = place.iamHost ?? (isPrivate ? "private.iam.cloud.ibm.com" : "iam.cloud.ibm.com");
  checked("host", host, hostForm, "HOST or HOST:PORT");
  checked("iamHost", iamHost, hostForm, "HOST or HOST:PORT");
  return { url: `https://${host}`, iamUrl: `https://${iamHost}` };
}

function regionHost({ type, region }: KeyManagerPlace, isPrivate: boolean): string {
  if (region === undefined) {
    throw new RootOfTrustError("denied", `${type}: name its region, or its host`);
  }
  checked("region", region, /^[a-z]{2}-[a-z]{2,10}$/, "a region such as us-south");
  if (type === "hpcs") {
    const network = isPrivate ? "private." : "";
    return `{instanceId}.api.${network}${region}.hs-crypto.appdomain.cloud`;
  }
  if (type === "dedicated-key-protect") {
    // IBM publishes no private form, and `private` never falls back to the other network.
    if (isPrivate) throw new RootOfTrustError("denied", `${type}: ${privateHostMissing}`);
    return `{instanceId}.api.${region}.kms.appdomain.cloud`;
  }
  return `${isPrivate ? "private." : ""}${region}.kms.cloud.ibm.com`;
}

/** Why the region alone does not say where Dedicated Key Protect is. */
export const privateHostMissing =
  "IBM publishes the form of its public host name only: give the private one as host, or set endpoint to public";

/** These values go into a header, a path or a host name, and some come from requests, so they must match `form`. */
export function checked(name: string, value: string | undefined, form: RegExp, must: string): void {
  if (value !== undefined && !form.test(value)) throw wrong(name, must);
}

/** The error for an invalid setting. */
export function wrong(name: string, must: string): RootOfTrustError {
  return new RootOfTrustError("denied", `${name}: must be ${must}`);
}
