import { z } from "zod";
import { may, type Routes } from "./route.ts";
import { flag, instanceParam, page, pageOf, region, sha256, time, uuid } from "./shapes.ts";

/** KMIP 2.1, 11.55. */
const keyState = z.enum([
  "PreActive",
  "Active",
  "Deactivated",
  "Compromised",
  "Destroyed",
  "DestroyedCompromised",
]);

const statesForm = `(${keyState.options.join("|")})`;

/** An object in a list: never its material. */
const key = z
  .object({
    id: uuid,
    type: z.string().describe("Object Type: SymmetricKey, …"),
    state: keyState,
    algorithm: z.string().optional(),
    length: z.number().int().optional().describe("Bits; not shown for Secret Data."),
    names: z.array(z.string()),
    xIdentifier: z.string().optional().describe("vCenter's x-Identifier."),
    xName: z.string().optional().describe("vCenter's x-Name."),
    createdAt: time.optional(),
    createdBy: z.string().optional().describe("Fingerprint of the creating client's certificate."),
    activatedAt: time.optional(),
    lastChangeAt: time.optional(),
    kek: z.string().optional().describe("Which KEK seals it."),
    restorableUntil: time
      .optional()
      .describe("Present if it is destroyed and can be restored: when its material is erased."),
  })
  .meta({ id: "Key" });

/** An event in the history of an object. */
const keyFact = z.object({
  time,
  what: z.string(),
  region: z.string(),
  by: z.string().optional(),
  detail: z.string().optional(),
});

/** An object in full, never with its material. */
const keyDetails = key
  .extend({
    attributes: z.array(
      z.object({ name: z.string(), index: z.number().int(), value: z.unknown() }),
    ),
    history: z.array(keyFact),
  })
  .meta({ id: "KeyDetails" });

/** TTLV in base64. */
const ttlv = z.base64().min(1).max(131_072);

/** An object of another key manager, as its Get and Get Attributes show it. */
const importedKey = z
  .object({
    identifier: z
      .string()
      .min(1)
      .max(255)
      .describe(
        "Unique Identifier at the source; a lower-case UUID is kept, any other is refused.",
      ),
    objectType: z.enum([
      "Certificate",
      "SymmetricKey",
      "PublicKey",
      "PrivateKey",
      "SplitKey",
      "SecretData",
      "OpaqueObject",
      "PGPKey",
      "CertificateRequest",
    ]),
    state: z.enum(["PreActive", "Active", "Deactivated", "Compromised"]),
    attributes: ttlv.describe(
      "Its attributes: the structure Attributes (0x420125) of KMIP 2.1, in TTLV and base64.",
    ),
    value: ttlv.describe(
      "The object: the structure of KMIP 2.1, such as Symmetric Key (0x42008F) with its Key Block, not wrapped, in TTLV and base64.",
    ),
  })
  .strict();

/** What became of an object. */
const importResult = z.object({
  identifier: z.string(),
  outcome: z
    .enum(["Imported", "AlreadyThere", "Clash", "Refused", "TryAgain"])
    .describe(
      "AlreadyThere: the same object with the same material, of an earlier call. Clash: the identifier or a Name is taken. Refused: never possible as it is; `reason` says why. TryAgain: nothing was decided, or it is not known to be durable in both regions: send the same again.",
    ),
  reason: z.string().optional().describe("Why it was not imported; never with material."),
  digest: sha256
    .optional()
    .describe(
      "SHA-256 of the key, of Imported and AlreadyThere symmetric keys of 112 bits or more.",
    ),
  left: z
    .array(z.string())
    .optional()
    .describe(
      "Names of the attributes that did not come along: the server sets these itself, or cannot keep them.",
    ),
});

const keyParam = instanceParam.extend({ key: uuid });

const changeProblems = [
  "notFound",
  "wrongState",
  "conflict",
  "peerUnreachable",
  "storeUnavailable",
] as const;

/** Keys and other managed objects. */
export const keyRoutes = {
  listKeys: {
    method: "GET",
    path: "/v1/instances/{instance}/keys",
    summary: "List and search an instance's objects, newest first; never their material.",
    tag: "Keys",
    roles: may.read,
    scope: "instance",
    params: instanceParam,
    query: page.extend({
      state: keyState.optional(),
      states: z
        .string()
        .regex(new RegExp(`^${statesForm}(,${statesForm}){0,5}$`), "states with commas between")
        .optional()
        .describe("Several states, with commas between."),
      algorithm: z.string().max(64).optional(),
      type: z.string().max(64).optional(),
      createdAfter: time.optional(),
      createdBefore: time.optional(),
      xIdentifier: z.string().max(512).optional(),
      xName: z.string().max(512).optional(),
      name: z.string().max(512).optional(),
      createdBy: z.string().max(64).optional().describe("Fingerprint of the creating certificate."),
      restorable: flag.optional().describe("Only destroyed objects that can be restored."),
    }),
    answer: pageOf(key),
    problems: ["notFound", "storeUnavailable"],
    command: {
      words: "key list",
      list: {
        of: "keys",
        columns: [
          "ID=id",
          "STATE=state",
          "NAMES=names",
          "CREATED=createdAt",
          "ALGORITHM=algorithm",
          "BITS=length",
          "X-IDENTIFIER=xIdentifier",
        ],
        wide: ["RESTORABLE-UNTIL=restorableUntil"],
      },
    },
  },
  countKeys: {
    method: "GET",
    path: "/v1/instances/{instance}/key-counts",
    summary: "Count an instance's objects by State.",
    tag: "Keys",
    roles: may.read,
    scope: "instance",
    params: instanceParam,
    answer: z.object({
      total: z.number().int(),
      states: z.record(z.string(), z.number().int()),
      region,
    }),
    problems: ["notFound", "storeUnavailable"],
    command: { words: "key count" },
  },
  readKey: {
    method: "GET",
    path: "/v1/instances/{instance}/keys/{key}",
    summary: "Show an object's attributes and history; never its material.",
    tag: "Keys",
    roles: may.read,
    scope: "instance",
    params: keyParam,
    query: z.object({
      history: flag
        .optional()
        .describe("false: without the history, for which other regions may be asked."),
    }),
    answer: keyDetails,
    problems: ["notFound", "storeUnavailable"],
    command: { words: "key show", hidden: ["history"] },
  },
  activateKey: {
    method: "POST",
    path: "/v1/instances/{instance}/keys/{key}/activate",
    summary: "Activate an object.",
    tag: "Keys",
    roles: may.operate,
    scope: "instance",
    params: keyParam,
    answer: key,
    problems: changeProblems,
    command: { words: "key activate" },
  },
  revokeKey: {
    method: "POST",
    path: "/v1/instances/{instance}/keys/{key}/revoke",
    summary: "Revoke an object: it becomes Deactivated or Compromised, depending on the reason.",
    tag: "Keys",
    roles: may.operate,
    scope: "instance",
    params: keyParam,
    body: z
      .object({
        reason: z.enum([
          "Unspecified",
          "KeyCompromise",
          "CACompromise",
          "AffiliationChanged",
          "Superseded",
          "CessationOfOperation",
          "PrivilegeWithdrawn",
        ]),
        message: z.string().max(512).optional(),
        compromisedAt: time.optional(),
      })
      .strict(),
    answer: key,
    problems: changeProblems,
    guarded: { action: "destroy-key" },
    command: {
      words: "key revoke",
      example: "holdfast key revoke kmip-prod UUID --reason CessationOfOperation",
    },
  },
  destroyKey: {
    method: "DELETE",
    path: "/v1/instances/{instance}/keys/{key}",
    summary:
      "Destroy an object: for ever, or until it is restored within the instance's delay. An Active object must be revoked first.",
    tag: "Keys",
    roles: may.operate,
    scope: "instance",
    params: keyParam,
    query: z.object({
      force: z.enum(["true", "false"]).optional().describe("Revoke it first if it is Active."),
      confirm: z.string().max(64).optional().describe("With `force`: the identifier, typed again."),
    }),
    answer: key,
    problems: [...changeProblems, "keyActive", "confirmationNeeded"],
    guarded: { action: "destroy-key" },
    command: {
      words: "key destroy",
      confirm: {
        field: "confirm",
        of: "the identifier of the key",
        when: "force",
        does: "destroyed",
      },
    },
  },
  restoreKey: {
    method: "POST",
    path: "/v1/instances/{instance}/keys/{key}/restore",
    summary:
      "Restore a destroyed object whose material is not erased yet, in both regions. It has the State of before again.",
    tag: "Keys",
    roles: may.operate,
    scope: "instance",
    params: keyParam,
    answer: key.extend({
      warning: z
        .string()
        .optional()
        .describe("Present if another object has one of its names now: it lost that name."),
    }),
    problems: changeProblems,
    audit: "key.restore",
    guarded: { action: "destroy-key" },
    command: { words: "key restore", example: "holdfast key restore kmip-prod UUID" },
  },
  importKeys: {
    method: "POST",
    path: "/v1/instances/{instance}/keys/import",
    summary:
      "Take over objects of another key manager with their identifiers, states and dates: each is imported in both regions, or answered with why not. Repeating it is safe.",
    tag: "Keys",
    roles: may.manage,
    scope: "instance",
    params: instanceParam,
    body: z.object({ keys: z.array(importedKey).min(1).max(50) }).strict(),
    answer: z.object({
      results: z.array(importResult).describe("In the order of the request."),
    }),
    repeatable: true,
    problems: ["notFound", "wrongState", "storeUnavailable", "rootDenied", "rootUnavailable"],
    audit: "key.import",
    // No command of its own: material is never an argument or in a file. `holdfast migrate` calls it.
    command: { words: "migrate --keep-identifiers" },
  },
  reportOrphans: {
    method: "POST",
    path: "/v1/instances/{instance}/orphans",
    summary:
      "Report the keys that none of the given identifiers names: no listed VM or host uses them. Upper and lower case are the same; a list in which no identifier names a key is refused.",
    tag: "Keys",
    roles: may.operate,
    scope: "instance",
    params: instanceParam,
    query: page,
    body: z.object({ inUse: z.array(z.string().min(1).max(64)).min(1).max(1_000_000) }).strict(),
    bodyMax: 41_943_040,
    answer: pageOf(key).extend({
      given: z.number().int().describe("Number of identifiers given."),
      matched: z.number().int().describe("Keys that they name in this page's part of the list."),
    }),
    repeatable: true,
    problems: ["notFound", "storeUnavailable"],
    command: {
      words: "key orphans",
      files: { inUse: "in-use" },
      list: {
        of: "orphans",
        columns: ["ID=id", "STATE=state", "NAMES=names", "CREATED=createdAt"],
      },
      example: "holdfast key orphans kmip-prod --in-use identifiers.txt",
    },
  },
} as const satisfies Routes;
