export {
  type Authority,
  type CertificateRequest,
  createAuthority,
  type Issued,
  purposes,
  selfSigned,
} from "./pki.ts";
