export { makeRegionKey, publicHalf, readRegionKey } from "@holdfast/regions";
export { type Address, parseAddress, printAddress, reachOf, SocketPath } from "./address.ts";
export { purposes } from "./certificates.ts";
export { checkout } from "./checkout.ts";
export { codeOf, OperatorError, reasonOf } from "./operator-error.ts";
export { findRedisServer } from "./redis-program.ts";
export { machine } from "./system.ts";
