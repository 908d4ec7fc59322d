import type {
  Configured,
  KindSettings,
  KindValues,
  RootContext,
  RootKind,
  RotationChange,
  SecretSource,
} from "../kind.ts";

/** Settings of a file of root key versions. */
export interface LocalSettings {
  readonly type: "local";
  readonly file: string;
  /** The passphrase that encrypts the file; without it, the file contains plain keys. */
  readonly passphrase?: SecretSource;
}

const settings = {
  file: {
    file: "rootKeys",
    doc: "`local`: the file of root key versions, made by `holdfast root init`; mode 0600, the same at every node of the region. `holdfast root rotate` adds a version that wraps from then on; nodes notice.",
  },
  passphrase: { secret: "the passphrase that the file is encrypted under, if it is" },
} as const satisfies KindSettings;

const giveAll = "give this file to every node of the region now, and keep a copy";

/** A root key file on each node. */
export const local = {
  kind: "local",
  settings,
  reference: {},
  onNode: true,
  hasPassphrase: true,
  faults: ({ file }) =>
    file === undefined
      ? [{ setting: "file", says: "is missing: the local root of trust is a file" }]
      : [],
  place: ({ file }) => ["file", String(file)],
  settingsFrom({
    values: { file },
    secret: passphrase,
  }: Configured<KindValues<typeof settings>>): LocalSettings {
    return { type: "local", file, ...(passphrase && { passphrase }) };
  },
  async open(of: LocalSettings, { ids }: RootContext) {
    const { openLocalRoot } = await import("./local-root.ts");
    return await openLocalRoot(keyFile(of), ids);
  },
  init: {
    command: "init",
    doc: "Make the local root key file, with its first version.",
    async run(of: LocalSettings, context: RootContext) {
      const { createLocalRoot } = await import("./local-root.ts");
      await createLocalRoot(keyFile(of), context);
      return `${of.file}: made, with version 1; ${giveAll}`;
    },
  },
  async rotate(of: LocalSettings, context: RootContext, change?: RotationChange) {
    const { rotateLocalRoot } = await import("./local-root.ts");
    const { newPassphrase, approved } = change ?? {};
    const file = {
      ...keyFile(of),
      ...(newPassphrase && { newPassphrase }),
      ...(approved && { approved }),
    };
    const version = await rotateLocalRoot(file, context);
    return `${of.file}: version ${version} wraps from now on; ${giveAll}`;
  },
} as const satisfies RootKind;

function keyFile({ file: path, passphrase }: LocalSettings) {
  return { path, ...(passphrase && { passphrase }) };
}
