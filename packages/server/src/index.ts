export {
  type Authority,
  type CertificateRequest,
  createAuthority,
  type Issued,
  selfSigned,
} from "./base/pki.ts";
export { purposes } from "./base/purposes.ts";
export { contextOptions } from "./base/tls.ts";
export { version } from "./base/version.ts";
export { parseConfig } from "./config/config.ts";
export { type Config, configTable } from "./config/config-table.ts";
export type { Group, List, Setting, SettingRows } from "./config/setting.ts";
export { playVcenter } from "./dev/vcenter/vcenter.ts";
export {
  batchItemId,
  type VcenterItem,
  vcenterItems,
  vcenterMessage,
} from "./dev/vcenter/vcenter-messages.ts";
export { eventMetrics, processMetrics, readMetrics } from "./observe/metrics/metric-table.ts";
