export { type ClientOptions, clientDefaults, KmipClient } from "./client.ts";
export { Connection, type ConnectionOptions, type TlsCredentials } from "./connection.ts";
export { type Endpoint, kmipPort, parseEndpoint, printEndpoint } from "./endpoint.ts";
export {
  ConnectionError,
  type ConnectionFailure,
  failureReason,
  KmipClientError,
  MalformedResponseError,
} from "./errors.ts";
export type { CallOptions } from "./operation-methods.ts";
