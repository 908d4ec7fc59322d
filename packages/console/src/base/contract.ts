import { operations as table } from "virtual:contract";
import type { CommandRow, Contract, Method, Reply, Role, RouteRequest } from "@holdfast/admin";

/** The name of an operation of the management API. */
export type OperationName = keyof Contract;

/** What an operation answers. */
export type AnswerOf<Name extends OperationName> = Reply<Contract[Name]>;

/** What an operation takes. */
export type RequestOf<Name extends OperationName> = RouteRequest<Contract[Name]>;

/** The parts of JSON Schema that the contract uses. */
export interface Schema {
  readonly type?: string;
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly enum?: readonly string[];
  readonly const?: string;
  readonly oneOf?: readonly Schema[];
  readonly anyOf?: readonly Schema[];
  readonly items?: Schema;
  readonly additionalProperties?: Schema | boolean;
  readonly default?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly maxItems?: number;
  readonly format?: string;
  readonly examples?: readonly unknown[];
  readonly $ref?: string;
  readonly $defs?: Readonly<Record<string, Schema>>;
}

/** An operation of the contract as data. */
export interface Operation {
  readonly name: OperationName;
  readonly method: Method;
  readonly path: string;
  readonly summary: string;
  readonly roles: readonly Role[] | "public";
  readonly scope: "instance" | "system";
  /** Names of the path's parameters. */
  readonly params: readonly string[];
  readonly query?: Schema;
  readonly body?: Schema;
  readonly stream?: true;
  readonly dryRun?: true;
  readonly etag?: "given" | "required";
  readonly shownOnce?: true;
  readonly repeatable?: true;
  /** What it makes once, however often it is sent with the same idempotency key. */
  readonly makes?: string;
  /** The action that the approval policy may name. */
  readonly guarded?: string;
  readonly command: CommandRow;
}

/** Every operation, by name. */
export const operations = table as unknown as Readonly<Record<OperationName, Operation>>;

/** Who is signed in. */
export type Who = AnswerOf<"whoAmI">;

/** What a node answered. */
export interface NodeAnswer {
  /** Its address. */
  readonly at: string;
  readonly answer: Readonly<Record<string, unknown>>;
}

/** Follows a reference into the definitions of the whole schema. */
export function resolved(schema: Schema, whole: Schema): Schema {
  const { $ref, ...rest } = schema;
  return $ref === undefined ? schema : { ...whole.$defs?.[$ref.replace("#/$defs/", "")], ...rest };
}
