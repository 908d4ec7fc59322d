import {
  type KindSetting,
  type KindValues,
  type KnownKind,
  kindNames,
  type RootKind,
  rootKinds,
} from "@holdfast/root-of-trust/kinds";
import {
  choice,
  file,
  integer,
  type OptionalGroup,
  optional,
  optionalGroup,
  type Setting,
  type SettingRows,
  text,
} from "./setting.ts";

/** The rows of a kind's settings. */
type RowsOf<Settings> = {
  readonly [Name in keyof KindValues<Settings>]: Setting<KindValues<Settings>[Name]>;
} & {
  readonly [Name in keyof Settings as Settings[Name] extends { secret: string }
    ? `${Name & string}${"File" | "Env"}`
    : never]: Setting<string | undefined>;
};

/** The rows that all kinds add to `rootOfTrust`: each adds one group, or rows without a group. */
type KindRows = {
  readonly [Kind in KnownKind as Kind extends { group: { name: infer Name extends string } }
    ? Name
    : never]: OptionalGroup<RowsOf<Kind["settings"]>>;
} & OptionalRows<RowsOf<Exclude<KnownKind, { group: object }>["settings"]>>;

type OptionalRows<Rows> = {
  readonly [Name in keyof Rows]: Rows[Name] extends Setting<infer Value>
    ? Setting<Value | undefined>
    : never;
};

function kindRows({ group, settings }: RootKind): SettingRows {
  const rows = Object.fromEntries(
    Object.entries(settings).flatMap(([name, setting]) =>
      "secret" in setting
        ? secretRows(name, setting.secret)
        : [[name, setting.optional || group === undefined ? optional(row(setting)) : row(setting)]],
    ),
  );
  return group === undefined ? rows : { [group.name]: optionalGroup(group.doc, rows) };
}

/** A secret's two settings, a file and a variable; `config-rules.ts` refuses a configuration with both. */
function secretRows(name: string, what: string): readonly (readonly [string, Setting<unknown>])[] {
  const variable = text(
    `Environment variable with ${what}.`,
    "the name of a variable",
    /^[A-Za-z_]\w*$/,
  );
  return [
    [`${name}File`, optional(file(`File with ${what}, on its first line.`))],
    [`${name}Env`, optional(variable)],
  ];
}

function row(setting: Exclude<KindSetting, { secret: string }>): Setting<unknown> {
  const { doc } = setting;
  if ("text" in setting) return text(doc, setting.expects, setting.text);
  if ("choice" in setting) return choice(doc, setting.choice, setting.choice[0]);
  if ("integer" in setting) return integer(doc, setting.integer, setting.unit);
  return file(doc);
}

/** What the group `rootOfTrust` is for. */
export const rootOfTrustDoc =
  "The roots of trust that wrap the instances' key-encryption keys: those that this node can reach, and the default for instances that name none.";

/** The settings of `rootOfTrust`. */
export const rootOfTrustRows = {
  type: choice(
    "The kind of root of trust of instances that name none.",
    kindNames,
    rootKinds[0].kind,
  ),
  ...(Object.assign({}, ...rootKinds.map(kindRows)) as KindRows),
  secretsFolder: optional(
    file(
      "Folder with secrets that instances may name: one API key or PIN per file, on its first line. Left out, instances cannot name any.",
    ),
  ),
  graceMs: integer(
    "How long the node keeps using open keys while the root of trust cannot be reached.",
    { min: 0, max: 86_400_000, default: 3_600_000 },
    "ms",
  ),
  kekCacheMs: integer(
    "How long an opened key-encryption key stays in memory before it is validated again.",
    { min: 1000, max: 86_400_000, default: 300_000 },
    "ms",
  ),
  revalidateMs: integer(
    "How often the region's leader validates each root of trust: the key's state and the permission to use it. HoldfastDutyFails counts on at most 5 minutes.",
    { min: 1000, max: 300_000, default: 60_000 },
    "ms",
  ),
  keepKeksMs: integer(
    "How long no record has needed an older key-encryption key, in any region, before it is removed (docs/re-keying.md#a-new-kek).",
    { min: 1000, max: 2_592_000_000, default: 86_400_000 },
    "ms",
  ),
};

/** The setting `sealingKeyFile`. */
export const sealingKeyFileRow = optional(
  file(
    "The file of key versions under which this region's own secrets in the store are sealed (API keys and PINs of instances), made by `holdfast sealing-key init`; mode 0600, the same at every node of the region. Left out, such a secret can only be named in the environment or a file.",
  ),
);

/** Settings of a kind as they are configured; undefined where its group is left out. */
export function kindValues(
  rootOfTrust: object,
  { group }: RootKind,
): Readonly<Record<string, unknown>> | undefined {
  const all = rootOfTrust as Readonly<Record<string, unknown>>;
  return group === undefined ? all : (all[group.name] as typeof all | undefined);
}
