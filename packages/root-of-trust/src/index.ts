export { type KeyManagerPlace, keyManagerUrls } from "./ibm/key-manager-urls.ts";
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
export { createPkcs11Root, openPkcs11, rotatePkcs11Root } from "./pkcs11/pkcs11-root.ts";
export type {
  HpcsSettings,
  KeyProtectSettings,
  LocalSettings,
  Pkcs11Settings,
  RootContext,
  RootSettings,
  SecretSource,
} from "./settings.ts";
