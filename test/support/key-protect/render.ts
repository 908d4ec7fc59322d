import { type Key, newestOf, nowMs, stateOf, type Version, type World } from "./world.ts";

/** The `collectionType` of a kind of resource. */
export function mediaType(of: string): string {
  return `application/vnd.ibm.kms.${of}+json`;
}

/** The envelope of an answer. */
export function envelope(of: string, resources: readonly unknown[], more: object = {}) {
  return {
    metadata: { collectionType: mediaType(of), collectionTotal: resources.length, ...more },
    resources,
  };
}

/** A date without fractions, as the key manager writes it. */
export function dateText(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, "Z");
}

/** The cloud resource name of a key. */
export function crnOf({ kind, region, account, instanceId }: World, id: string): string {
  const service = kind === "hpcs" ? "hs-crypto" : "kms";
  return `crn:v1:bluemix:public:${service}:${region}:a/${account}:${instanceId}:key:${id}`;
}

/** A version, in the form of answers. */
export function versionText({ id, createdMs }: Version) {
  return { id, creationDate: dateText(createdMs) };
}

/** A key without its material. */
export function keyText(world: World, key: Key) {
  const state = stateOf(world, key);
  const mode = world.kind === "hpcs" ? "CBC_PAD" : "Deprecated";
  const bits = 256;
  return {
    type: mediaType("key"),
    id: key.id,
    name: key.name,
    aliases: key.aliases,
    ...(key.description !== undefined && { description: key.description }),
    state,
    ...(state === 3 && { nonactiveStateReason: 2 }),
    extractable: key.extractable,
    crn: crnOf(world, key.id),
    imported: key.imported,
    keyRingID: key.keyRing,
    creationDate: dateText(key.createdMs),
    createdBy: key.createdBy,
    algorithmType: world.kind === "hpcs" ? "AES" : "Deprecated",
    algorithmMetadata: { bitLength: String(bits), mode },
    algorithmBitSize: bits,
    algorithmMode: mode,
    lastUpdateDate: dateText(key.changedMs),
    ...(key.rotatedMs !== undefined && { lastRotateDate: dateText(key.rotatedMs) }),
    ...(key.expiresMs !== undefined && { expirationDate: dateText(key.expiresMs) }),
    ...(!key.extractable && { keyVersion: versionText(newestOf(key)) }),
    ...(key.rotationMonths !== undefined && {
      rotation: { enabled: true, interval_month: key.rotationMonths },
    }),
    dualAuthDelete: {
      enabled: key.dualAuthDelete,
      ...(key.setForDeletion !== undefined && {
        keySetForDeletion: true,
        authExpiration: dateText(key.setForDeletion.untilMs),
      }),
    },
    deleted: state === 5,
    ...(key.deletedMs !== undefined && deletionText(world, key, key.deletedMs)),
  };
}

const dayMs = 86_400_000;

function deletionText(world: World, key: Key, deletedMs: number) {
  return {
    deletionDate: dateText(deletedMs),
    deletedBy: key.deletedBy,
    restoreExpirationDate: dateText(deletedMs + 30 * dayMs),
    restoreAllowed: !key.extractable && nowMs(world) < deletedMs + 30 * dayMs,
    purgeAllowed: nowMs(world) >= deletedMs + world.settings.purgeMs,
    purgeAllowedFrom: dateText(deletedMs + world.settings.purgeMs),
    purgeScheduledOn: dateText(deletedMs + 90 * dayMs),
  };
}
