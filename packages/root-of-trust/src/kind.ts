import type { Clock, Ids, Observer, RootOfTrust } from "@holdfast/engine";
import type { Pkcs11Hosts } from "./pkcs11/hosts.ts";

/**
 * Reads a secret from its source (a file, the environment, the sealed store) each time it is needed, so that a replaced
 * secret takes effect without a restart. Rejects with one line that says what is wrong and never shows the secret.
 */
export type SecretSource = () => Promise<string>;

/** What else a rotation changes. */
export interface RotationChange {
  readonly newPassphrase?: SecretSource | undefined;
  /** Derives the key from the passphrase so that a node in FIPS mode can read the file; a file that is so stays so. */
  readonly approved?: true | undefined;
}

/** The dependencies of a root of trust. */
export interface RootContext {
  readonly clock: Clock;
  readonly ids: Ids;
  readonly observe: Observer;
  /** Shared by all roots in PKCS#11 tokens; without it, each has its own process. */
  readonly pkcs11?: Pkcs11Hosts;
}

/** A setting of the configuration. A secret becomes two settings: `NAMEFile` and `NAMEEnv`. */
export type KindSetting =
  /** Completes "file with …". */
  | { readonly secret: string }
  | ({ readonly doc: string; readonly optional?: true } & (
      | { readonly text: RegExp; readonly expects: string }
      /** The first word is the default. */
      | { readonly choice: readonly [string, ...string[]] }
      | {
          readonly integer: {
            readonly min: number;
            readonly max: number;
            readonly default: number;
          };
          readonly unit?: "ms";
        }
      | { readonly file: "rootKeys" | "certificates" | "library" }
    ));

/** Settings by name. */
export type KindSettings = Readonly<Record<string, KindSetting>>;

/** The values of a configuration's group, for code that does not depend on the kind. */
export type AnyValues = Readonly<Record<string, unknown>>;

/** The values of settings that are not secrets. */
export type KindValues<Settings> = {
  readonly [Name in keyof Settings as Settings[Name] extends { secret: string } ? never : Name]:
    | ValueOf<Settings[Name]>
    | (Settings[Name] extends { optional: true } ? undefined : never);
};

type ValueOf<Row> = Row extends { choice: readonly (infer Word)[] }
  ? Word
  : Row extends { integer: object }
    ? number
    : string;

/** A field of a reference. */
export interface ReferenceField {
  /** Text for the API's documentation. */
  readonly doc?: string;
  readonly optional?: true;
  /** If the field is a secret: its name in messages. */
  readonly secret?: string;
}

/** The input for the settings of a root of trust. */
export interface Configured<Values, Secret = SecretSource | undefined> {
  /** From the configuration; a certificate file is replaced by its text. */
  readonly values: Values;
  /** The value of `RootKind.holder`. */
  readonly holder: string;
  /** Other fields: from the reference, or else from the configuration if that has the same holder. */
  readonly named: Readonly<Record<string, string | undefined>>;
  readonly secret: Secret;
  /** The environment of the process, without Holdfast's secrets. */
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/**
 * A kind of root of trust: everything that configuration, API, command line and checks know about it. Programs that never
 * open a root of trust load this too, so functions such as `open` import what they need when called.
 */
export interface RootKind {
  /** `type` in settings and references, and the first word of the names of such roots of trust. */
  readonly kind: string;
  /** The group of settings below `rootOfTrust`; without it, the settings are in `rootOfTrust` itself. */
  readonly group?: { readonly name: string; readonly doc: string };
  readonly settings: KindSettings;
  /** The fields of a reference except `type`. `rootKey` names the root key. */
  readonly reference: Readonly<Record<string, ReferenceField>>;
  /** The field of a reference that names what holds the root keys; a sealed secret is bound to its value. */
  readonly holder?: {
    readonly field: string;
    /** Its name in messages. */
    readonly word: string;
    /** The configured secret is valid for the configured holder only. */
    readonly ownSecret: boolean;
  };
  /** The root key is on each node: copied by hand, cheap to use, and if it fails, this node is at fault. */
  readonly onNode: boolean;
  /** When its vendor ends the service. */
  readonly ends?: { readonly says: string; readonly endMs: number; readonly mend: string };
  /** What to warn of if the vendor deletes a root key that Holdfast uses, since it does not know of the use. */
  readonly unregistered?: string;
  /** Faults in the configuration that concern more than a single setting. */
  faults?(values: AnyValues): readonly { readonly setting: string; readonly says: string }[];
  /** The setting and the root key, as they appear in the configuration. */
  place(values: AnyValues): readonly [setting: string, rootKey: string];
  settingsFrom(configured: Configured<AnyValues>): { readonly type: string };
  /** Rejects with a `RootOfTrustError` if it is already known to be unusable. */
  open(settings: { readonly type: string }, context: RootContext): Promise<RootOfTrust>;
  /** Creates the first version of the root key; returns a line for the operator. */
  readonly init?: {
    /** The subcommand of `holdfast root`. */
    readonly command: string;
    readonly doc: string;
    run(settings: { readonly type: string }, context: RootContext): Promise<string>;
  };
  /** Adds a version; returns a line for the operator. */
  rotate?(
    settings: { readonly type: string },
    context: RootContext,
    change?: RotationChange,
  ): Promise<string>;
  /** Whether `rotate` accepts a change of how a passphrase encrypts the file. */
  readonly hasPassphrase?: true;
  /** How to rotate it if there is no `rotate`. */
  readonly rotateElsewhere?: string;
}
