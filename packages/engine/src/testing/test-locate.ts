import {
  type AttributeName,
  type AttributeValue,
  attributeItem,
  attributes,
  type Request,
  type ResponseItem,
  type Version,
} from "@holdfast/kmip";
import { dateTime, type Item, structure } from "@holdfast/ttlv";
import type { EngineOptions } from "../batch/execute.ts";
import { type TestEngine, testEngine } from "./test-engine.ts";

/** Attributes to search for. */
export type Criteria = NonNullable<Request<"Locate">["attributes"]>;

/** An attribute of a request by name and value. */
export function is<N extends AttributeName>(name: N, value: AttributeValue<N>) {
  return { item: attributeItem(name, value) };
}

/** A structure with only some of its fields. */
export function part(name: AttributeName, ...fields: readonly Item[]) {
  return { item: structure(attributes[name].tag, fields) };
}

/** A date, the greatest of all included, which no object can have. */
export function date(name: AttributeName, seconds: number | bigint) {
  return { item: dateTime(attributes[name].tag, BigInt(seconds)) };
}

/** The date that means "no date" (KMIP 2.1, 6.1.28). */
export const never = 0x7fff_ffff_ffff_ffffn;

/** The identifiers in an answer of Locate, none for a failure. */
export function uniqueIdentifiersOf(answer: ResponseItem | undefined): readonly string[] {
  const payload = answer?.payload as { readonly uniqueIdentifiers?: readonly string[] } | undefined;
  return payload?.uniqueIdentifiers ?? [];
}

/** The identifier in an answer, empty for a failure. */
export function uniqueIdentifierOf(answer: ResponseItem | undefined): string {
  const payload = answer?.payload as { readonly uniqueIdentifier?: string } | undefined;
  return payload?.uniqueIdentifier ?? "";
}

/** An engine whose objects have labels. */
export class LabelledObjects {
  readonly engine: TestEngine;
  readonly #identifiers = new Map<string, string>();

  constructor(engine: TestEngine) {
    this.engine = engine;
  }

  static async make(options: Partial<EngineOptions> = {}): Promise<LabelledObjects> {
    return new LabelledObjects(await testEngine(options));
  }

  /** Creates an object under a label. */
  async add(label: string, payload: unknown, version: Version = "2.1"): Promise<void> {
    const { uniqueIdentifier } = await this.engine.ask(version, "Create", payload);
    this.#identifiers.set(label, uniqueIdentifier);
  }

  identifierOf(label: string): string {
    const identifier = this.#identifiers.get(label);
    if (identifier === undefined) throw new Error(`no object ${label}`);
    return identifier;
  }

  labelOf(uniqueIdentifier: string): string | undefined {
    return [...this.#identifiers].find(([, known]) => known === uniqueIdentifier)?.[0];
  }

  /** What Locate returns, with labels. */
  async locate(version: Version, criteria: Criteria, more: Partial<Request<"Locate">> = {}) {
    const answer = await this.engine.ask(version, "Locate", { ...more, attributes: criteria });
    const labels = answer.uniqueIdentifiers.map((one) => this.labelOf(one) ?? "?");
    return { ...answer, labels };
  }
}
