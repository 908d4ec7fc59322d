/**
 * The tags of a stored record, in the extension range that KMIP leaves to servers (KMIP 2.1, 11.56). A number, once
 * used, keeps its meaning for ever; a change of meaning is a new format number.
 */
export const recordTags = {
  Record: 0x540001,
  /** First field of every record. */
  Format: 0x540002,
  /** 16 bytes for a lower-case UUID, otherwise text. The same holds for Instance and KekId. */
  UniqueIdentifier: 0x540003,
  Instance: 0x540004,
  ObjectType: 0x540005,
  /** Names of regions, in order; a `number of region` below counts from the first, 0. */
  Region: 0x540006,
  Fixed: 0x540007,
  /** KEK's id (16 bytes), nonce (12 bytes), ciphertext; a structure of the three if their lengths differ. */
  Material: 0x540008,
  KekId: 0x540009,
  Nonce: 0x54000a,
  Ciphertext: 0x54000b,
  /** A fact is seconds × 256 + number of region. */
  Served: 0x54000c,
  Activated: 0x54000d,
  Deactivated: 0x54000e,
  Compromised: 0x54000f,
  Destroyed: 0x540010,
  /** When a revocation happened, inside Deactivated and Compromised. */
  At: 0x540011,
  ReasonCode: 0x540012,
  Message: 0x540013,
  Occurred: 0x540014,
  /** Last Change Date, as a Date-Time. */
  LastChange: 0x540016,
  Registers: 0x540017,
  /** Microseconds × 256 + number of region; holds for all registers up to the next Stamp. */
  Stamp: 0x540018,
  /** What names the addition (`Writer`); holds for all registers up to the next Origin; empty at first. */
  Origin: 0x540019,
  /** Attribute index of the next register; 0 if absent. */
  Index: 0x54001a,
  /** Key of the next register; empty if absent. */
  Key: 0x54001b,
  /** A register whose value was deleted: the attribute's tag. */
  NoValue: 0x54001c,
  /** A register in full: a structure of the attribute's tag (the next one) and the value. */
  AnyValue: 0x54001d,
  AttributeTag: 0x54001e,
  /** In Fixed: the sealed Digest Values of an object whose material is secret (`object-digest.ts`). */
  SealedDigest: 0x54001f,
  /** The instance that a system record is about (`system-record.ts`). Tags up to DocumentField are for these too. */
  OfInstance: 0x540020,
  /** Milliseconds since the epoch. */
  MadeMs: 0x540021,
  /** Whether a KEK was made because its instance had none. */
  FirstKek: 0x540022,
  /** The name of the region that a system record is about. */
  OfRegion: 0x540023,
  /** Register: one region's wrap of a KEK, its key the region's name; the structure of the next three. */
  KekWrap: 0x540024,
  RootOfTrust: 0x540025,
  RootKeyVersion: 0x540026,
  WrapBlob: 0x540027,
  /** Register: the name of an instance, a certificate or a token. */
  InstanceName: 0x540028,
  /** Registers: how often a region has rejoined, and the highest of these numbers that was retired. */
  Generation: 0x540029,
  Retired: 0x54002a,
  /** A KEK's check value. */
  KekCheck: 0x54002b,
  /** The fixed part of a system record whose fields have no tags of their own: pairs of the next two. */
  DocumentName: 0x54002c,
  DocumentValue: 0x54002d,
  /** Register: a field of a system record without a tag of its own, its key the field's name. */
  DocumentField: 0x54002e,
  /** In Fixed: SHA-256 of the certificate of the client that made the object (32 bytes). */
  Creator: 0x54002f,
  /** A destruction with a delay: At, Stamp, and the next two. */
  Destruction: 0x540030,
  /** 1: pending, 2: restored. */
  DestructionState: 0x540031,
  /** When it becomes final, as a Date-Time. */
  Until: 0x540032,
} as const;
