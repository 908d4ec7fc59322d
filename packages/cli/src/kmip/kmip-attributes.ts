import type { KmipClient } from "@holdfast/client";
import type { Command } from "commander";
import { Failure } from "../terminal/failure.ts";
import { attributeJson, byName, plain, table } from "../terminal/output.ts";
import { isOf, parseAttribute, parseReference, referenceText } from "./attribute-text.ts";
import { type Answer, atServer } from "./kmip-command.ts";

/** Commands about attributes: attributes, add-attribute, delete-attribute. */
export function addAttributeCommands(kmip: Command): void {
  atServer(
    kmip
      .command("attributes")
      .summary("an object's attributes")
      .description("Get Attributes (KMIP 2.1, 6.1): all, or those that are named.")
      .argument("<id>")
      .argument("[names...]", "such as State, ActivationDate or x-Product"),
    attributes,
  );
  atServer(
    kmip
      .command("add-attribute")
      .summary("give an object an attribute, or one more value of it")
      .argument("<id>")
      .argument("<name=value>", "such as x-Product='VMware vSphere' or ActivationDate=now"),
    async (client, [id = "", text = ""]) => {
      const item = parseAttribute(text);
      await client.addAttribute({ uniqueIdentifier: id, newAttribute: { item } });
      const [name, value] = attributeJson(item);
      return { lines: [`${id} ${name} added: ${plain(value)}`], json: { [name]: value } };
    },
  );
  atServer(
    kmip
      .command("delete-attribute")
      .summary("remove an attribute from an object")
      .argument("<id>")
      .argument("<name>", "such as x-Product"),
    async (client, [id = "", name = ""]) => {
      const reference = parseReference(name);
      await client.deleteAttribute({ uniqueIdentifier: id, reference });
      return { lines: [`${id} ${referenceText(reference)} deleted`], json: { deleted: name } };
    },
  );
}

async function attributes(
  client: KmipClient,
  [id = "", ...names]: readonly string[],
): Promise<Answer> {
  const references = names.map(parseReference);
  const answer = await client.getAttributes({ uniqueIdentifier: id, references });
  const items = (answer.attributes ?? []).map(({ item }) => item);
  const missing = references.find((reference) => !items.some((item) => isOf(reference, item)));
  if (missing !== undefined && items.length === 0) {
    throw new Failure(`${id} has no ${referenceText(missing)}`);
  }
  const rows = items.map(attributeJson).toSorted(([a], [b]) => a.localeCompare(b));
  return { lines: table(rows), json: byName(rows) };
}
