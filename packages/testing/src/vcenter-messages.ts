import { type OperationName, operationCodeOf, tags } from "@holdfast/kmip";
import {
  byteString,
  encode,
  enumeration,
  type Item,
  integer,
  structure,
  textString,
} from "@holdfast/ttlv";

/** One operation of a message, as vCenter writes it. */
export interface VcenterItem {
  readonly operation: OperationName;
  readonly payload: readonly Item[];
  /** Absent in the first message of a connection. */
  readonly uniqueBatchItemId?: Uint8Array;
}

const symmetricKey = 0x02;
const aes = 0x03;
const encryptAndDecrypt = 0x0c;
const queryServerInformation = 0x03;
const usernameAndPassword = 0x01;

/** A user name and password, as some vCenter releases send them in some requests. */
export interface Login {
  readonly username: string;
  readonly password: string;
}

/** A KMIP 1.1 request. Its header has only the version, the batch count and the login, if any. */
export function vcenterMessage(items: readonly VcenterItem[], login?: Login): Uint8Array {
  const header = structure(tags.RequestHeader.tag, [
    structure(tags.ProtocolVersion.tag, [
      integer(tags.ProtocolVersionMajor.tag, 1),
      integer(tags.ProtocolVersionMinor.tag, 1),
    ]),
    ...(login === undefined ? [] : [authentication(login)]),
    integer(tags.BatchCount.tag, items.length),
  ]);
  const batch = items.map(({ operation, payload, uniqueBatchItemId }) =>
    structure(tags.BatchItem.tag, [
      enumeration(tags.Operation.tag, operationCodeOf(operation)),
      ...(uniqueBatchItemId === undefined
        ? []
        : [byteString(tags.UniqueBatchItemID.tag, uniqueBatchItemId)]),
      structure(tags.RequestPayload.tag, payload),
    ]),
  );
  return encode(structure(tags.RequestMessage.tag, [header, ...batch]));
}

/** The n-th identifier of a connection: `QLKC` and a little-endian counter from 1. */
export function batchItemId(count: number): Uint8Array {
  const bytes = Buffer.from("QLKC\0\0\0\0", "latin1");
  bytes.writeUInt32LE(count, 4);
  return bytes;
}

/** The operations that vCenter uses; `id` is a Unique Identifier. */
export const vcenterItems = {
  discoverVersions: (): VcenterItem => ({ operation: "DiscoverVersions", payload: [] }),
  queryServerInformation: (): VcenterItem => ({
    operation: "Query",
    payload: [enumeration(tags.QueryFunction.tag, queryServerInformation)],
  }),
  /** AES-256 for Encrypt and Decrypt; no name, dates or other attributes. */
  create: (): VcenterItem => ({
    operation: "Create",
    payload: [
      enumeration(tags.ObjectType.tag, symmetricKey),
      structure(tags.TemplateAttribute.tag, [
        attribute("Cryptographic Algorithm", enumeration(tags.AttributeValue.tag, aes)),
        attribute("Cryptographic Usage Mask", integer(tags.AttributeValue.tag, encryptAndDecrypt)),
        attribute("Cryptographic Length", integer(tags.AttributeValue.tag, 256)),
      ]),
    ],
  }),
  get: (id: string): VcenterItem => ({ operation: "Get", payload: [identifier(id)] }),
  getAttribute: (id: string, name: string): VcenterItem => ({
    operation: "GetAttributes",
    payload: [identifier(id), textString(tags.AttributeName.tag, name)],
  }),
  addAttribute: (id: string, name: string, value: string): VcenterItem => ({
    operation: "AddAttribute",
    payload: [identifier(id), attribute(name, textString(tags.AttributeValue.tag, value))],
  }),
  activate: (id: string): VcenterItem => ({ operation: "Activate", payload: [identifier(id)] }),
} as const;

/** Requests of one connection, with the batch item identifiers that vCenter gives them. */
export class VcenterConnection {
  #count = 0;

  /** The first message of a connection, which has no batch item identifier. */
  hello(): Uint8Array {
    return vcenterMessage([vcenterItems.discoverVersions()]);
  }

  discoverVersions(): Uint8Array {
    return this.#request([vcenterItems.discoverVersions()]);
  }

  queryServerInformation(): Uint8Array {
    return this.#request([vcenterItems.queryServerInformation()]);
  }

  create(login?: Login): Uint8Array {
    return this.#request([vcenterItems.create()], login);
  }

  get(id: string, login?: Login): Uint8Array {
    return this.#request([vcenterItems.get(id)], login);
  }

  getAttribute(id: string, name: string, login?: Login): Uint8Array {
    return this.#request([vcenterItems.getAttribute(id, name)], login);
  }

  /** Adds all attributes in one batch. */
  addAttributes(id: string, values: Readonly<Record<string, string>>): Uint8Array {
    return this.#request(
      Object.entries(values).map(([name, value]) => vcenterItems.addAttribute(id, name, value)),
    );
  }

  activate(id: string, login?: Login): Uint8Array {
    return this.#request([vcenterItems.activate(id)], login);
  }

  #request(items: readonly VcenterItem[], login?: Login): Uint8Array {
    const numbered = items.map((item) => ({
      ...item,
      uniqueBatchItemId: batchItemId(++this.#count),
    }));
    return vcenterMessage(numbered, login);
  }
}

function authentication({ username, password }: Login): Item {
  const value = structure(tags.CredentialValue.tag, [
    textString(tags.Username.tag, username),
    textString(tags.Password.tag, password),
  ]);
  const credential = [enumeration(tags.CredentialType.tag, usernameAndPassword), value];
  return structure(tags.Authentication.tag, [structure(tags.Credential.tag, credential)]);
}

function identifier(id: string): Item {
  return textString(tags.UniqueIdentifier.tag, id);
}

/** An attribute without an Attribute Index. */
function attribute(name: string, value: Item): Item {
  return structure(tags.Attribute.tag, [textString(tags.AttributeName.tag, name), value]);
}
