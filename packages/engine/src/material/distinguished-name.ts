import { type Der, derOne, derTags, derText, derValues, objectIdentifier } from "./der.ts";

/** One attribute of a distinguished name: its object identifier in dotted form and its text. */
export interface NameAttribute {
  readonly type: string;
  readonly text: string;
}

/** The attributes that KMIP knows by name (KMIP 2.1, 4.6), by object identifier. */
const nameAttributes = {
  "2.5.4.3": "CN",
  "2.5.4.10": "O",
  "2.5.4.11": "OU",
  "1.2.840.113549.1.9.1": "Email",
  "2.5.4.6": "C",
  "2.5.4.8": "ST",
  "2.5.4.7": "L",
  "0.9.2342.19200300.100.1.1": "UID",
  "2.5.4.5": "SerialNumber",
  "2.5.4.12": "Title",
  "0.9.2342.19200300.100.1.25": "DC",
  "2.5.4.46": "DNQualifier",
} as const;
export type NameAttributeName = (typeof nameAttributes)[keyof typeof nameAttributes];

/** KMIP's name for an attribute of a name; undefined if it has none. */
export function nameAttributeOf(type: string): NameAttributeName | undefined {
  return Object.hasOwn(nameAttributes, type)
    ? nameAttributes[type as keyof typeof nameAttributes]
    : undefined;
}

/** An attribute's keyword in the text form (RFC 2253, 2.3, and the usual keyword for e-mail). */
const keywords: Readonly<Partial<Record<NameAttributeName, string>>> = {
  CN: "CN",
  O: "O",
  OU: "OU",
  Email: "emailAddress",
  C: "C",
  ST: "ST",
  L: "L",
  UID: "UID",
  DC: "DC",
};

/** The relative names of a Name, each with its attributes, in the order of the certificate. */
export function relativeNames(name: Der): readonly (readonly NameAttribute[])[] {
  return derValues(name.content).map((relative) =>
    derValues(relative.content).map((pair) => {
      const [type, value] = derValues(derOne(pair.encoded, derTags.Sequence).content);
      if (type?.tag !== derTags.ObjectIdentifier || value === undefined) {
        return { type: "", text: "" };
      }
      return { type: objectIdentifier(type.content), text: derText(value) };
    }),
  );
}

/** A name as text, last part first (RFC 2253, 2). */
export function nameText(names: readonly (readonly NameAttribute[])[]): string {
  return names
    .map((attributes) => attributes.map(attributeText).join("+"))
    .reverse()
    .join(",");
}

function attributeText({ type, text }: NameAttribute): string {
  const name = nameAttributeOf(type);
  return `${(name && keywords[name]) ?? type}=${escaped(text)}`;
}

/** RFC 2253, 2.4. */
function escaped(text: string): string {
  const special = text.replaceAll(/[,+"\\<>;]/g, (character) => `\\${character}`);
  return special.replace(/^[ #]/, (character) => `\\${character}`).replace(/ $/, "\\ ");
}
