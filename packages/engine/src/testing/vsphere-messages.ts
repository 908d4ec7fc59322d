import {
  byteString,
  encode,
  enumeration,
  type Item,
  integer,
  structure,
  textString,
} from "@holdfast/ttlv";

/*
 * Requests as vCenter sends them, item by item from what is known of its traces, without the library's own encoder:
 * KMIP 1.1, Batch Count and nothing else in the header, no Unique Batch Item ID in the first message of a connection.
 */

const codes = {
  create: 0x01,
  get: 0x0a,
  getAttributes: 0x0b,
  addAttribute: 0x0d,
  activate: 0x12,
  query: 0x18,
  discoverVersions: 0x1e,
};

/** A user name and password, as some releases put them into some requests. */
export interface Login {
  readonly username: string;
  readonly password: string;
}

type Operation = readonly [code: number, payload: readonly Item[]];

/** One connection of a client that numbers its batch items as vCenter does. */
export class VsphereConnection {
  #count = 0;

  /** The first message of a connection, which has no Unique Batch Item ID. */
  hello(): Uint8Array {
    return message([[codes.discoverVersions, []]], [undefined]);
  }

  discoverVersions(): Uint8Array {
    return this.#request([[codes.discoverVersions, []]]);
  }

  queryServerInformation(): Uint8Array {
    return this.#request([[codes.query, [enumeration(0x420074, 3)]]]);
  }

  /** AES-256 for Encrypt and Decrypt; no Name, no dates. */
  create(login?: Login): Uint8Array {
    const attributes = [
      attribute("Cryptographic Algorithm", enumeration(0x42000b, 3)),
      attribute("Cryptographic Usage Mask", integer(0x42000b, 0x0c)),
      attribute("Cryptographic Length", integer(0x42000b, 256)),
    ];
    const payload = [enumeration(0x420057, 2), structure(0x420091, attributes)];
    return this.#request([[codes.create, payload]], login);
  }

  get(id: string, login?: Login): Uint8Array {
    return this.#request([[codes.get, [identifier(id)]]], login);
  }

  getAttribute(id: string, name: string, login?: Login): Uint8Array {
    return this.#request(
      [[codes.getAttributes, [identifier(id), textString(0x42000a, name)]]],
      login,
    );
  }

  /** Three custom attributes in one batch. */
  addAttributes(id: string, values: Readonly<Record<string, string>>): Uint8Array {
    return this.#request(
      Object.entries(values).map(([name, value]) => [
        codes.addAttribute,
        [identifier(id), attribute(name, textString(0x42000b, value))],
      ]),
    );
  }

  activate(id: string, login?: Login): Uint8Array {
    return this.#request([[codes.activate, [identifier(id)]]], login);
  }

  #request(operations: readonly Operation[], login?: Login): Uint8Array {
    const ids = operations.map(() => batchItemId(++this.#count));
    return message(operations, ids, login);
  }
}

/** `QLKC` and a counter, the lowest byte first. */
export function batchItemId(count: number): Uint8Array {
  const bytes = Buffer.from("QLKC\0\0\0\0", "latin1");
  bytes.writeUInt32LE(count, 4);
  return bytes;
}

function identifier(id: string): Item {
  return textString(0x420094, id);
}

function attribute(name: string, value: Item): Item {
  return structure(0x420008, [textString(0x42000a, name), value]);
}

function message(
  operations: readonly Operation[],
  ids: readonly (Uint8Array | undefined)[],
  login?: Login,
): Uint8Array {
  const version = structure(0x420069, [integer(0x42006a, 1), integer(0x42006b, 1)]);
  const header = structure(0x420077, [
    version,
    ...(login === undefined ? [] : [authentication(login)]),
    integer(0x42000d, operations.length),
  ]);
  const items = operations.map(([code, payload], at) => {
    const id = ids[at];
    return structure(0x42000f, [
      enumeration(0x42005c, code),
      ...(id === undefined ? [] : [byteString(0x420093, id)]),
      structure(0x420079, payload),
    ]);
  });
  return encode(structure(0x420078, [header, ...items]));
}

function authentication({ username, password }: Login): Item {
  const value = structure(0x420025, [
    textString(0x420099, username),
    textString(0x4200a1, password),
  ]);
  return structure(0x42000c, [structure(0x420023, [enumeration(0x420024, 1), value])]);
}
