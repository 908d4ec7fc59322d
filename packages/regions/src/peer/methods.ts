import {
  type DescMessage,
  type DescMethod,
  type DescService,
  fromBinary,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { Peer } from "../gen/holdfast/peer/v1/peer_pb.ts";

/** What the generated service knows of a method. */
export type Methods = typeof Peer.method;
export type MethodName = keyof Methods;

/** Methods with one request and one reply. */
export type UnaryName = {
  [Name in MethodName]: Methods[Name]["methodKind"] extends "unary" ? Name : never;
}[MethodName];

/** Bytes of a message; what is sent was made by `toBinary`, what came is a view of the received bytes. */
export function encodeMessage<Desc extends DescMessage>(
  schema: Desc,
  message: MessageShape<Desc>,
): Buffer {
  const bytes = toBinary(schema, message);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** A message of bytes from the other side; throws for malformed bytes. Unknown fields are dropped. */
export function decodeMessage<Desc extends DescMessage>(
  schema: Desc,
  bytes: Uint8Array,
): MessageShape<Desc> {
  return fromBinary(schema, bytes, { readUnknownFields: false });
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
