import type {
  Configured,
  KindSettings,
  KindValues,
  RootContext,
  RootKind,
  SecretSource,
} from "../kind.ts";

/** A pair of keys in a PKCS#11 token. */
export interface Pkcs11Settings {
  readonly type: "pkcs11";
  /** Absolute path of the vendor's module. */
  readonly module: string;
  /** The token's label. */
  readonly token: string;
  /** The label that all versions of the root key share; only `listRootKeys` works without it. */
  readonly rootKey?: string;
  readonly pin: SecretSource;
  /** Environment of the module's process: vendors' modules find their own configuration there. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** How long one call may take, including the wait for a session. */
  readonly deadlineMs: number;
  /** Maximum number of sessions, and so of concurrent calls; further calls wait. */
  readonly inFlightMax: number;
}

const settings = {
  module: { file: "library", doc: "The vendor's PKCS#11 module (a shared library)." },
  token: {
    text: /^.{1,32}$/,
    expects: "1 to 32 characters",
    doc: "The token's label.",
    optional: true,
  },
  rootKey: {
    text: /^.{1,64}$/,
    expects: "1 to 64 characters",
    doc: "The label that all versions of the root key share; `holdfast root pkcs11-init` makes the first.",
    optional: true,
  },
  pin: { secret: "the user's PIN" },
  deadlineMs: {
    // A KMIP client must get its answer within a minute.
    integer: { min: 100, max: 45_000, default: 10_000 },
    unit: "ms",
    doc: "How long one call may take, including the wait for a session.",
  },
  inFlightMax: {
    integer: { min: 1, max: 256, default: 8 },
    doc: "Maximum number of sessions, and so of concurrent calls; further calls wait.",
  },
} as const satisfies KindSettings;

const change = (first: boolean) => async (of: Pkcs11Settings, context: RootContext) => {
  const { createPkcs11Root, rotatePkcs11Root } = await import("./pkcs11-root.ts");
  const version = await (first ? createPkcs11Root : rotatePkcs11Root)(of, context);
  return `root key ${of.rootKey} in token ${of.token}: version ${version} wraps from now on; bring it to the region's other tokens where they are copies`;
};

/** A token of a hardware security module. */
export const pkcs11 = {
  kind: "pkcs11",
  group: { name: "pkcs11", doc: "A hardware security module with a PKCS#11 module." },
  settings,
  reference: {
    token: { doc: "The token's label." },
    rootKey: { doc: "The key's label." },
    pin: { secret: "PIN" },
  },
  // Trying one token's PIN on another token would cost that token a try.
  holder: { field: "token", word: "token", ownSecret: true },
  onNode: false,
  place: ({ rootKey, token }) => ["pkcs11", `root key ${rootKey} of token ${token}`],
  settingsFrom({
    values: { module, deadlineMs, inFlightMax },
    holder: token,
    named: { rootKey },
    secret: pin,
    environment,
  }: Configured<KindValues<typeof settings>, SecretSource>): Pkcs11Settings {
    return {
      type: "pkcs11",
      module,
      token,
      pin,
      environment,
      deadlineMs,
      inFlightMax,
      ...(rootKey !== undefined && { rootKey }),
    };
  },
  async open(of: Pkcs11Settings, context: RootContext) {
    const { openPkcs11 } = await import("./pkcs11-root.ts");
    return await openPkcs11(of, context);
  },
  init: {
    command: "pkcs11-init",
    doc: "Make the root key in the PKCS#11 token, with its first version.",
    run: change(true),
  },
  rotate: change(false),
} as const satisfies RootKind;
