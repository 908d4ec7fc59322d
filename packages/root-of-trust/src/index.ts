export type { RootContext, SecretSource } from "./kind.ts";
export type { RootSettings } from "./kinds.ts";
export {
  createLocalRoot,
  LocalRoot,
  type LocalRootSources,
  openLocalRoot,
  rotateLocalRoot,
} from "./local/local-root.ts";
export {
  type KeyFile,
  type RootKeyVersion,
  readRootKeys,
  zeroKeys,
} from "./local/root-key-file.ts";
export {
  createSealingKey,
  rotateSealingKey,
  SealingKey,
  type Unsealed,
} from "./local/sealing-key.ts";
export { listRootKeys, type OpenRoot, openRootOfTrust } from "./open.ts";
export { Pkcs11Hosts } from "./pkcs11/hosts.ts";
export type { Pkcs11Settings } from "./pkcs11/pkcs11.ts";
export { createPkcs11Root, openPkcs11, rotatePkcs11Root } from "./pkcs11/pkcs11-root.ts";
