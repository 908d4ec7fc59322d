import { type Call, type Contract, contract, type Route } from "@holdfast/admin";
import { repeatedId } from "../../packages/server/src/admin/idempotency.ts";
import { problemOf } from "../../packages/server/src/admin/problem.ts";

/** The operations that histories call. */
type Operation =
  | "createInstance"
  | "readInstance"
  | "updateInstance"
  | "deleteInstance"
  | "restoreKey";

/** What an operator sends; `key` is an idempotency key. */
export interface Sent {
  readonly params?: object;
  readonly query?: object;
  readonly body?: object;
  readonly ifMatch?: string | undefined;
  readonly key?: string;
}

const principal = {
  id: "operator",
  name: "operator",
  roles: ["manager", "security-officer"],
  instances: undefined,
  remote: "::1",
} as const;

/** A call of the management API, as its listener makes one of a request. */
export function callOf<Name extends Operation>(
  operation: Name,
  { params, query, body, ifMatch, key }: Sent,
): Call<Contract[Name]> {
  const { audit }: Route = contract[operation];
  const { signal } = new AbortController();
  const newId = key === undefined ? "" : repeatedId({ key, operation, principal, params });
  const call = { principal, params, query, body, ifMatch, newId, audit, signal };
  return { ...call, requestId: "r", lastEventId: undefined } as unknown as Call<Contract[Name]>;
}

/** The answer of a handler: its value, or the code of its refusal. */
export type HandlerAnswer<Value> =
  | { readonly kind: "done"; readonly value: Value }
  | { readonly kind: "refused"; readonly code: string };

/** Runs a handler; rejects with errors that are no refusals. */
export async function answerOf<Value>(work: () => Promise<Value>): Promise<HandlerAnswer<Value>> {
  try {
    return { kind: "done", value: await work() };
  } catch (error) {
    const { code } = problemOf(error, "r");
    if (code === "internal") throw error;
    return { kind: "refused", code };
  }
}
