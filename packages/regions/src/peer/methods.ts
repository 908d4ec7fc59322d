import {
  type DescMessage,
  type DescMethod,
  type DescService,
  fromBinary,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { Peer } from "../gen/holdfast/peer/v1/peer_pb.ts";

/** What the generated service knows of a method. */
export type Methods = typeof Peer.method;
export type MethodName = keyof Methods;

/** Methods with one request and one reply. */
export type UnaryName = {
  [Name in MethodName]: Methods[Name]["methodKind"] extends "unary" ? Name : never;
}[MethodName];

/** Bytes of a message: a view of what `toBinary` made. */
export function encodeMessage<Desc extends DescMessage>(
  schema: Desc,
  message: MessageShape<Desc>,
): Buffer {
  const bytes = toBinary(schema, message);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Fields of one message, those of the messages in it included. The most that nodes send is a page of 10,000 copies. */
const fieldsMax = 100_000;

/**
 * A message of bytes from the other side; throws for malformed bytes, and for more fields than any node sends. Unknown
 * fields are dropped.
 */
export function decodeMessage<Desc extends DescMessage>(
  schema: Desc,
  bytes: Uint8Array,
): MessageShape<Desc> {
  countFields(schema, bytes, 0);
  return fromBinary(schema, bytes, { readUnknownFields: false });
}

/**
 * Counts fields. Throws where there are too many: a field may take two bytes, and what is decoded
 * from it fifty times as much.
 */
function countFields(schema: DescMessage, bytes: Uint8Array, before: number): number {
  const reader = new BinaryReader(bytes);
  let count = before;
  while (reader.pos < reader.len) {
    count += 1;
    if (count > fieldsMax) throw new RangeError(`a message has more than ${fieldsMax} fields`);
    const [number, type] = reader.tag();
    const inner = schema.fields.find((field) => field.number === number)?.message;
    const value = reader.skip(type, number);
    if (inner === undefined || type !== WireType.LengthDelimited) continue;
    count = countFields(inner, new BinaryReader(value).bytes(), count);
  }
  return count;
}

/** `/package.Service/Method`. */
export function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

/** The service that the regions speak. */
export const peerMethods: Methods = Peer.method;

/** The unary method of that name, if there is one. */
export function unaryNamed(name: string, service: DescService = Peer): UnaryName | undefined {
  const method = service.methods.find((candidate) => candidate.name === name);
  return method?.methodKind === "unary" ? (method.localName as UnaryName) : undefined;
}
