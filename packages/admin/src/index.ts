export {
  type ApprovalAction,
  type ApprovalPolicy,
  type Approver,
  approvalActions,
  type InstancePart,
  instanceActions,
  type PolicyPart,
  parsePolicy,
  partsAsking,
  partsOf,
  policyFault,
  policyText,
  signersOf,
  unadmitted,
} from "./approvals/policy.ts";
export {
  type ApprovalText,
  callIn,
  callMax,
  canonicalJson,
  documentOf,
  parseRequest,
  readDocument,
  requestText,
} from "./approvals/request.ts";
export {
  digestOf,
  newApproverKey,
  publicKeyText,
  readSignatures,
  signatureLine,
} from "./approvals/signature.ts";
export {
  approverName,
  cancelText,
  isReason,
  printSignature,
  type SignatureLine,
} from "./approvals/text.ts";
export { type AdminCallOptions, AdminClient, type AdminClientOptions } from "./client/client.ts";
export { AdminProblem, AdminUnreachable } from "./client/errors.ts";
export type { CommandRow, Layout } from "./contract/command.ts";
export { faultsOf, type InputFault } from "./contract/faults.ts";
export { type Contract, contract, type Handlers, type RouteAction } from "./contract/index.ts";
export { ManagementError, type ProblemCode, problems } from "./contract/problems.ts";
export { rootReference, secretPlace } from "./contract/roots.ts";
export {
  type Answer,
  type Call,
  type Guard,
  type HandlersOf,
  type Makes,
  type Method,
  type Principal,
  type Reply,
  type Role,
  type Route,
  type RouteRequest,
  type Routes,
  roles,
} from "./contract/route.ts";
export { openApi } from "./openapi.ts";
