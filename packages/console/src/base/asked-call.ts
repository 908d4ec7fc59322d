import type { Operation } from "./contract.ts";

type Values = Readonly<Record<string, unknown>>;

/** A call that approvers were asked about, as the form of its operation begins. */
export interface AskedCall {
  readonly params: Readonly<Record<string, string>>;
  /** What it is done to: what a person types again to confirm. */
  readonly target: string;
  /** Fields of the query and of the body; a secret is an empty text, since a request does not have it. */
  readonly given: Values;
}

/** What a request for approvals has in the place of a secret. */
const notShown = "(secret)";

/** Whether the document of a request leaves out a secret. */
export function leavesOutSecret(document: string): boolean {
  return document.includes(`"${notShown}"`);
}

/** Reads the call of a request's document; `target` is what the request names. */
export function askedCall(
  call: unknown,
  { command: { confirm } }: Pick<Operation, "command">,
  target: string,
): AskedCall {
  const {
    params = {},
    query = {},
    body = {},
  } = call as {
    readonly params?: Readonly<Record<string, string>>;
    readonly query?: Values;
    readonly body?: Values;
  };
  const given = withoutSecrets({ ...query, ...body }) as Values;
  const confirmed = confirm === undefined ? undefined : given[confirm.field];
  const own = Object.entries(params).find(([name]) => name !== "instance")?.[1];
  return { params, given, target: typeof confirmed === "string" ? confirmed : (own ?? target) };
}

function withoutSecrets(value: unknown): unknown {
  if (value === notShown) return "";
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  const fields = Object.entries(value).map(([name, each]) => [name, withoutSecrets(each)]);
  return Object.fromEntries(fields);
}
