import { crkStates } from "@holdfast/engine/instance-status";
import {
  type KnownKind,
  kindNames,
  type ReferenceField,
  type RootKind,
  rootKinds,
  secretNames,
} from "@holdfast/root-of-trust/kinds";
import { z } from "zod";
import { may, type Routes } from "./route.ts";
import { instanceParam, name, region, time } from "./shapes.ts";

const identifier = z.string().min(1).max(256);

/** A secret in a request: its value (sealed at once) or its place on the node. Never in answers. */
const secret = z.union(
  [
    z.object({ value: z.string().min(1).max(4096) }).strict(),
    z
      .object({
        env: z.string().regex(/^[A-Za-z_]\w{0,127}$/, "the name of an environment variable"),
      })
      .strict(),
    z
      .object({ file: z.string().regex(/^[\w.-]{1,128}$/, "the name of a file, without a folder") })
      .strict(),
  ],
  { error: "{ value: SECRET }, { env: NAME } or { file: NAME }" },
);

/** The text that answers show instead of a secret: its place. */
export function secretPlace(secret: Readonly<Record<string, unknown>>): string {
  if (typeof secret["env"] === "string") return `environment variable ${secret["env"]}`;
  return typeof secret["file"] === "string" ? `file ${secret["file"]}` : "sealed";
}

type FieldOf<Field> = Field extends { secret: string }
  ? typeof secret
  : Field extends { optional: true }
    ? z.ZodOptional<z.ZodString>
    : z.ZodString;
type ReferenceOf<Kind extends KnownKind, Left extends string> = z.ZodObject<
  { type: z.ZodLiteral<Kind["kind"]> } & {
    [Name in Exclude<keyof Kind["reference"], Left>]: FieldOf<Kind["reference"][Name]>;
  },
  z.core.$strict
>;
type ReferencesOf<Kinds extends readonly KnownKind[], Left extends string> = {
  [At in keyof Kinds]: ReferenceOf<Kinds[At], Left>;
};

function field({ doc, optional, secret: isSecret }: ReferenceField): z.ZodType {
  const plain = isSecret === undefined ? identifier : secret;
  const described = doc === undefined ? plain : plain.describe(doc);
  return optional ? described.optional() : described;
}

/** The references of all kinds, without the fields in `leftOut`. */
function references<Left extends string = never>(...leftOut: readonly Left[]) {
  const schemas = rootKinds.map(({ kind, reference }: RootKind) => {
    const fields = Object.entries(reference).filter(
      ([name]) => !leftOut.some((one) => one === name),
    );
    const shape = fields.map(([name, { doc, ...rest }]) => {
      // Only whole references are documented.
      const of = leftOut.length > 0 || doc === undefined ? rest : { ...rest, doc };
      return [name, field(of)] as const;
    });
    return z.object({ type: z.literal(kind), ...Object.fromEntries(shape) }).strict();
  });
  return schemas as unknown as ReferencesOf<typeof rootKinds, Left>;
}

/** An instance's root key in a region. Host names and modules are in the node's configuration. */
export const rootReference = z
  .discriminatedUnion("type", references())
  .meta({ id: "RootReference" });

/** Where to look up root keys: a reference without the key. */
const rootLookup = z.discriminatedUnion("type", references("rootKey"));

/** A root key that a key manager has. */
const rootKey = z
  .object({
    id: z.string(),
    name: z.string(),
    aliases: z.array(z.string()),
    keyRing: z.string().optional(),
    state: z.string().describe("The state in the key manager's words: Active, Suspended, …"),
    usable: z.boolean(),
  })
  .meta({ id: "RootKey" });

/** What a region can do with an instance's root key. */
export const rootState = z.enum(crkStates);

const rootName = {
  type: z.enum(kindNames),
  name: z.string().describe("Key manager and root key, without secrets."),
};
const shownReference = z
  .record(z.string(), z.string())
  .optional()
  .describe("What was configured, without secrets.");

/** An instance's root of trust in a region, as the region's leader last found it. */
export const rootStatus = z
  .object({
    ...rootName,
    origin: z.enum(["instance", "configuration"]),
    state: rootState,
    reason: z.string(),
    checkedAt: time.optional(),
    graceUntil: time.optional().describe("While unreachable: until when open keys are used."),
    version: z.string().describe("The root key's present version."),
    reference: shownReference,
    next: z
      .object({ ...rootName, reference: shownReference })
      .optional()
      .describe("Where the instance is being moved, as long as the move is not complete."),
  })
  .meta({ id: "RootStatus" });

/** How many KEKs each version of a root key wraps. */
const rootReportRow = z.object({
  instance: z.string(),
  name: z.string(),
  region,
  root: z.string(),
  next: z
    .string()
    .optional()
    .describe("Where the instance is being moved, as long as the move is not complete."),
  state: rootState,
  currentVersion: z.string(),
  versions: z.record(z.string(), z.number().int()).describe("KEKs by the version that wraps them."),
  stale: z.number().int().describe("KEKs still under an old version or another root."),
  ends: time.optional().describe("When the vendor ends the service that holds the root key."),
});

const shredResult = z.object({
  regions: z.record(region, z.enum(["shredded", "pending"])),
});

/** Roots of trust. */
export const rootRoutes = {
  retrieveRootKeys: {
    method: "POST",
    path: "/v1/root-keys/retrieve",
    summary: "List the root keys of a key manager, before you order an instance.",
    tag: "Roots of trust",
    roles: may.manage,
    scope: "system",
    body: z.object({ region: region.optional(), root: rootLookup }).strict(),
    answer: z.object({ region, items: z.array(rootKey) }),
    repeatable: true,
    problems: ["rootDenied", "rootUnavailable", "rootUnsupported", "peerUnreachable"],
    audit: "root.list",
    auditsSuccess: true,
    command: {
      words: "root-of-trust retrieve",
      roots: "lookup",
      hidden: ["root", "region"],
      list: {
        of: "root keys",
        columns: [
          "NAME=name",
          "ID=id",
          "STATE=state",
          "USABLE=usable",
          "RING=keyRing",
          "ALIASES=aliases",
        ],
      },
      example:
        "holdfast root-of-trust retrieve --root a:key-protect,instanceId=UUID,apiKey=@key.txt",
    },
  },
  configureRoot: {
    method: "PUT",
    path: "/v1/instances/{instance}/root-of-trust",
    summary:
      "Configure an instance's root of trust, by region; on an Installed instance, move it to another root key online.",
    tag: "Roots of trust",
    roles: may.manage,
    scope: "instance",
    params: instanceParam,
    body: z.object({ regions: z.record(region, rootReference) }).strict(),
    answer: z.object({
      regions: z.record(region, rootStatus),
      rewrapped: z
        .number()
        .int()
        .describe(
          "KEKs that this call wrapped under the new root; the leader may have wrapped some before.",
        ),
    }),
    dryRun: true,
    problems: [
      "notFound",
      "declared",
      "wrongState",
      "rootKeyMissing",
      "rootDenied",
      "rootDisabled",
      "rootGone",
      "rootUnavailable",
      "rootUnsupported",
      "peerUnreachable",
      "storeUnavailable",
    ],
    audit: "root.configure",
    guarded: {
      action: "move-root",
      secrets: secretNames.map((secret) => `regions.*.${secret}.value`),
    },
    command: {
      words: "root-of-trust configure",
      roots: "regions",
      hidden: ["regions"],
      wait: ["Installed"],
      example:
        "holdfast root-of-trust configure kmip-prod --root a:pkcs11,token=kmip,rootKey=crk,pin=@pin.txt",
    },
  },
  readRoot: {
    method: "GET",
    path: "/v1/instances/{instance}/root-of-trust",
    summary: "Show an instance's root of trust in each region.",
    tag: "Roots of trust",
    roles: may.read,
    scope: "instance",
    params: instanceParam,
    answer: z.object({ regions: z.record(region, rootStatus) }),
    problems: ["notFound"],
    command: { words: "root-of-trust show" },
  },
  revalidateRoot: {
    method: "POST",
    path: "/v1/instances/{instance}/root-of-trust/revalidate",
    summary: "Ask the key managers now whether the root key may still be used, in both regions.",
    tag: "Roots of trust",
    roles: may.operate,
    scope: "instance",
    params: instanceParam,
    answer: z.object({ regions: z.record(region, rootStatus) }),
    repeatable: true,
    problems: ["notFound"],
    audit: "root.revalidate",
    guarded: { action: "open-keys", when: ({ shredded }) => shredded },
    command: { words: "root-of-trust revalidate" },
  },
  shredInstance: {
    method: "POST",
    path: "/v1/instances/{instance}/root-of-trust/shred",
    summary:
      "Drop the instance's open keys in both regions at once and refuse them until the root of trust is revalidated.",
    tag: "Roots of trust",
    roles: may.manage,
    scope: "instance",
    params: instanceParam,
    body: z.object({ name: name.describe("The instance's name, typed again.") }).strict(),
    answer: shredResult,
    problems: ["notFound", "confirmationNeeded", "storeUnavailable"],
    audit: "root.shred",
    guarded: { action: "shred" },
    command: {
      words: "root-of-trust shred",
      confirm: { field: "name", of: "the name of the instance", does: "shredded" },
    },
  },
  rewrapRoot: {
    method: "POST",
    path: "/v1/instances/{instance}/root-of-trust/rewrap",
    summary: "Wrap the instance's KEKs under the root key's present version now, in both regions.",
    tag: "Roots of trust",
    roles: may.operate,
    scope: "instance",
    params: instanceParam,
    answer: z.object({ rewrapped: z.number().int(), items: z.array(rootReportRow) }),
    repeatable: true,
    problems: ["notFound", "rootUnavailable", "rootDenied", "rootDisabled", "rootGone"],
    audit: "root.rewrap",
    command: {
      words: "root-of-trust rewrap",
      list: {
        of: "regions",
        columns: ["REGION=region", "STALE=stale", "VERSION=currentVersion", "ROOT=root"],
      },
    },
  },
  reportRoots: {
    method: "GET",
    path: "/v1/root-of-trust/report",
    summary: "Report how many KEKs are wrapped under each version of the root keys.",
    tag: "Roots of trust",
    roles: may.read,
    scope: "system",
    answer: z.object({
      items: z.array(rootReportRow),
      notes: z
        .array(z.string())
        .optional()
        .describe("What to know about the kinds of root of trust in the report."),
    }),
    problems: [],
    command: {
      words: "root-of-trust report",
      list: {
        of: "instances",
        columns: [
          "INSTANCE=name",
          "REGION=region",
          "STATE=state",
          "STALE=stale",
          "VERSION=currentVersion",
          "VERSIONS=versions",
          "ENDS=ends",
          "ROOT=root",
          "NEXT=next",
        ],
      },
    },
  },
} as const satisfies Routes;
