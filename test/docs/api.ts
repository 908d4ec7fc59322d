import { contract, openApi, problems, type Route } from "@holdfast/admin";
import { version } from "@holdfast/server";
import { code, madeFrom, table } from "./markdown.ts";

/** The contract as OpenAPI 3.1. */
export function openApiJson(): string {
  return `${JSON.stringify(openApi(version), undefined, 2)}\n`;
}

/** The reference of the admin API: what OpenAPI does not say, and what a reader wants at a glance. */
export function api(): string {
  const routes = Object.entries(contract) as [string, Route][];
  const tags = [...new Set(routes.map(([, { tag }]) => tag))];
  return [
    "# The management API",
    "",
    madeFrom("the contract in `packages/admin/src/contract`"),
    "",
    ...introduction,
    "",
    "## Operations",
    "",
    "`roles` are the roles that may call the operation. Where `bound` says yes, tokens that are bound to instances or labels may call it for their instances. [openapi.json](openapi.json) has the parameters, bodies and responses.",
    ...tags.flatMap((tag) => [
      "",
      `### ${tag}`,
      "",
      table(
        ["operation", "request", "roles", "bound", "purpose"],
        routes.flatMap(([operation, { method, path, roles, scope, summary, tag: of }]) =>
          of === tag
            ? [
                [
                  code(operation),
                  code(`${method} ${path}`),
                  roles === "public" ? roles : roles.join(", "),
                  scope === "instance" ? "yes" : "",
                  summary,
                ],
              ]
            : [],
        ),
      ),
    ]),
    "",
    "## Errors",
    "",
    "An error is a problem document (RFC 9457, `application/problem+json`). The meaning of a `code` never changes, so programs can rely on it. `detail` is one line for people: what is wrong and how to fix it. `instance` is the identifier of the request in the node's log and in the audit events.",
    "",
    table(
      ["code", "status", "means"],
      Object.entries(problems).map(([name, { status, title }]) => [code(name), `${status}`, title]),
    ),
    "",
    ...after,
    "",
  ].join("\n");
}

const introduction = [
  "A node serves the management API if its configuration has the group [`admin`](configuration.md#admin): HTTPS only, TLS 1.2 or newer, on its own address. All nodes of both regions give the same answers. Each region stores its own audit events (`/v1/events`, and who did what in a key's `history`): a node asks the other region for its events, and the field `missing` names a region that could not be asked, see [audit.md](audit.md). The OpenAPI 3.1 description is at `/v1/openapi.json`, the only path that needs no token. `holdfast` and `AdminClient` of `packages/admin` use the same contract.",
  "",
  "## Tokens",
  "",
  "Every request carries `Authorization: Bearer TOKEN`. A token has one or more roles, which [Tokens of the management API](certificates.md#tokens-of-the-management-api) explains; the tables below say what each may call. A token may be bound to instances, and to labels of instances. Then it has access to these instances only: any other instance is answered as if it did not exist, and operations on the whole system are refused. A revoked token stops working within a second at every node, and its open event streams end.",
  "",
  "With [`admin.oidc`](configuration.md#adminoidc), nodes also accept tokens of an identity provider (OpenID Connect). Such a token must be signed with a public-key algorithm by a key of the issuer, be for the audience, and not be expired. A claim gives the roles; a token without a role is refused. Another claim can bind the token to instances; if that claim is configured, a token without it has access to no instance.",
  "",
  "Denied requests are audit events: at most ten a second, and the next event counts those left out. An address may send twenty requests without a valid token, then one a second. The limit for each token is `admin.requestsPerSecond`.",
  "",
  "## Requests",
  "",
  "- Bodies are JSON (`Content-Type: application/json`), 256 KiB at most unless the operation says otherwise. Fields and query parameters that are not in the contract are refused.",
  "- `{instance}` is the identifier of an instance, or the name of an instance that is not deleted.",
  "- `GET /v1/…` of a list returns a page: `items`, and `next` if there are more. Send `next` as `cursor`, with the same filters. A short page may also have a `next`.",
  "- If a response has an `ETag`, as that of an instance, a PATCH or DELETE of the same thing can send it as `If-Match`; if the thing has changed since, the answer is `preconditionFailed`. A GET can send it as `If-None-Match`.",
  '- Operations that `holdfast apply` uses accept the header `Dry-Run: true`: the request is validated and checked as usual, but nothing is written, not even an audit event. The answer is 200 and `{ "dryRun": true }`, or the error that the request would get.',
  "- A POST that creates or changes something can send an `Idempotency-Key` (1 to 128 visible ASCII characters, such as a UUID). The identifier of a new resource is made from the token, the operation, the instance and that key. A repetition at any node of either region, even after a crash, therefore creates nothing twice: the answer is the resource that exists. The node that answered also keeps its last thousand answers of up to 32 KiB each for 24 hours, and refuses the same key with another body. Secrets that are shown once are never kept: the repetition of such a request is answered `madeAlready`.",
  "- The answer to a change has `regions`: the regions that have the change now. Instances, certificates, users and tokens are read from the node's memory, so this works while no store can be read. If that lasts longer than ten seconds, a token that was valid before can still read, but can change nothing. Writes are answered `storeUnavailable` if neither region's store accepts them.",
];

const after = [
  "Every operation can answer `invalid`, `unauthenticated`, `forbidden`, `tooMany` (with `Retry-After`) and `internal`.",
  "",
  "## Events as they happen",
  "",
  "`GET /v1/events/stream` sends Server-Sent Events, and a comment every 15 s. The node closes the connection of a client that reads nothing for 30 s. To continue after a connection has ended, send the last `id` as `Last-Event-ID`, as `AdminClient.follow` does. The stream has both regions' events; if a region cannot be reached, its events follow when it can be reached again.",
  "",
  "## From a shell",
  "",
  "```sh",
  "curl -fsS --cacert ca.pem -H @auth https://127.0.1.1:8443/v1/instances",
  "```",
];
