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
    "The least role that may call each; `bound` tokens may too where the operation is about their instances. Parameters, bodies and answers are in [openapi.json](openapi.json).",
    ...tags.flatMap((tag) => [
      "",
      `### ${tag}`,
      "",
      table(
        ["operation", "request", "role", "bound", "does"],
        routes.flatMap(([operation, { method, path, role, scope, summary, tag: of }]) =>
          of === tag
            ? [
                [
                  code(operation),
                  code(`${method} ${path}`),
                  role,
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
    "A refusal is a problem document (RFC 9457, `application/problem+json`). `code` never changes its meaning: programs look at it. `detail` is one line for people, with the mend. `instance` names the request in the node's log and in the audit events.",
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
  "Each node has it where its configuration has the group [`admin`](configuration.md#admin): HTTPS only, TLS 1.2 or newer, on an address of its own. All nodes of both regions answer the same. Audit events (`/v1/events`, and who did what in a key's `history`) lie in the region that wrote them: a node asks the other region for its events, and the field `missing` names a region that could not be asked, see [audit.md](audit.md). It is served as OpenAPI 3.1 at `/v1/openapi.json`, the only path that needs no token; `holdfast` and `AdminClient` of `packages/admin` are made from the same contract.",
  "",
  "## Tokens",
  "",
  "Every request carries `Authorization: Bearer TOKEN`. A token has one of three roles, each with all that those before it may: **viewer** reads; **operator** manages certificates, users and keys; **manager** manages instances, roots of trust and tokens. It may be bound to instances: then it sees these alone, every other is answered as one that there is not, and what is about the whole system is refused. A revoked token ends within a second at every node, open event streams included.",
  "",
  "Tokens of an identity provider (OpenID Connect) are taken beside Holdfast's own where [`admin.oidc`](configuration.md#adminoidc) is set: signed with a public-key algorithm by a key of the issuer, for the audience, not expired. A claim gives the role; whoever has none is nobody. Another claim may bind the token to instances; where that is set, a token without it is bound to none.",
  "",
  "Denials are audit events: ten a second at most, and the next event counts those left out. An address may send twenty requests without a valid token, then one a second. A token may make `admin.requestsPerSecond`.",
  "",
  "## Requests",
  "",
  "- Bodies are JSON (`Content-Type: application/json`), 256 KiB at most unless the operation says otherwise. What the contract does not name, in body or query, is refused.",
  "- `{instance}` is an identifier, or the name of an instance that is not deleted.",
  "- `GET /v1/…` of a list answers a page: `items`, and `next` where there is more; send it as `cursor`, with the same filters. A page may be short and have a `next`.",
  "- Where an answer has an `ETag`, a change may send it as `If-Match`; what has changed meanwhile is `preconditionFailed`. A GET may send it as `If-None-Match`.",
  '- Operations that `holdfast apply` uses take the header `Dry-Run: true`: the request is validated and checked as always, and nothing is written. The answer is 200 and `{ "dryRun": true }`, or the refusal that the request would get; no event is left.',
  "- A POST that makes or changes something may send an `Idempotency-Key` (1 to 128 visible ASCII characters, such as a UUID). What it makes is made under an identifier that comes from the token, the operation, the instance and that key, so that a repetition at whichever node of either region, after a crash too, makes nothing twice: it is answered with what is there. The node that answered also keeps its last thousand answers of up to 32 KiB each for 24 hours, and refuses a key with another body. Secrets that are shown once are never kept: the repetition of such a request is `madeAlready`.",
  "- Changes answer `regions`: which regions have them now. Instances, certificates, users and tokens are read from what the node holds in memory, also while no store can be read: a token that was valid then may read on after ten seconds, and change nothing. Writes are `storeUnavailable` where neither region's store takes them.",
];

const after = [
  "Every operation may answer `invalid`, `unauthenticated`, `forbidden`, `tooMany` (with `Retry-After`) and `internal`.",
  "",
  "## Events as they happen",
  "",
  "`GET /v1/events/stream` answers Server-Sent Events. A comment comes every 15 s. A reader that takes nothing for 30 s is cut off. After a connection ended, send the last `id` as `Last-Event-ID`; `AdminClient.follow` does. The stream has both regions' events; those of a region that is cut off come when it can be asked again.",
  "",
  "## From a shell",
  "",
  "```sh",
  "curl -fsS --cacert ca.pem -H @auth https://127.0.1.1:8443/v1/instances",
  "```",
];
