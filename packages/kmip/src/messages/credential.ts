import { type Item, ItemType } from "@holdfast/ttlv";
import { KmipError } from "../schema/faults.ts";
import { type Infer, optional, required, struct } from "../schema/schema.ts";
import { tags } from "../schema/tags.ts";
import {
  type AnyValueType,
  anyItem,
  bytes,
  dateTimeExtended,
  type ExtensionText,
  enumeration,
  text,
  type ValueType,
} from "../schema/value-type.ts";

/** KMIP 2.1, 9.14 Nonce. */
export const nonce = struct("Nonce", {
  id: required("NonceID", bytes),
  value: required("NonceValue", bytes),
});
export type Nonce = Infer<typeof nonce.fields>;

const ticket = struct("Ticket", {
  type: required("TicketType", enumeration("TicketType")),
  value: required("TicketValue", bytes),
});

/** The fields of Credential Value, by Credential Type (KMIP 2.1, 9.11). */
const credentialValues = {
  UsernameAndPassword: struct("Credential Value", {
    username: required("Username", text),
    password: optional("Password", text),
  }),
  Device: struct("Credential Value", {
    deviceSerialNumber: optional("DeviceSerialNumber", text),
    password: optional("Password", text),
    deviceIdentifier: optional("DeviceIdentifier", text),
    networkIdentifier: optional("NetworkIdentifier", text),
    machineIdentifier: optional("MachineIdentifier", text),
    mediaIdentifier: optional("MediaIdentifier", text),
  }),
  Attestation: struct("Credential Value", {
    nonce: required("Nonce", nonce),
    attestationType: required("AttestationType", enumeration("AttestationType")),
    measurement: optional("AttestationMeasurement", bytes),
    assertion: optional("AttestationAssertion", bytes),
  }),
  OneTimePassword: struct("Credential Value", {
    username: required("Username", text),
    password: optional("Password", text),
    oneTimePassword: required("OneTimePassword", text),
  }),
  HashedPassword: struct("Credential Value", {
    username: required("Username", text),
    timeStamp: required("TimeStamp", dateTimeExtended),
    hashingAlgorithm: optional("HashingAlgorithm", enumeration("HashingAlgorithm")),
    hashedPassword: required("HashedPassword", bytes),
  }),
  Ticket: struct("Credential Value", { ticket: required("Ticket", ticket) }),
};

type CredentialValues = typeof credentialValues;

/** A Credential (KMIP 2.1, 9.11): the fields of its type, or the item for an extension type. */
export type Credential =
  | {
      [Type in keyof CredentialValues]: { readonly type: Type } & Infer<
        CredentialValues[Type]["fields"]
      >;
    }[keyof CredentialValues]
  | { readonly type: ExtensionText; readonly value: Item };

const outer = struct("Credential", {
  type: required("CredentialType", enumeration("CredentialType")),
  value: required("CredentialValue", anyItem),
});

function valueTypeOf(type: string): AnyValueType | undefined {
  return Object.hasOwn(credentialValues, type)
    ? credentialValues[type as keyof CredentialValues]
    : undefined;
}

/** A Credential inside Authentication. Faults never quote a value. */
export const credential: ValueType<Credential> = {
  itemType: ItemType.Structure,
  decode: (item, version) => {
    const { type, value } = outer.decode(item, version);
    const fields = valueTypeOf(type);
    if (fields === undefined) return { type: type as ExtensionText, value };
    return { type, ...fields.decode(value, version) } as Credential;
  },
  encode: (tag, value, version) => {
    const fields = valueTypeOf(value.type);
    const inner = fields?.encode(tags.CredentialValue.tag, value, version);
    const raw = "value" in value ? value.value : inner;
    if (raw === undefined) throw new KmipError("generalFailure", "a credential has no value");
    return outer.encode(tag, { type: value.type, value: raw }, version);
  },
};
