/*
 * Messages as vCenter sends them, and the answers that it needs, byte by byte. They do not use any encoder of this
 * repository: tag, type, length and value of each item are written out.
 */

/** Bytes written as hex; white space is left out. */
function hex(...parts: readonly string[]): string {
  return parts.join("").replaceAll(/\s/g, "");
}

/** A text in hex, padded to a multiple of eight bytes. */
function text(value: string): string {
  const bytes = Buffer.from(value, "utf8");
  return Buffer.concat([bytes, Buffer.alloc((8 - (bytes.length % 8)) % 8)]).toString("hex");
}

/** Unique Batch Item ID number n of a connection: `QLKC` and n, the lowest byte first. */
function batchItemId(n: number): string {
  return `420093 08 00000008 514c4b43 ${n.toString(16).padStart(2, "0")}000000`;
}

/** A Unique Identifier of 36 characters. */
const uniqueIdentifier = (id: string): string => `420094 07 00000024 ${text(id)}`;

const version11 = `
  420069 01 00000020
    42006a 02 00000004 00000001 00000000
    42006b 02 00000004 00000001 00000000`;

const requestHeader = (batchCount: string): string =>
  `420077 01 00000038 ${version11} 42000d 02 00000004 ${batchCount} 00000000`;

/** The header with the user name `vcenter` and the password `opensesame`, as some 8.0.1 requests have it. */
const credentialHeader = `
  420077 01 00000088 ${version11}
    42000c 01 00000048
      420023 01 00000040
        420024 05 00000004 00000001 00000000
        420025 01 00000028
          420099 07 00000007 7663656e746572 00
          4200a1 07 0000000a 6f70656e736573616d65 000000000000
    42000d 02 00000004 00000001 00000000`;

/** A message with one operation; its length includes a credential in the header. */
function one(length: number, item: string, credential = false): string {
  const total = (length + (credential ? 0x50 : 0)).toString(16).padStart(8, "0");
  const header = credential ? credentialHeader : requestHeader("00000001");
  return hex(`420078 01 ${total}`, header, item);
}

/** The first message of a connection: Discover Versions, no payload, no Unique Batch Item ID. */
export const firstMessage = hex(`
  420078 01 00000060
    420077 01 00000038
      420069 01 00000020
        42006a 02 00000004 00000001 00000000
        42006b 02 00000004 00000001 00000000
      42000d 02 00000004 00000001 00000000
    42000f 01 00000018
      42005c 05 00000004 0000001e 00000000
      420079 01 00000000`);

/** The same with a Unique Batch Item ID. */
export const discoverVersions = (n: number): string =>
  one(
    0x70,
    `42000f 01 00000028
       42005c 05 00000004 0000001e 00000000
       ${batchItemId(n)}
       420079 01 00000000`,
  );

/** Query, Query Server Information only. */
export const queryServerInformation = (n: number): string =>
  one(
    0x80,
    `42000f 01 00000038
       42005c 05 00000004 00000018 00000000
       ${batchItemId(n)}
       420079 01 00000010
         420074 05 00000004 00000003 00000000`,
  );

/** Create: only Symmetric Key, AES, Encrypt and Decrypt, 256 bits. */
export const create = (n: number, credential = false): string =>
  one(
    0x130,
    `42000f 01 000000e8
       42005c 05 00000004 00000001 00000000
       ${batchItemId(n)}
       420079 01 000000c0
         420057 05 00000004 00000002 00000000
         420091 01 000000a8
           420008 01 00000030
             42000a 07 00000017 43727970746f6772617068696320416c676f726974686d 00
             42000b 05 00000004 00000003 00000000
           420008 01 00000030
             42000a 07 00000018 43727970746f67726170686963205573616765204d61736b
             42000b 02 00000004 0000000c 00000000
           420008 01 00000030
             42000a 07 00000014 43727970746f67726170686963204c656e677468 00000000
             42000b 02 00000004 00000100 00000000`,
    credential,
  );

/** Get, with the identifier only. */
export const get = (n: number, id: string, credential = false): string =>
  one(
    0xa0,
    `42000f 01 00000058
       42005c 05 00000004 0000000a 00000000
       ${batchItemId(n)}
       420079 01 00000030 ${uniqueIdentifier(id)}`,
    credential,
  );

/** Activate. */
export const activate = (n: number, id: string, credential = false): string =>
  one(
    0xa0,
    `42000f 01 00000058
       42005c 05 00000004 00000012 00000000
       ${batchItemId(n)}
       420079 01 00000030 ${uniqueIdentifier(id)}`,
    credential,
  );

/** Get Attributes of one attribute. */
export function getAttribute(n: number, id: string, name: string, credential = false): string {
  const padded = Math.ceil(name.length / 8) * 8;
  const grow = (base: number): string => (base + padded - 8).toString(16).padStart(8, "0");
  return one(
    0xb0 + padded - 8,
    `42000f 01 ${grow(0x68)}
       42005c 05 00000004 0000000b 00000000
       ${batchItemId(n)}
       420079 01 ${grow(0x40)} ${uniqueIdentifier(id)}
         42000a 07 ${name.length.toString(16).padStart(8, "0")} ${text(name)}`,
    credential,
  );
}

/** Three Add Attributes in a batch: x-Product_Version, x-Vendor, x-Product. No Attribute Index. */
export const addProduct = (n: number, id: string): string =>
  hex(
    "420078 01 00000210",
    requestHeader("00000003"),
    `42000f 01 000000a0
       42005c 05 00000004 0000000d 00000000
       ${batchItemId(n)}
       420079 01 00000078 ${uniqueIdentifier(id)}
         420008 01 00000040
           42000a 07 00000011 782d50726f647563745f56657273696f6e 00000000000000
           42000b 07 00000014 372e302e33206275696c642d3139343830383636 00000000
     42000f 01 00000088
       42005c 05 00000004 0000000d 00000000
       ${batchItemId(n + 1)}
       420079 01 00000060 ${uniqueIdentifier(id)}
         420008 01 00000028
           42000a 07 00000008 782d56656e646f72
           42000b 07 0000000c 564d776172652c20496e632e 00000000
     42000f 01 00000090
       42005c 05 00000004 0000000d 00000000
       ${batchItemId(n + 2)}
       420079 01 00000068 ${uniqueIdentifier(id)}
         420008 01 00000030
           42000a 07 00000009 782d50726f64756374 00000000000000
           42000b 07 0000000e 564d776172652076537068657265 0000`,
  );

/** Three more: x-Identifier (36 characters), x-Component "Virtual Machine", x-Name "vm-0001". */
export const addMachine = (n: number, id: string, machine: string): string =>
  hex(
    "420078 01 00000210",
    requestHeader("00000003"),
    `42000f 01 000000a8
       42005c 05 00000004 0000000d 00000000
       ${batchItemId(n)}
       420079 01 00000080 ${uniqueIdentifier(id)}
         420008 01 00000048
           42000a 07 0000000c 782d4964656e746966696572 00000000
           42000b 07 00000024 ${text(machine)}
     42000f 01 00000090
       42005c 05 00000004 0000000d 00000000
       ${batchItemId(n + 1)}
       420079 01 00000068 ${uniqueIdentifier(id)}
         420008 01 00000030
           42000a 07 0000000b 782d436f6d706f6e656e74 0000000000
           42000b 07 0000000f 5669727475616c204d616368696e65 00
     42000f 01 00000080
       42005c 05 00000004 0000000d 00000000
       ${batchItemId(n + 2)}
       420079 01 00000058 ${uniqueIdentifier(id)}
         420008 01 00000020
           42000a 07 00000006 782d4e616d65 0000
           42000b 07 00000007 766d2d30303031 00`,
  );

/** An answer of KMIP 1.1 with one batch item; its header has version, Time Stamp (zeroed by `masked`) and count. */
function answer(length: number, item: string, count = "00000001"): string {
  return hex(
    `42007b 01 ${length.toString(16).padStart(8, "0")}
       42007a 01 00000048 ${version11}
         420092 09 00000008 0000000000000000
         42000d 02 00000004 ${count} 00000000`,
    item,
  );
}

const success = "42007f 05 00000004 00000000 00000000";
const versionItem = (major: number, minor: number): string =>
  `420069 01 00000020
     42006a 02 00000004 0000000${major} 00000000
     42006b 02 00000004 0000000${minor} 00000000`;
const allVersions = [
  versionItem(2, 1),
  versionItem(2, 0),
  versionItem(1, 4),
  versionItem(1, 3),
  versionItem(1, 2),
  versionItem(1, 1),
  versionItem(1, 0),
].join("");

/** The answers. An answer has a Unique Batch Item ID only if the request has one. */
export const answers = {
  first: answer(
    0x198,
    `42000f 01 00000140
       42005c 05 00000004 0000001e 00000000 ${success}
       42007c 01 00000118 ${allVersions}`,
  ),
  discoverVersions: (n: number): string =>
    answer(
      0x1a8,
      `42000f 01 00000150
         42005c 05 00000004 0000001e 00000000 ${batchItemId(n)} ${success}
         42007c 01 00000118 ${allVersions}`,
    ),
  create: (n: number, id: string): string =>
    answer(
      0xd0,
      `42000f 01 00000078
         42005c 05 00000004 00000001 00000000 ${batchItemId(n)} ${success}
         42007c 01 00000040
           420057 05 00000004 00000002 00000000 ${uniqueIdentifier(id)}`,
    ),
  /** Raw, AES, 256 bits; the key's own 32 bytes. */
  get: (n: number, id: string, key: string): string =>
    answer(
      0x140,
      `42000f 01 000000e8
         42005c 05 00000004 0000000a 00000000 ${batchItemId(n)} ${success}
         42007c 01 000000b0
           420057 05 00000004 00000002 00000000 ${uniqueIdentifier(id)}
           42008f 01 00000068
             420040 01 00000060
               420042 05 00000004 00000001 00000000
               420045 01 00000028
                 420043 08 00000020 ${key}
               420028 05 00000004 00000003 00000000
               42002a 02 00000004 00000100 00000000`,
    ),
  activate: (n: number, id: string): string =>
    answer(
      0xc0,
      `42000f 01 00000068
         42005c 05 00000004 00000012 00000000 ${batchItemId(n)} ${success}
         42007c 01 00000030 ${uniqueIdentifier(id)}`,
    ),
  /** An attribute that does not exist: success without an attribute. */
  absent: (n: number, id: string): string =>
    answer(
      0xc0,
      `42000f 01 00000068
         42005c 05 00000004 0000000b 00000000 ${batchItemId(n)} ${success}
         42007c 01 00000030 ${uniqueIdentifier(id)}`,
    ),
  /** 1 = Pre-Active, 2 = Active. */
  state: (n: number, id: string, state: 1 | 2): string =>
    answer(
      0xe8,
      `42000f 01 00000090
         42005c 05 00000004 0000000b 00000000 ${batchItemId(n)} ${success}
         42007c 01 00000058 ${uniqueIdentifier(id)}
           420008 01 00000020
             42000a 07 00000005 5374617465 000000
             42000b 05 00000004 0000000${state} 00000000`,
    ),
} as const;

/** An answer with its time set to zero; everything else is compared. */
export function masked(bytes: Uint8Array): string {
  const copy = Buffer.from(bytes);
  const timeStamp = copy.indexOf(Buffer.from("4200920900000008", "hex"));
  copy.fill(0, timeStamp + 8, timeStamp + 16);
  return copy.toString("hex");
}
