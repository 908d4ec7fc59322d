export { type Address, parseAddress, printAddress, reachOf } from "./address.ts";
export { purposes } from "./certificates.ts";
export { checkout } from "./checkout.ts";
export { findRedisServer } from "./redis-program.ts";
export { codeOf, reasonOf, OperatorError } from "./operator-error.ts";
export { machine } from "./system.ts";
