export { newerRecord } from "../memory/memory-partition.ts";
export {
  type AuditLogSubject,
  auditLogConformance,
  auditLogKept,
} from "./audit-log-conformance.ts";
export { type KekStoreSubject, kekStoreConformance } from "./kek-store-conformance.ts";
export { type LocksSubject, locksConformance } from "./locks-conformance.ts";
export {
  anyManagedObject,
  customItem,
  groupItem,
  nameItem,
  sampleObject,
  sampleRegister,
} from "./managed-object-conformance.ts";
export { objectStoreConformance } from "./object-store-conformance.ts";
export { ownStoreModel } from "./own-model-conformance.ts";
export { ownStoreConformance } from "./own-store-conformance.ts";
export type { OwnStoreSubject } from "./own-world-conformance.ts";
export { type RootOfTrustSubject, rootOfTrustConformance } from "./root-of-trust-conformance.ts";
export { type StoreModelOptions, storeModel } from "./store-model-conformance.ts";
export type { ObjectStoreSubject } from "./world-conformance.ts";
