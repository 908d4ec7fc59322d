import { z } from "zod";
import { may, type Routes, roles } from "./route.ts";
import { applied, labels, name, page, pageOf, time, uuid } from "./shapes.ts";

const tokenRoles = z.array(z.enum(roles));

/** A token, without its secret. */
const token = z
  .object({
    id: uuid,
    name: z.string(),
    roles: tokenRoles,
    instances: z.array(z.string()).optional().describe("Identifiers; absent = all."),
    labels: labels.optional().describe("It reaches the instances that have all of these."),
    createdAt: time,
    createdBy: z.string(),
    expiresAt: time,
    state: z.enum(["valid", "expired", "revoked"]),
    regions: applied,
  })
  .meta({ id: "Token" });

/** Routes for tokens. */
export const accessRoutes = {
  whoAmI: {
    method: "GET",
    path: "/v1/whoami",
    summary: "Show whose token this is, and what it may do.",
    tag: "Access",
    roles: may.readEvents,
    scope: "instance",
    answer: z.object({
      name: z.string(),
      roles: tokenRoles,
      instances: z
        .array(z.string())
        .optional()
        .describe("Identifiers of the instances that it reaches now; absent = all."),
      labels: labels.optional(),
      expiresAt: time.optional(),
      region: z.string(),
      node: z.string(),
      version: z.string(),
    }),
    problems: [],
    command: { words: "whoami" },
  },
  listTokens: {
    method: "GET",
    path: "/v1/tokens",
    summary: "List tokens; never their secrets.",
    tag: "Access",
    roles: may.giveTokens,
    scope: "system",
    query: page,
    answer: pageOf(token),
    problems: [],
    command: {
      words: "token list",
      list: {
        of: "tokens",
        columns: [
          "NAME=name",
          "ROLES=roles",
          "STATE=state",
          "EXPIRES=expiresAt",
          "INSTANCES=instances",
          "LABELS=labels",
        ],
        wide: ["ID=id"],
      },
    },
  },
  createToken: {
    method: "POST",
    path: "/v1/tokens",
    summary: "Make a token; it is shown once.",
    tag: "Access",
    roles: may.giveTokens,
    scope: "system",
    body: z
      .object({
        name,
        roles: tokenRoles
          .min(1)
          .max(roles.length)
          .describe(
            "What it may do. viewer: read. auditor: read events only. operator: also change keys. security-officer: also certificates, users, deny list. manager: also keys, instances, roots of trust. A manager gives all roles but security-officer, and a security officer gives only that one.",
          ),
        instances: z
          .array(z.string().max(64))
          .min(1)
          .max(100)
          .optional()
          .describe("Identifiers or names; it reaches only these."),
        labels: labels
          .refine((all) => Object.keys(all).length > 0, "at least one label")
          .optional()
          .describe(
            "It reaches only instances that have all of these labels; with `instances`, only those of them.",
          ),
        days: z.number().int().min(1).max(366).default(90),
      })
      .strict(),
    answer: z.object({ token, secret: z.string().describe("Bearer token; shown only once.") }),
    status: 201,
    shownOnce: true,
    problems: ["nameTaken", "notFound", "storeUnavailable"],
    audit: "token.create",
    makes: "token",
    guarded: {
      action: "give-role",
      instances: "instances",
      when: ({ body }) => {
        const given = body["roles"] as readonly string[];
        return given.includes("manager") || given.includes("security-officer");
      },
    },
    command: {
      words: "token create",
      output: [{ field: "secret", option: "secret-out" }],
      example: "holdfast token create --name ci --roles operator --secret-out ci.token",
    },
  },
  revokeToken: {
    method: "DELETE",
    path: "/v1/tokens/{token}",
    summary: "Revoke a token that has a role that you may give: within a second at every node.",
    tag: "Access",
    roles: may.giveTokens,
    scope: "system",
    params: z.object({ token: z.string().min(1).max(64).describe("Identifier or name.") }),
    answer: z.object({ id: uuid, regions: applied }),
    problems: ["notFound", "storeUnavailable"],
    audit: "token.revoke",
    command: { words: "token revoke" },
  },
} as const satisfies Routes;
