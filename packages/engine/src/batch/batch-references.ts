import { type IdentifierReference, KmipError, type OperationName } from "@holdfast/kmip";
import type { Placeholder } from "../ports/operation-context.ts";

/** What a batch's items may refer to: the ID Placeholder, and identifiers of earlier answers (KMIP 2.1, 4.58, 6.1). */
export class BatchReferences implements Placeholder {
  readonly #produced: { readonly operation: OperationName; readonly uniqueIdentifier: string }[] =
    [];
  #placeholder: string | undefined;

  get value(): string | undefined {
    return this.#placeholder;
  }

  set(uniqueIdentifier: string | undefined): void {
    this.#placeholder = uniqueIdentifier;
  }

  /** Notes an identifier that an item's answer holds. */
  produced(operation: OperationName, uniqueIdentifier: string): void {
    this.#produced.push({ operation, uniqueIdentifier });
  }

  /** The identifier of the object that a request refers to; throws if it refers to no object. */
  resolve(reference: IdentifierReference | undefined): string {
    if (typeof reference === "string") return reference;
    const identifier = this.#referenced(reference);
    if (identifier !== undefined) return identifier;
    throw new KmipError("objectNotFound", "the request refers to no object");
  }

  #referenced(reference: Exclude<IdentifierReference, string> | undefined): string | undefined {
    if (reference === undefined) return this.#placeholder;
    if ("position" in reference) return this.#produced.at(reference.position)?.uniqueIdentifier;
    if (reference.special === "IDPlaceholder") return this.#placeholder;
    return this.#produced.findLast(({ operation }) => operation === reference.special)
      ?.uniqueIdentifier;
  }
}
