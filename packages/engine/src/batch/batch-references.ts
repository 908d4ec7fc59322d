import { type IdentifierReference, KmipError, type OperationName } from "@holdfast/kmip";
import type { Placeholder } from "../ports/operation-context.ts";

/** What a batch's items may refer to: the ID Placeholder, and identifiers of earlier answers (KMIP 2.1, 4.58, 6.1). */
export class BatchReferences implements Placeholder {
  /** The identifiers in all answers, in their order. */
  readonly #produced: string[] = [];
  /** The identifiers in the latest answer of each operation; none if it failed or found nothing. */
  readonly #latest = new Map<string, readonly string[]>();
  #placeholder: string | undefined;

  get value(): string | undefined {
    return this.#placeholder;
  }

  set(uniqueIdentifier: string | undefined): void {
    this.#placeholder = uniqueIdentifier;
  }

  /** Notes the identifiers that an item's answer holds; none for an item that failed. */
  answered(operation: OperationName, uniqueIdentifiers: readonly string[]): void {
    for (const one of uniqueIdentifiers) this.#produced.push(one);
    this.#latest.set(operation, uniqueIdentifiers);
  }

  /** The identifier of the object that a request refers to; throws if it refers to no object, or to several. */
  resolve(reference: IdentifierReference | undefined): string {
    if (typeof reference === "string") return reference;
    const identifier = this.#referenced(reference);
    if (identifier !== undefined) return identifier;
    throw new KmipError("objectNotFound", "the request refers to no object");
  }

  #referenced(reference: Exclude<IdentifierReference, string> | undefined): string | undefined {
    if (reference === undefined) return this.#placeholder;
    if ("position" in reference) return this.#produced.at(reference.position);
    if (reference.special === "IDPlaceholder") return this.#placeholder;
    // If an operation occurs several times, the latest counts (KMIP 2.1, 11.58).
    const [only, ...others] = this.#latest.get(reference.special)?.slice(0, 2) ?? [];
    if (others.length === 0) return only;
    throw new KmipError(
      "invalidField",
      `${reference.special} found several objects: refer to one of them`,
    );
  }
}
