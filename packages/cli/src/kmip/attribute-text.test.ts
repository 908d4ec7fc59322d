import { ItemType } from "@holdfast/ttlv";
import { describe, expect, test } from "vitest";
import { attributeJson, plain } from "../terminal/output.ts";
import { parseAttribute, parseReference, referenceText } from "./attribute-text.ts";

describe("an attribute as text", () => {
  test.each<[text: string, name: string, value: unknown]>([
    ["State=Active", "State", "Active"],
    ["Activation Date=2027-01-31T12:00:00Z", "ActivationDate", "2027-01-31T12:00:00Z"],
    ["activation-date=0", "ActivationDate", "1970-01-01T00:00:00Z"],
    ["CryptographicLength=256", "CryptographicLength", 256],
    ["CryptographicUsageMask=Encrypt, Decrypt", "CryptographicUsageMask", ["Encrypt", "Decrypt"]],
    ["Name=a=b", "Name", { NameValue: "a=b", NameType: "UninterpretedTextString" }],
    ["ObjectGroup=blue", "ObjectGroup", "blue"],
    ["Sensitive=true", "Sensitive", true],
    ["x-Product=VMware vSphere", "x-Product", "VMware vSphere"],
    ["y-Note=", "y-Note", ""],
    ["CryptographicAlgorithm=aes", "CryptographicAlgorithm", "AES"],
    ["CryptographicAlgorithm=3DES", "CryptographicAlgorithm", "DES3"],
    ["CryptographicAlgorithm=hmac-sha256", "CryptographicAlgorithm", "HMAC_SHA256"],
    ["State=pre-active", "State", "PreActive"],
    ["Acme/colour=blue", "Acme/colour", "blue"],
  ])("is read from %s", (text, name, value) => {
    expect(attributeJson(parseAttribute(text))).toEqual([name, value]);
  });

  test.each([
    ["State", "State: an attribute is given as NAME=VALUE"],
    ["=x", "=x: an attribute is given as NAME=VALUE"],
    ["Colour=blue", "Colour is not an attribute; custom ones are called x-NAME"],
    ["State=Actve", "Actve is not a State; there are PreActive, Active"],
    ["CryptographicLength=long", "CryptographicLength is a whole number, not long"],
    ["CryptographicUsageMask=Encypt", "Encypt is not a CryptographicUsageMask; there are Sign"],
    ["ActivationDate=soon", "ActivationDate is a date, such as"],
    ["Sensitive=1", "Sensitive is true or false"],
    ["CryptographicParameters=x", "CryptographicParameters cannot be given as text"],
  ])("%s is refused with a hint on how to fix it", (text, message) => {
    expect(() => parseAttribute(text)).toThrow(message);
  });

  test.each(["State", "x-Product", "Acme/colour", "ActivationDate"])(
    "the name %s is read and written unchanged",
    (name) => {
      expect(referenceText(parseReference(name))).toBe(name);
    },
  );
});

describe("a value on a line", () => {
  test("shows no control or bidirectional characters", () => {
    const item = { tag: 0x420094, type: ItemType.TextString, value: "a\u001b[2Jb\u202ec" } as const;
    expect(plain(attributeJson(item)[1])).toBe("a\\u001b[2Jb\\u202ec");
  });

  test("never shows what a secret tag holds", () => {
    const secret = { tag: 0x420043, type: ItemType.ByteString, value: Buffer.from("key") } as const;
    const block = { tag: 0x420040, type: ItemType.Structure, value: [secret] } as const;
    expect(JSON.stringify(attributeJson(block))).not.toContain(Buffer.from("key").toString("hex"));
  });
});
