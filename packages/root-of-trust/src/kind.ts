import type { Clock, Ids, Observer, RootOfTrust } from "@holdfast/engine";
import type { Pkcs11Hosts } from "./pkcs11/hosts.ts";

/**
 * Reads a secret where it lies (a file, the environment, the sealed store) each time it is needed, so that a replaced
 * one is found without a restart; rejects with one line that says what is wrong, and never shows the secret.
 */
export type SecretSource = () => Promise<string>;

/** What a root of trust needs of its surroundings. */
export interface RootContext {
  readonly clock: Clock;
  readonly ids: Ids;
  readonly observe: Observer;
  /** Shared by all roots in PKCS#11 tokens; left out, each has a process of its own. */
  readonly pkcs11?: Pkcs11Hosts;
}

/** A setting of the configuration. A secret becomes two: `NAMEFile` and `NAMEEnv`. */
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

/** The values of a configuration's group, as far as the kind does not matter. */
export type AnyValues = Readonly<Record<string, unknown>>;

/** The values of settings that are no secrets. */
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
  /** For the API's documentation. */
  readonly doc?: string;
  readonly optional?: true;
  /** The field is a secret, which messages call so. */
  readonly secret?: string;
}

/** What the settings of a root of trust are made from. */
export interface Configured<Values, Secret = SecretSource | undefined> {
  /** Of the configuration; a file of certificates is its text. */
  readonly values: Values;
  /** The value of `RootKind.holder`. */
  readonly holder: string;
  /** Other fields: what the reference says, else the configuration where it has the same holder. */
  readonly named: Readonly<Record<string, string | undefined>>;
  readonly secret: Secret;
  /** The process's, without Holdfast's secrets. */
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/**
 * A kind of root of trust: all that configuration, API, command line and checks know of it. Programs that never
 * open one load it too, so functions such as `open` import what they need when they are called.
 */
export interface RootKind {
  /** `type` in settings and references, and the first word of the names of such roots of trust. */
  readonly kind: string;
  /** The group of settings below `rootOfTrust`; left out, the settings lie in `rootOfTrust` itself. */
  readonly group?: { readonly name: string; readonly doc: string };
  readonly settings: KindSettings;
  /** What a reference has beside `type`. `rootKey` names the root key. */
  readonly reference: Readonly<Record<string, ReferenceField>>;
  /** The field of a reference that says what holds the root keys; a sealed secret is bound to its value. */
  readonly holder?: {
    readonly field: string;
    /** What messages call it. */
    readonly word: string;
    /** The configured secret is for the configured holder only. */
    readonly ownSecret: boolean;
  };
  /** The root key lies on each node: copied by hand, cheap to ask, and if it fails, this node is at fault. */
  readonly onNode: boolean;
  /** When its maker ends it. */
  readonly ends?: { readonly says: string; readonly endMs: number; readonly mend: string };
  /** What is wrong with the configuration beyond single settings. */
  faults?(values: AnyValues): readonly { readonly setting: string; readonly says: string }[];
  /** Setting and root key, as an operator finds them in the configuration. */
  place(values: AnyValues): readonly [setting: string, rootKey: string];
  settingsFrom(configured: Configured<AnyValues>): { readonly type: string };
  /** Rejects with a `RootOfTrustError` where it is already known that it would not serve. */
  open(settings: { readonly type: string }, context: RootContext): Promise<RootOfTrust>;
  /** Makes the first version of the root key; answers a line for the operator. */
  readonly init?: {
    /** The subcommand of `holdfast root`. */
    readonly command: string;
    readonly doc: string;
    run(settings: { readonly type: string }, context: RootContext): Promise<string>;
  };
  /** Adds a version; answers a line for the operator. */
  rotate?(
    settings: { readonly type: string },
    context: RootContext,
    newPassphrase?: SecretSource,
  ): Promise<string>;
  /** `rotate` takes a new passphrase. */
  readonly hasPassphrase?: true;
  /** How to rotate it where `rotate` is not there. */
  readonly rotateElsewhere?: string;
}
