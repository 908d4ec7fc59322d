import { accessRoutes } from "./access.ts";
import { certificateRoutes } from "./certificates.ts";
import { eventRoutes } from "./events.ts";
import { instanceRoutes } from "./instances.ts";
import { keyRoutes } from "./keys.ts";
import { rootRoutes } from "./roots.ts";
import type { HandlersOf } from "./route.ts";
import { systemRoutes } from "./system.ts";

/** The whole contract, by operation: validation, OpenAPI, the client and the access matrix are made from it. */
export const contract = {
  ...instanceRoutes,
  ...rootRoutes,
  ...certificateRoutes,
  ...keyRoutes,
  ...accessRoutes,
  ...eventRoutes,
  ...systemRoutes,
} as const;

/** The contract's type. */
export type Contract = typeof contract;

/** The actions of the audit events of routes. */
export type RouteAction = {
  [Name in keyof Contract]: Contract[Name] extends { readonly audit: infer Action }
    ? Action
    : never;
}[keyof Contract];

/** What the server must have: one handler an operation. */
export type Handlers = HandlersOf<Contract>;
