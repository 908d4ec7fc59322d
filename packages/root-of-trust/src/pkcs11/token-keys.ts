import type { RootKey } from "@holdfast/engine";
import type { Template } from "pkcs11js";
import type { Handle, Library } from "./native.ts";

const pageObjects = 64;
const objectsMax = 10_000;
const idBytesMax = 4;

/** One version of a root key: an AES key and an HMAC key with the same label and ID. */
export interface KeyPair {
  readonly version: number;
  readonly cipher: Handle;
  readonly mac: Handle;
}

/** The versions of a root key that a token has under a label. */
export interface RootKeyVersions {
  readonly label: string;
  /** Complete versions, oldest first. */
  readonly pairs: readonly KeyPair[];
  /** IDs with two keys of the same kind: it is not clear which one is meant. */
  readonly ambiguous: readonly number[];
  /** The highest ID in use, complete or not. */
  readonly highest: number;
}

interface Found {
  readonly label: string;
  readonly version: number;
  readonly handle: Handle;
}

/** Finds the root keys in a token: all of them, or those with a label. */
export function findRootKeys(
  library: Library,
  session: Handle,
  label?: string,
): readonly RootKeyVersions[] {
  const { CKK_AES, CKK_GENERIC_SECRET, CKK_SHA256_HMAC } = library.native;
  const ciphers = find(library, session, CKK_AES, label);
  const macs = [CKK_GENERIC_SECRET, CKK_SHA256_HMAC].flatMap((type) =>
    find(library, session, type, label),
  );
  const labels = [...new Set([...ciphers, ...macs].map((key) => key.label))].toSorted();
  return labels.map((name) =>
    versionsOf(
      name,
      ciphers.filter((key) => key.label === name),
      macs.filter((key) => key.label === name),
    ),
  );
}

/** A root key as shown to administrators. */
export function rootKeyOf({ label, pairs }: RootKeyVersions): RootKey {
  const newest = pairs.at(-1);
  return {
    id: label,
    name: label,
    aliases: [],
    state: newest === undefined ? "Incomplete" : "Active",
    usable: newest !== undefined,
    ...(newest !== undefined && { currentVersion: String(newest.version) }),
  };
}

function versionsOf(
  label: string,
  ciphers: readonly Found[],
  macs: readonly Found[],
): RootKeyVersions {
  const versions = [...new Set([...ciphers, ...macs].map(({ version }) => version))];
  const pairs: KeyPair[] = [];
  const ambiguous: number[] = [];
  for (const version of versions.toSorted((a, b) => a - b)) {
    const [cipher, ...otherCiphers] = ciphers.filter((key) => key.version === version);
    const [mac, ...otherMacs] = macs.filter((key) => key.version === version);
    if (otherCiphers.length + otherMacs.length > 0) ambiguous.push(version);
    else if (cipher && mac) pairs.push({ version, cipher: cipher.handle, mac: mac.handle });
  }
  return { label, pairs, ambiguous, highest: Math.max(0, ...versions) };
}

function find(
  { native, calls }: Library,
  session: Handle,
  keyType: number,
  label: string | undefined,
): readonly Found[] {
  const template: Template = [
    { type: native.CKA_CLASS, value: native.CKO_SECRET_KEY },
    { type: native.CKA_TOKEN, value: true },
    { type: native.CKA_KEY_TYPE, value: keyType },
    ...(label === undefined ? [] : [{ type: native.CKA_LABEL, value: label }]),
  ];
  const handles: Handle[] = [];
  calls.C_FindObjectsInit(session, template);
  try {
    for (let page: Handle[]; handles.length < objectsMax; handles.push(...page)) {
      page = calls.C_FindObjects(session, pageObjects);
      if (page.length === 0) break;
    }
  } finally {
    calls.C_FindObjectsFinal(session);
  }
  return handles.flatMap((handle) => {
    const attributes = calls.C_GetAttributeValue(session, handle, [
      { type: native.CKA_LABEL },
      { type: native.CKA_ID },
    ]);
    const [text, id] = attributes.map(({ value }) => Buffer.from(value as Buffer));
    const version = versionOf(id);
    if (text === undefined || text.length === 0 || version === undefined) return [];
    return [{ label: text.toString("utf8"), version, handle }];
  });
}

/** A version's number is its keys' ID: 1 to 4 bytes, big-endian; other IDs are not Holdfast's. */
function versionOf(id: Buffer | undefined): number | undefined {
  if (id === undefined || id.length === 0 || id.length > idBytesMax) return undefined;
  const version = id.readUIntBE(0, id.length);
  return version === 0 ? undefined : version;
}
