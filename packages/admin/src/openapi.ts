import { z } from "zod";
import {
  createDocument,
  type ZodOpenApiOperationObject,
  type ZodOpenApiPathsObject,
} from "zod-openapi";
import { contract } from "./contract/index.ts";
import { type ProblemCode, problems } from "./contract/problems.ts";
import type { Route } from "./contract/route.ts";

/** The refusals that any route may give, in addition to those that it names. */
const always: readonly ProblemCode[] = [
  "unauthenticated",
  "forbidden",
  "invalid",
  "tooMany",
  "internal",
];

/** RFC 9457, with a stable `code`. */
const problem = z
  .looseObject({
    type: z.string().meta({ examples: ["urn:holdfast:problem:nameTaken"] }),
    title: z.string(),
    status: z.number().int(),
    detail: z.string().describe("What is wrong and how to fix it, on one line."),
    code: z
      .enum(Object.keys(problems) as [ProblemCode, ...ProblemCode[]])
      .describe("Stable: programs should check only this field."),
    instance: z.string().describe("Names the request in the node's log and in the audit events."),
    errors: z
      .array(z.object({ at: z.string(), says: z.string() }))
      .optional()
      .describe("With `invalid`: what is wrong, by its place in the request."),
  })
  .meta({ id: "Problem", description: "Why a request was refused (RFC 9457)." });

const description = `The management API of Holdfast: instances, roots of trust, certificates, keys, tokens, events.

Every request carries \`Authorization: Bearer TOKEN\`. Each operation names the roles that may call it (\`x-roles\`; a token has one or more) and whether a token that is bound to instances or labels may (\`x-scope\`).

A POST may carry an \`Idempotency-Key\`: repeated with the same key and body, it gets the first answer again and creates nothing twice. Lists are read page by page: \`next\` of a page is \`cursor\` of the request for the following one.`;

/** The contract as OpenAPI 3.1. */
export function openApi(
  version: string,
): Readonly<Record<string, unknown>> & { readonly openapi: string } {
  const paths: ZodOpenApiPathsObject = {};
  for (const [operation, route] of Object.entries(contract) as [string, Route][]) {
    paths[route.path] = {
      ...paths[route.path],
      [route.method.toLowerCase()]: operationOf(operation, route),
    };
  }
  const document = createDocument(
    {
      openapi: "3.1.0",
      info: {
        title: "Holdfast",
        version,
        description,
        license: { name: "Apache-2.0", identifier: "Apache-2.0" },
      },
      servers: [{ url: "https://127.0.0.1:8443", description: "A node's `admin.listen`." }],
      security: [{ bearer: [] }],
      tags: [...new Set(Object.values(contract).map(({ tag }) => tag))].map((name) => ({ name })),
      paths,
      components: {
        securitySchemes: {
          bearer: {
            type: "http",
            scheme: "bearer",
            description:
              "A token that `holdfast token create` printed, or a token of the identity provider.",
          },
        },
      },
    },
    {
      // The format says the same in a readable form.
      override: ({ jsonSchema }) => {
        if (jsonSchema.format === "date-time") delete jsonSchema.pattern;
      },
    },
  );
  return document as unknown as ReturnType<typeof openApi>;
}

function operationOf(operationId: string, route: Route): ZodOpenApiOperationObject {
  const { summary, tag, roles, scope, params, query, body } = route;
  return {
    operationId,
    summary,
    tags: [tag],
    ...(roles === "public" ? { security: [] } : {}),
    "x-roles": roles,
    "x-scope": scope,
    requestParams: {
      ...(params === undefined ? {} : { path: params }),
      ...(query === undefined ? {} : { query }),
      ...headersOf(route),
    },
    ...(body === undefined
      ? {}
      : { requestBody: { required: true, content: { "application/json": { schema: body } } } }),
    responses: { ...success(route), ...refusals(route) },
  };
}

function headersOf({ method, etag, repeatable, dryRun, guarded }: Route) {
  const shape: Record<string, z.ZodType> = {
    ...(guarded === undefined
      ? {}
      : {
          Approval: z
            .string()
            .optional()
            .describe(
              `The approved request that this call uses, where the approval policy names \`${guarded.action}\`: a UUID. Without it, such a call makes a request, and is refused with \`approvalNeeded\`.`,
            ),
        }),
    ...(method === "POST" && repeatable !== true
      ? {
          "Idempotency-Key": z
            .string()
            .min(1)
            .max(128)
            .optional()
            .describe("The same for every repetition of the same request, such as a UUID."),
        }
      : {}),
    ...(etag !== undefined && method !== "GET" && method !== "POST"
      ? {
          "If-Match": (etag === "required" ? z.string() : z.string().optional()).describe(
            "The ETag of the resource to change, as it was read.",
          ),
        }
      : {}),
    ...(dryRun === true
      ? {
          "Dry-Run": z
            .literal("true")
            .optional()
            .describe(
              "Nothing is written: the answer is 200 and `{ dryRun: true }`, or the refusal that the request would get.",
            ),
        }
      : {}),
  };
  return Object.keys(shape).length === 0 ? {} : { header: z.object(shape) };
}

function success({ method, answer, stream, status = 200, etag }: Route) {
  const type = stream === true ? "text/event-stream" : "application/json";
  const words = stream === true ? "Server-Sent Events; the data of each is this." : "Done.";
  return {
    [`${status}`]: {
      description: words,
      content: { [type]: { schema: answer } },
      ...(etag === undefined || method === "DELETE"
        ? {}
        : { headers: z.object({ ETag: z.string().describe("The version.") }) }),
    },
  };
}

/** The refusals of a route, by status. */
function refusals({ problems: own, roles, method, shownOnce, repeatable, guarded }: Route) {
  const codes = [
    ...own,
    ...always.filter((code) => roles !== "public" || code !== "unauthenticated"),
  ];
  if (method === "POST" && repeatable !== true) codes.push("idempotencyMismatch");
  if (shownOnce === true) codes.push("madeAlready");
  if (guarded !== undefined) codes.push("approvalNeeded", "approvalRefused");
  const statuses = [...new Set(codes.map((code) => problems[code].status))].toSorted(
    (one, other) => one - other,
  );
  const of = (status: number) =>
    [...new Set(codes)].filter((code) => problems[code].status === status);
  return Object.fromEntries(
    statuses
      .map((status) => [status, of(status)] as const)
      .map(([status, all]) => [
        `${status}`,
        {
          description: all.map((code) => `\`${code}\`: ${problems[code].title}.`).join(" "),
          content: { "application/problem+json": { schema: problem } },
        },
      ]),
  );
}
