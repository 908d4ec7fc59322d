import type { enumerations } from "../schema/enums.ts";
import { type TagName, type TagRow, tags } from "../schema/tags.ts";
import type { ValueType } from "../schema/value-type.ts";
import type { Version } from "../schema/version.ts";

/** Text of the Object Type enumeration. */
export type ObjectTypeName = keyof (typeof enumerations)["ObjectType"];

/** Who may do what with an attribute (KMIP 2.1, 4, Table 27). */
export interface Rules {
  /** Given only if the attribute is newer than its tag. */
  readonly since?: Version;
  /** Whether an object may have several values of it. */
  readonly multi: boolean;
  /** Who gives the first value. */
  readonly setBy: "server" | "client" | "either";
  /** The server sets it, but from what the client gives in the request that creates the object. */
  readonly atCreation?: true;
  /** Whether a client may change a value. */
  readonly modifiable: boolean;
  /** Whether a client may delete a value. */
  readonly deletable: boolean;
  /** Object types that may have it; none given means all. */
  readonly objectTypes?: readonly ObjectTypeName[];
  /** The object types in 1.x, if these are fewer. */
  readonly objectTypes1?: readonly ObjectTypeName[];
  /** Section of the specification: of KMIP 2.1 unless another version is given. */
  readonly section: string;
  /** What the other columns cannot express. */
  readonly doc?: string;
}

/** An attribute's row. */
export interface AttributeRow extends Omit<Rules, "objectTypes"> {
  /** Its own tag; a Vendor Attribute is sent under the tag Attribute. */
  readonly tag: number;
  /** Its name in 1.x messages and in the specification. */
  readonly name: string;
  readonly until?: Version;
  // biome-ignore lint/suspicious/noExplicitAny: a table's rows have different value types
  readonly type: ValueType<any>;
  readonly objectTypes: readonly ObjectTypeName[] | "all";
}

/** A row that knows the type of its values. */
export interface TypedAttributeRow<Value> extends AttributeRow {
  readonly type: ValueType<Value>;
}

/** Makes a row with the name and versions of its tag. */
export function row<Value>(
  tagName: TagName,
  type: ValueType<Value>,
  rules: Rules,
): TypedAttributeRow<Value> {
  const { tag, name, since, until }: TagRow = tags[tagName];
  return {
    tag,
    name,
    type,
    ...(since === undefined ? {} : { since }),
    ...(until === undefined ? {} : { until }),
    ...rules,
    objectTypes: rules.objectTypes ?? "all",
  };
}
