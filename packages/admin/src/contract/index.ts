import { accessRoutes } from "./access.ts";
import { approvalRoutes } from "./approvals.ts";
import { certificateRoutes } from "./certificates.ts";
import { denialRoutes } from "./denials.ts";
import { eventRoutes } from "./events.ts";
import { instanceRoutes } from "./instances.ts";
import { keyRoutes } from "./keys.ts";
import { rootRoutes } from "./roots.ts";
import type { HandlersOf } from "./route.ts";
import { systemRoutes } from "./system.ts";

/** The contract by operation: the source of validation, OpenAPI, client and access matrix. */
export const contract = {
  ...instanceRoutes,
  ...rootRoutes,
  ...certificateRoutes,
  ...denialRoutes,
  ...keyRoutes,
  ...accessRoutes,
  ...approvalRoutes,
  ...eventRoutes,
  ...systemRoutes,
} as const;

/** The contract's type. */
export type Contract = typeof contract;

/** The actions of the routes' audit events. */
export type RouteAction = {
  [Name in keyof Contract]: Contract[Name] extends { readonly audit: infer Action }
    ? Action
    : never;
}[keyof Contract];

/** What the server must have: one handler for each operation. */
export type Handlers = HandlersOf<Contract>;
