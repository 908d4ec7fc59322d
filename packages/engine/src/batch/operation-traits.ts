import type { ImplementedOperation } from "@holdfast/kmip";

/** What the engine must know about an operation besides its handler. */
export interface OperationTraits {
  /** The object type and action of its audit event; none where there is nothing to tell. */
  readonly audit?: string;
  /** It may change something, so that it must not be done when its answer could not be given. */
  readonly changes: boolean;
  /** It may be asked without a Credential where the instance has users (KMIP 2.1, 9.4). */
  readonly open?: true;
}

/** One row an operation. */
export const operationTraits: Readonly<Record<ImplementedOperation, OperationTraits>> = {
  DiscoverVersions: { changes: false, open: true },
  Query: { changes: false, open: true },
  Interop: { changes: false },
  Locate: { changes: false },
  Check: { changes: false },
  Log: { audit: "kmip-log.create", changes: true },
  Create: { audit: "kmip-key.create", changes: true },
  Register: { audit: "kmip-key.register", changes: true },
  Get: { audit: "kmip-key.read", changes: false },
  GetAttributes: { audit: "kmip-key-attributes.retrieve", changes: false },
  GetAttributeList: { audit: "kmip-key-attributes.retrieve", changes: false },
  AddAttribute: { audit: "kmip-key-attributes.update", changes: true },
  ModifyAttribute: { audit: "kmip-key-attributes.update", changes: true },
  SetAttribute: { audit: "kmip-key-attributes.update", changes: true },
  AdjustAttribute: { audit: "kmip-key-attributes.update", changes: true },
  DeleteAttribute: { audit: "kmip-key-attributes.delete", changes: true },
  Activate: { audit: "kmip-key.activate", changes: true },
  Revoke: { audit: "kmip-key.revoke", changes: true },
  Destroy: { audit: "kmip-key.destroy", changes: true },
};
