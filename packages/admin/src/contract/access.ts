import { z } from "zod";
import { type Routes, roles } from "./route.ts";
import { applied, name, page, pageOf, time, uuid } from "./shapes.ts";

const role = z.enum(roles);

/** A token, without its secret. */
const token = z
  .object({
    id: uuid,
    name: z.string(),
    role,
    instances: z.array(z.string()).optional().describe("Identifiers; absent = all."),
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
    role: "viewer",
    scope: "instance",
    answer: z.object({
      name: z.string(),
      role,
      instances: z.array(z.string()).optional(),
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
    role: "manager",
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
          "ROLE=role",
          "STATE=state",
          "EXPIRES=expiresAt",
          "INSTANCES=instances",
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
    role: "manager",
    scope: "system",
    body: z
      .object({
        name,
        role,
        instances: z.array(z.string().max(64)).min(1).max(100).optional(),
        days: z.number().int().min(1).max(366).default(90),
      })
      .strict(),
    answer: z.object({ token, secret: z.string().describe("Bearer token; shown only once.") }),
    status: 201,
    shownOnce: true,
    problems: ["nameTaken", "notFound", "storeUnavailable"],
    audit: "token.create",
    makes: "token",
    command: {
      words: "token create",
      output: [{ field: "secret", option: "secret-out" }],
      example: "holdfast token create --name ci --role operator --secret-out ci.token",
    },
  },
  revokeToken: {
    method: "DELETE",
    path: "/v1/tokens/{token}",
    summary: "Revoke a token: within a second at every node.",
    tag: "Access",
    role: "manager",
    scope: "system",
    params: z.object({ token: z.string().min(1).max(64).describe("Identifier or name.") }),
    answer: z.object({ id: uuid, regions: applied }),
    problems: ["notFound", "storeUnavailable"],
    audit: "token.revoke",
    command: { words: "token revoke" },
  },
} as const satisfies Routes;
