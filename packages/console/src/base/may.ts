import { who } from "./api.ts";
import { type OperationName, operations, type Who } from "./contract.ts";
import { mayCall } from "./may-call.ts";

/** Whether the person who is signed in is offered an operation. */
export function may(name: OperationName): boolean {
  return mayCall(operations[name], who.value as Who);
}
