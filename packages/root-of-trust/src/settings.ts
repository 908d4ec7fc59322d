import type { Clock, Ids, Observer } from "@holdfast/engine";
import type { Pkcs11Hosts } from "./pkcs11/hosts.ts";

/**
 * Reads a secret where it lies (a file, the environment, the sealed store) each time it is needed, so that a replaced
 * one is found without a restart; rejects with one line that says what is wrong, and never shows the secret.
 */
export type SecretSource = () => Promise<string>;

/** A file of root key versions. */
export interface LocalSettings {
  readonly type: "local";
  readonly file: string;
  /** What the file is encrypted under; left out, it holds its keys as they are. */
  readonly passphrase?: SecretSource;
}

/** What Key Protect and Hyper Protect Crypto Services have in common. */
interface IbmSettings {
  /** `https://HOST[:PORT]` of the key manager. */
  readonly url: string;
  /** `https://HOST[:PORT]` of IAM, which gives tokens for the API key. */
  readonly iamUrl: string;
  /** GUID of the key manager's instance. */
  readonly instanceId: string;
  /** The root key's identifier or alias; only `listRootKeys` does without. */
  readonly rootKey?: string;
  readonly apiKey: SecretSource;
  /** PEM of the authorities that both hosts' certificates must come from; left out, the public ones. */
  readonly ca?: string;
  /** What the API key must be allowed: as IBM's own service asks (`manager`, the default), or only what is used. */
  readonly role?: "manager" | "reader";
  /** How long one call may take, its repetitions included. */
  readonly deadlineMs: number;
  /** Calls at the same time; more wait. */
  readonly inFlightMax: number;
}

/** A root key in Key Protect. */
export interface KeyProtectSettings extends IbmSettings {
  readonly type: "key-protect";
  readonly keyRing?: string;
}

/** A root key in Hyper Protect Crypto Services, which has the default key ring only. */
export interface HpcsSettings extends IbmSettings {
  readonly type: "hpcs";
}

/** A pair of keys in a PKCS#11 token. */
export interface Pkcs11Settings {
  readonly type: "pkcs11";
  /** Absolute path of the vendor's module. */
  readonly module: string;
  /** The token's label. */
  readonly token: string;
  /** The label that all versions of the root key share; only `listRootKeys` does without. */
  readonly rootKey?: string;
  readonly pin: SecretSource;
  /** What the module sees of the environment: vendors' modules find their own configuration there. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** How long one call may take, its wait for a session included. */
  readonly deadlineMs: number;
  /** Sessions, and so calls at the same time; more wait. */
  readonly inFlightMax: number;
}

/** Which root key of which root of trust, and how to get at it. */
export type RootSettings = LocalSettings | KeyProtectSettings | HpcsSettings | Pkcs11Settings;

/** What a root of trust needs of its surroundings. */
export interface RootContext {
  readonly clock: Clock;
  readonly ids: Ids;
  readonly observe: Observer;
  /** Shared by all roots in PKCS#11 tokens; left out, each has a process of its own. */
  readonly pkcs11?: Pkcs11Hosts;
}
