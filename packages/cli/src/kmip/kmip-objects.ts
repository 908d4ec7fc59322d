import { writeFileSync } from "node:fs";
import type { KmipClient } from "@holdfast/client";
import {
  type Attribute,
  type KeyBlock,
  keyBlockOf,
  objectItem,
  plainKeyOf,
  tags,
} from "@holdfast/kmip";
import { type Item, ItemType } from "@holdfast/ttlv";
import type { Command } from "commander";
import { countOf } from "../sites/connect.ts";
import { Failure, readGiven, reasonOf } from "../terminal/failure.ts";
import { itemJson, table } from "../terminal/output.ts";
import { algorithmFrom, parseAttribute } from "./attribute-text.ts";
import { type Answer, atServer } from "./kmip-command.ts";

interface NewOptions {
  readonly name?: string;
  readonly attribute?: readonly string[];
  readonly usage?: string;
  readonly activate?: true;
}

interface CreateOptions extends NewOptions {
  readonly algorithm: string;
  readonly length?: string;
}

interface RegisterOptions extends NewOptions {
  readonly type: string;
  readonly algorithm: string;
}

interface GetOptions {
  readonly showKey?: true;
  readonly out?: string;
}

interface LocateOptions {
  readonly name?: string;
  readonly state?: string;
  readonly type?: string;
  readonly attribute?: readonly string[];
  readonly max?: number;
  readonly offset?: number;
}

/** Commands about whole objects: create, register, get, locate. */
export function addObjectCommands(kmip: Command): void {
  atServer<CreateOptions>(
    newObjectOptions(
      kmip
        .command("create")
        .summary("make a symmetric key at the server")
        .description("Create (KMIP 2.1, 6.1). Prints the new key's identifier.")
        .option("--algorithm <name>", "such as AES, 3DES or HMAC-SHA256", "AES")
        .option("--length <bits>", "length of the key in bits (default: 256; 168 for 3DES)"),
    ),
    create,
  );
  atServer<RegisterOptions>(
    newObjectOptions(
      kmip
        .command("register")
        .summary("give the server an object that you have")
        .description(
          "Register (KMIP 2.1, 6.1). The file's bytes are the key, secret or data itself.",
        )
        .argument("<file>", "file with the bytes; - for standard input")
        .option(
          "--type <name>",
          "SymmetricKey, SecretData, OpaqueObject or Certificate (DER)",
          "SecretData",
        )
        .option("--algorithm <name>", "of a SymmetricKey", "AES"),
    ),
    register,
  );
  atServer<GetOptions>(
    kmip
      .command("get")
      .summary("show an object; its secret bytes only if asked for")
      .description(
        "Get (KMIP 2.1, 6.1). The bytes of a key or secret are not shown; --out writes them to a new file that only you can read.",
      )
      .argument("<id>")
      .option("--show-key", "print the secret bytes in hex")
      .option("--out <file>", "write the secret bytes to a new file, mode 0600"),
    get,
  );
  atServer<LocateOptions>(
    kmip
      .command("locate")
      .summary("identifiers of objects, newest first")
      .description("Locate (KMIP 2.1, 6.1). Without a filter: all objects.")
      .option("--name <text>", "with this Name")
      .option("--state <state>", "Pre-Active, Active, Deactivated, Compromised")
      .option("--type <type>", "such as SymmetricKey")
      .option("--attribute <name=value>", "with this attribute; may be given again", again)
      .option("--max <count>", "answer at most this many", countOf)
      .option("--offset <count>", "skip this many of the first ones (KMIP 1.3 and newer)", countOf),
    locate,
  );
}

function newObjectOptions(command: Command): Command {
  return command
    .option("--name <text>", "its Name, by which it can be located")
    .option("--usage <list>", "Cryptographic Usage Mask", "Encrypt,Decrypt")
    .option("--attribute <name=value>", "one more attribute; may be given again", again)
    .option("--activate", "make it Active at once");
}

function again(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text];
}

function newAttributes(options: NewOptions, ...more: readonly string[]): readonly Attribute[] {
  const texts = [
    ...more,
    ...(options.usage === undefined ? [] : [`CryptographicUsageMask=${options.usage}`]),
    ...(options.name === undefined ? [] : [`Name=${options.name}`]),
    ...(options.attribute ?? []),
    ...(options.activate === true ? ["ActivationDate=now"] : []),
  ];
  return texts.map((text) => ({ item: parseAttribute(text) }));
}

function made(uniqueIdentifier: string): Answer {
  return { lines: [uniqueIdentifier], json: { uniqueIdentifier } };
}

async function create(
  client: KmipClient,
  _args: readonly string[],
  options: CreateOptions,
): Promise<Answer> {
  const algorithm = algorithmFrom(options.algorithm);
  const length = options.length ?? (algorithm === "DES3" ? "168" : "256");
  const attributes = newAttributes(
    options,
    `CryptographicAlgorithm=${algorithm}`,
    `CryptographicLength=${length}`,
  );
  const answer = await client.create({
    objectType: "SymmetricKey",
    attributes: { attributes, templateNames: [] },
  });
  return made(answer.uniqueIdentifier);
}

async function register(
  client: KmipClient,
  [file = ""]: readonly string[],
  options: RegisterOptions,
): Promise<Answer> {
  const bytes = readGiven("register", file);
  if (bytes.length === 0) throw new Failure(`register ${file}: is empty; give another path`);
  const { objectType, object } = objectFrom(options, bytes);
  const usage = objectType === "SymmetricKey" ? options : { ...options, usage: undefined };
  const answer = await client.register({
    objectType,
    attributes: { attributes: newAttributes(withoutUndefined(usage)), templateNames: [] },
    object,
  });
  return made(answer.uniqueIdentifier);
}

/** Opaque Data Type has no values of its own; this is the first that vendors may use (KMIP 2.1, 11.35). */
const vendorDefined = 0x8000_0001;

function objectFrom({ type, algorithm }: RegisterOptions, bytes: Uint8Array) {
  const raw = (extra: object) => ({
    keyFormatType: "Raw" as const,
    keyValue: {
      keyMaterial: { tag: tags.KeyMaterial.tag, type: ItemType.ByteString, value: bytes } as Item,
    },
    ...extra,
  });
  switch (type) {
    case "SymmetricKey":
      return {
        objectType: type,
        object: objectItem("SymmetricKey", {
          keyBlock: raw({
            cryptographicAlgorithm: algorithmFrom(algorithm),
            cryptographicLength: bytes.length * 8,
          }),
        }),
      } as const;
    case "SecretData":
      return {
        objectType: type,
        object: objectItem("SecretData", {
          secretDataType: "Password",
          keyBlock: { ...raw({}), keyFormatType: "Opaque" },
        }),
      } as const;
    case "OpaqueObject":
      return {
        objectType: type,
        object: objectItem("OpaqueObject", {
          opaqueDataType: vendorDefined,
          opaqueDataValue: bytes,
        }),
      } as const;
    case "Certificate":
      return {
        objectType: type,
        object: objectItem("Certificate", { certificateType: "X_509", certificateValue: bytes }),
      } as const;
    default:
      throw new Failure(
        `--type ${type}: must be one of SymmetricKey, SecretData, OpaqueObject, Certificate`,
      );
  }
}

async function get(
  client: KmipClient,
  [id = ""]: readonly string[],
  options: GetOptions,
): Promise<Answer> {
  const { objectType, uniqueIdentifier, object } = await client.get({ uniqueIdentifier: id });
  if (object === undefined) throw new Failure(`${id}: the server sent no object`);
  const bytes = secretBytes(object);
  if (options.out !== undefined) writeSecret(options.out, bytes);
  const shown = options.showKey === true ? { bytes: Buffer.from(bytes).toString("hex") } : {};
  const block = keyBlockOf(object);
  const rows = Object.entries({
    uniqueIdentifier,
    objectType,
    ...(block === undefined
      ? {}
      : {
          keyFormatType: block.keyFormatType,
          cryptographicAlgorithm: block.cryptographicAlgorithm ?? null,
          cryptographicLength: block.cryptographicLength ?? null,
        }),
    ...(options.showKey === true || options.out !== undefined
      ? {}
      : { hidden: `${bytes.length} bytes; --show-key or --out FILE gives them` }),
    ...(options.out === undefined ? {} : { written: `${bytes.length} bytes to ${options.out}` }),
    ...shown,
  }).filter(([, value]) => value !== null);
  return { lines: table(rows), json: Object.fromEntries(rows) };
}

/** The bytes that are the object's secret, or its content if it has none. */
function secretBytes(object: Item): Uint8Array {
  const block = keyBlockOf(object);
  if (block !== undefined) return keyBytes(block);
  const content = object.type === ItemType.Structure ? object.value.at(-1) : undefined;
  if (content?.type === ItemType.ByteString) return content.value;
  throw new Failure(`the object has no bytes: ${JSON.stringify(itemJson(object))}`);
}

function keyBytes(block: KeyBlock): Uint8Array {
  const { keyValue } = block;
  const plain = plainKeyOf(block);
  if (plain !== undefined) return plain;
  if (keyValue !== undefined && !(keyValue instanceof Uint8Array)) {
    const { keyMaterial } = keyValue;
    if (keyMaterial.type === ItemType.ByteString) return keyMaterial.value;
  }
  throw new Failure(
    "the key has no plain bytes: it is wrapped, stored elsewhere, or made of parts",
  );
}

function writeSecret(path: string, bytes: Uint8Array): void {
  try {
    writeFileSync(path, bytes, { mode: 0o600, flag: "wx" });
  } catch (error) {
    const exists = error instanceof Error && "code" in error && error.code === "EEXIST";
    throw new Failure(
      `--out ${path}: ${exists ? "exists already; give another name" : reasonOf(error)}`,
    );
  }
}

async function locate(
  client: KmipClient,
  _args: readonly string[],
  options: LocateOptions,
): Promise<Answer> {
  const texts = [
    ...(options.name === undefined ? [] : [`Name=${options.name}`]),
    ...(options.state === undefined ? [] : [`State=${options.state}`]),
    ...(options.type === undefined ? [] : [`ObjectType=${options.type}`]),
    ...(options.attribute ?? []),
  ];
  const { uniqueIdentifiers } = await client.locate({
    attributes: texts.map((text) => ({ item: parseAttribute(text) })),
    ...(options.max === undefined ? {} : { maximumItems: options.max }),
    ...(options.offset === undefined ? {} : { offsetItems: options.offset }),
  });
  return { lines: uniqueIdentifiers, json: [...uniqueIdentifiers] };
}

function withoutUndefined(options: object): NewOptions {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}
