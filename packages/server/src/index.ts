export { parseConfig } from "./config.ts";
export { type Config, configTable } from "./config-table.ts";
export { playVcenter } from "./dev/vcenter.ts";
export {
  batchItemId,
  type VcenterItem,
  vcenterItems,
  vcenterMessage,
} from "./dev/vcenter-messages.ts";
export { eventMetrics, processMetrics, readMetrics } from "./metric-table.ts";
export {
  type Authority,
  type CertificateRequest,
  createAuthority,
  type Issued,
  selfSigned,
} from "./pki.ts";
export { purposes } from "./purposes.ts";
export type { Group, List, Setting, SettingRows } from "./setting.ts";
export { contextOptions } from "./tls.ts";
export { version } from "./version.ts";
