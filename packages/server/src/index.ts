export {
  type Authority,
  type CertificateRequest,
  createAuthority,
  type Issued,
  selfSigned,
} from "./pki.ts";
export { purposes } from "./purposes.ts";
