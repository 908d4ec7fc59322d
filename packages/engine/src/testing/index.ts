export {
  type AuditLogSubject,
  auditLogConformance,
  auditLogKept,
} from "./conformance/audit-log-conformance.ts";
export { auditTreeConformance } from "./conformance/audit-tree-conformance.ts";
export { type KekStoreSubject, kekStoreConformance } from "./conformance/kek-store-conformance.ts";
export { type LocksSubject, locksConformance } from "./conformance/locks-conformance.ts";
export {
  anyManagedObject,
  customItem,
  groupItem,
  nameItem,
  sampleObject,
  sampleRegister,
} from "./conformance/managed-object-conformance.ts";
export { objectStoreConformance } from "./conformance/object-store-conformance.ts";
export { ownStoreModel } from "./conformance/own-store/own-model-conformance.ts";
export { ownStoreConformance } from "./conformance/own-store/own-store-conformance.ts";
export type { OwnStoreSubject } from "./conformance/own-store/own-world-conformance.ts";
export {
  type RootOfTrustSubject,
  rootOfTrustConformance,
} from "./conformance/root-of-trust-conformance.ts";
export { type StoreModelOptions, storeModel } from "./conformance/store-model-conformance.ts";
export type { ObjectStoreSubject } from "./conformance/world-conformance.ts";
export { MemoryInstanceStore } from "./memory/memory-instance-store.ts";
export { MemoryKekStore } from "./memory/memory-kek-store.ts";
export { MemoryOwnStore, type MemoryOwnStoreOptions } from "./memory/memory-own-store.ts";
export { newerRecord } from "./memory/memory-partition.ts";
export { MemoryRootOfTrust } from "./memory/memory-root-of-trust.ts";
export { MemoryWitness } from "./test-witness.ts";
