import { STATUS_CODES } from "node:http";

/** The text of a refusal, next to its status. */
interface RefusalText {
  readonly code?: string;
  readonly message?: string;
  readonly target?: { readonly type: "field" | "query_param"; readonly name: string };
}

/** A call that IBM's API would refuse. */
export class Refusal extends Error {
  override readonly name = "Refusal";
  readonly status: number;
  readonly text: RefusalText;
  /** `what` says what failed, such as `Key could not be retrieved`. */
  constructor(status: number, what: string, text: RefusalText = {}) {
    super(what);
    this.status = status;
    this.text = text;
  }
}

/** The envelope of an error. Without a code it has no `reasons`, like errors of 2019 and each 401. */
export function errorBody(status: number, what: string, { code, message, target }: RefusalText) {
  const said = `${STATUS_CODES[status] ?? "Error"}: ${what}`;
  const resource =
    code === undefined
      ? { errorMsg: said }
      : {
          errorMsg: `${said}: Please see \`reasons\` for more details (${code})`,
          reasons: [
            {
              code,
              message: message ?? what,
              status,
              moreInfo: "https://cloud.ibm.com/apidocs/key-protect",
              ...(target && { target }),
            },
          ],
        };
  return {
    metadata: { collectionType: "application/vnd.ibm.kms.error+json", collectionTotal: 1 },
    resources: [resource],
  };
}

/** A 400 that names the field. */
export function badField(what: string, name: string, must: string): Refusal {
  return new Refusal(400, what, {
    code: "INVALID_FIELD_ERR",
    message: `The field \`${name}\` must be: ${must}`,
    target: { type: "field", name },
  });
}

/** A 400 that names the parameter of the query. */
export function badQuery(name: string, must: string): Refusal {
  return new Refusal(400, "Query could not be read", {
    code: "INVALID_QUERY_PARAM_ERR",
    message: `The query_param '${name}' must be: ${must}`,
    target: { type: "query_param", name },
  });
}

/** A 400 about the body itself. */
export function badBody(what: string, message: string): Refusal {
  return new Refusal(400, what, { code: "BAD_BODY_ERR", message });
}

/** A 401, which never says why. */
export function unauthorized(): Refusal {
  return new Refusal(401, "The user does not have access to the specified resource");
}
