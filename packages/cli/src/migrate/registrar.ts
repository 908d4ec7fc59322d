import { KmipClientError } from "@holdfast/client";
import {
  type Attribute,
  type AttributeName,
  attributeByTag,
  attributeItem,
  attributes,
  attributeVisible,
  KmipError,
  keyBlockOf,
  type ObjectTypeName,
  tags,
  withKeyBlock,
} from "@holdfast/kmip";
import { type Item, ItemType, structure, textString } from "@holdfast/ttlv";
import { isSame, wipe } from "./material.ts";
import type { Surroundings } from "./patience.ts";
import type { Peer, Refused } from "./peer.ts";
import { attributeWord, firstOf, lacking, namesOf } from "./plan-row.ts";

/** An object that is given to the target. */
export interface Given {
  readonly id: string;
  readonly type: ObjectTypeName;
  readonly items: readonly Item[];
  readonly object: Item;
}

/** What the target made of it. */
export interface Registered {
  readonly id: string;
  readonly outcome: "Imported" | "Registered" | "AlreadyThere";
}

const without: ReadonlySet<number> = new Set(
  (
    ["UniqueIdentifier", "ObjectType", "State", "Digest", "Fresh", "Link", "KeyFormatType"] as const
  ).map((name) => attributes[name].tag),
);
/** Every server takes these of every object that may have them. */
const least: readonly AttributeName[] = [
  ...(["CryptographicAlgorithm", "CryptographicLength", "CryptographicUsageMask"] as const),
  "Name",
];
/** Refusals that mean the attributes, not the object. */
const aboutAttributes: readonly unknown[] = [
  ...["InvalidField", "InvalidMessage", "AttributeReadOnly", "ReadOnlyAttribute"],
  ...["InvalidAttribute", "InvalidAttributeValue", "UnsupportedAttribute", "PermissionDenied"],
  "AttributeSingleValued",
];
/** So often an object is given whole after general failures, with a growing pause, before attributes are left out. */
const triesMax = 3;
const againMs = 500;

/** Gives objects to any KMIP server: by Import where it has that, which keeps identifiers, otherwise by Register. */
export class Registrar {
  readonly #target: Peer;
  readonly #around: Pick<Surroundings, "sleep">;
  /** Whether the target answers a general failure to attributes that it does not take. */
  #failsOnAttributes = false;
  readonly #unsure = new Set<string>();

  constructor(target: Peer, around: Pick<Surroundings, "sleep">) {
    this.#target = target;
    this.#around = around;
  }

  /**
   * Gives one object. `begun`: an earlier run may have registered it without learning its identifier, so that an object
   * with its name and its material is taken as the same.
   */
  async give(given: Given, begun: boolean): Promise<Registered> {
    if (await this.#target.takesImport()) return await this.#import(given);
    const known = begun ? await this.#find(given) : undefined;
    if (known !== undefined) return { id: known, outcome: "AlreadyThere" };
    return await this.#register(given);
  }

  /** Whether the target may have an object that it did not acknowledge: it answered a general failure. */
  isUnsure(id: string): boolean {
    return this.#unsure.has(id);
  }

  /** Brings the object to the State of the source, which Register does not. Returns how its State differs afterwards. */
  async settle(id: string, { items, type }: Given): Promise<string | undefined> {
    const wanted = firstOf(items, "State");
    const { version } = this.#target;
    if (wanted === undefined || !attributeVisible(attributes.State.tag, version, type)) {
      return undefined;
    }
    const now = await this.#stateOf(id);
    if (now === wanted) return undefined;
    await this.#bring(id, items, wanted, now);
    const after = await this.#stateOf(id);
    if (after === wanted) return undefined;
    return `its State is ${wanted} at the source, and ${after ?? "not shown"} at the target`;
  }

  /** Asks for the operations that lead to a State; some States have no way to another one. */
  async #bring(
    id: string,
    items: readonly Item[],
    wanted: string,
    now: string | undefined,
  ): Promise<void> {
    if (now === undefined || wanted === "PreActive") return;
    const wasActive = wanted !== "Compromised" || firstOf(items, "ActivationDate") !== undefined;
    if (now === "PreActive" && wasActive) {
      await this.#target.call((client) => client.activate({ uniqueIdentifier: id }));
    }
    if (wanted === "Active") return;
    const fallback = wanted === "Compromised" ? "KeyCompromise" : "CessationOfOperation";
    const revocationReason = firstOf(items, "RevocationReason") ?? { code: fallback };
    const occurred = firstOf(items, "CompromiseOccurrenceDate");
    await this.#target.call((client) =>
      client.revoke({
        uniqueIdentifier: id,
        revocationReason,
        ...(wanted === "Compromised"
          ? { compromiseOccurrenceDate: occurred ?? firstOf(items, "CompromiseDate") ?? 0 }
          : {}),
      }),
    );
  }

  async #stateOf(id: string): Promise<string | undefined> {
    const read = await this.#target.describe(id);
    if ("refused" in read) throw refusal(`the target does not show ${id}`, read);
    return firstOf(read.items, "State");
  }

  async #register(given: Given): Promise<Registered> {
    const all = this.#attributesOf(given);
    try {
      return await this.#registerWhole(given, all);
    } catch (error) {
      if (!(error instanceof KmipClientError)) throw error;
      const isGeneral = isGeneralFailure(error);
      if (!isGeneral && !aboutAttributes.includes(error.reason)) throw error;
      const few = all.filter(({ tag }) => least.some((name) => attributes[name].tag === tag));
      if (few.length === all.length) throw error;
      const made = await this.#registered(given, few);
      this.#failsOnAttributes ||= isGeneral;
      return made;
    }
  }

  /** With all attributes. After a general failure the object is looked for, and given again. */
  async #registerWhole(given: Given, all: readonly Item[]): Promise<Registered> {
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.#registered(given, all);
      } catch (error) {
        if (!isGeneralFailure(error)) throw error;
        const there = await this.#find(given).catch(withoutLocate);
        if (there !== undefined) return { id: there, outcome: "AlreadyThere" };
        if (this.#failsOnAttributes || tries >= triesMax) throw error;
        await this.#around.sleep(againMs * tries);
      }
    }
  }

  async #registered({ id: source, type, object }: Given, items: readonly Item[]) {
    const attributes: readonly Attribute[] = items.map((item) => ({ item }));
    try {
      const { uniqueIdentifier } = await this.#target.call(
        (client) =>
          client.register({
            objectType: type,
            attributes: { attributes, templateNames: [] },
            object: bare(object),
          }),
        false,
      );
      return { id: uniqueIdentifier, outcome: "Registered" as const };
    } catch (error) {
      if (isGeneralFailure(error)) this.#unsure.add(source);
      throw error;
    }
  }

  /** What a client may state of a new object of this type, in the target's version. */
  #attributesOf({ type, items }: Given): readonly Item[] {
    const ended = isOver(items);
    return items.filter((item) => {
      const row = attributeByTag(item.tag);
      if (row === undefined || without.has(item.tag)) return false;
      if (!attributeVisible(item.tag, this.#target.version, type)) return false;
      // The target sets it when the object is revoked.
      if (ended && item.tag === attributes.DeactivationDate.tag) return false;
      return row.setBy !== "server" || row.atCreation === true;
    });
  }

  /** Import (KMIP 2.1, 6.1.25). A second one of the same object is refused, and then compared. */
  async #import(given: Given): Promise<Registered> {
    const { id, type, object } = given;
    const items = this.#attributesOf(given);
    const objectType = attributeItem("ObjectType", type);
    const payload = structure(tags.RequestPayload.tag, [
      textString(tags.UniqueIdentifier.tag, id),
      objectType,
      structure(tags.Attributes.tag, items),
      object,
    ]);
    try {
      const answer = await this.#target.raw("Import", payload);
      const made =
        answer?.type === ItemType.Structure
          ? answer.value.find(({ tag }) => tag === tags.UniqueIdentifier.tag)
          : undefined;
      const kept = made?.type === ItemType.TextString ? made.value : id;
      return { id: kept, outcome: "Imported" };
    } catch (error) {
      if (!(error instanceof KmipClientError)) throw error;
      if (!(await this.#holds(id, given, error))) throw error;
      return { id, outcome: "AlreadyThere" };
    }
  }

  /** An object of the target with a name and the material of this one. */
  async #find(given: Given): Promise<string | undefined> {
    const [name] = namesOf(given.items);
    if (name === undefined) return undefined;
    const asked = [
      attributeItem("Name", { value: name, type: "UninterpretedTextString" }),
      attributeItem("ObjectType", given.type),
    ];
    const { uniqueIdentifiers } = await this.#target.call((client) =>
      client.locate({ attributes: asked.map((item) => ({ item })) }),
    );
    for (const id of uniqueIdentifiers) if (await this.#holds(id, given)) return id;
    return undefined;
  }

  /** Throws the target's refusal, or the one before it: what it does not give may be this very object. */
  async #holds(id: string, { type, object }: Given, first?: KmipClientError): Promise<boolean> {
    const there = await this.#target.object(id, type);
    try {
      if (!("refused" in there)) return isSame(there, object);
      if (there.gone) return false;
      throw first ?? refusal(`the target does not give ${id}, which may be this object`, there);
    } finally {
      wipe(there);
    }
  }
}

/** The attributes that a person would miss at a target that shows these; not what every server sets for itself. */
export function missingOf(items: readonly Item[], shown: readonly Item[]): readonly string[] {
  const lost = lacking(items, shown).filter(
    ({ tag }) => attributeByTag(tag)?.setBy !== "server" && tag !== attributes.Fresh.tag,
  );
  return [...new Set(lost.map(attributeWord))];
}

/**
 * What decides whether and how the object may be used, and the target does not show with the same value. The dates of what
 * has begun or ended are set by the target itself, when it is asked for that State.
 */
export function decisiveOf(
  items: readonly Item[],
  shown: readonly Item[],
  { version }: Pick<Peer, "version">,
): readonly string[] {
  const { CryptographicUsageMask, ActivationDate, DeactivationDate } = attributes;
  const state = firstOf(items, "State");
  const type = firstOf(items, "ObjectType") as ObjectTypeName;
  const tags = [
    CryptographicUsageMask.tag,
    ...(state === "PreActive" ? [ActivationDate.tag] : []),
    ...(isOver(items) ? [] : [DeactivationDate.tag]),
  ];
  const wanted = items.filter(
    ({ tag }) => tags.includes(tag) && attributeVisible(tag, version, type),
  );
  return missingOf(wanted, shown);
}

/** Whether the object is not used any more. */
function isOver(items: readonly Item[]): boolean {
  return /^(Deactivated|Compromised)$/.test(firstOf(items, "State") ?? "");
}

/** A server that cannot search finds nothing. */
function withoutLocate(error: unknown): undefined {
  const cannot = error instanceof KmipClientError && error.reason === "OperationNotSupported";
  if (!cannot) throw error;
  return undefined;
}

/** Whether a target says only that something is wrong: then it may have carried out what it was asked for. */
function isGeneralFailure(error: unknown): boolean {
  return error instanceof KmipClientError && error.reason === "GeneralFailure";
}

function refusal(what: string, { refused }: Refused): KmipError {
  return new KmipError("permissionDenied", `${what}: ${refused}`);
}

/** The object without the attributes inside its Key Value, which few servers take. */
function bare(object: Item): Item {
  const block = keyBlockOf(object);
  const { keyValue } = block ?? {};
  if (block === undefined || keyValue === undefined || keyValue instanceof Uint8Array)
    return object;
  if (keyValue.attributes === undefined) return object;
  return withKeyBlock(object, { ...block, keyValue: { keyMaterial: keyValue.keyMaterial } });
}
