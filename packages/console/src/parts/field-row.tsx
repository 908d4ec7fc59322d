import type { ComponentChildren } from "preact";
import type { Schema } from "../base/contract.ts";

/** What every kind of field needs. */
export interface FieldProps {
  readonly schema: Schema;
  /** The schema that has the definitions. */
  readonly whole: Schema;
  readonly id: string;
  readonly label: string;
  readonly required: boolean;
  readonly secret: boolean;
  readonly value: unknown;
  readonly change: (value: unknown) => void;
}

/** Label, control and help of a field. */
export function Row({
  id,
  label,
  required,
  schema = {},
  children,
}: Pick<FieldProps, "id" | "label" | "required"> & {
  schema?: Schema;
  children: ComponentChildren;
}) {
  return (
    <div class="clr-form-control">
      <label class="clr-control-label" for={id}>
        {label}
        {required ? <span class="required"> (required)</span> : null}
      </label>
      <div class="clr-control-container">
        {children}
        <Help id={id} schema={schema} />
      </div>
    </div>
  );
}

/** What a field means, its range, and what counts where it is empty. */
export function Help({ id, schema }: Pick<FieldProps, "id" | "schema">) {
  const { description, default: usual, minimum, maximum } = schema;
  const isPlain = typeof usual === "number" || (typeof usual === "string" && usual !== "");
  const range =
    minimum !== undefined && maximum !== undefined && maximum < Number.MAX_SAFE_INTEGER
      ? `${minimum} to ${maximum}`
      : undefined;
  const parts = [description, range, isPlain ? `${usual} unless given` : undefined];
  // The contract writes for documents: marks of code say nothing here.
  const said = parts.flatMap((part) => part?.replaceAll("`", "").replace(/\.$/, "") ?? []);
  const text = said.join("; ");
  return text === "" ? null : (
    <span class="clr-subtext" id={`${id}-help`}>
      {text}
    </span>
  );
}
