import type { KmipClient } from "@holdfast/client";
import { type EnumerationText, enumerations, type Response, valuesOf } from "@holdfast/kmip";
import type { Item } from "@holdfast/ttlv";
import type { Command } from "commander";
import { Failure } from "../terminal/failure.ts";
import { itemJson, type Json, plain, table } from "../terminal/output.ts";
import { type Answer, atServer } from "./kmip-command.ts";

type QueryFunction = EnumerationText<"QueryFunction">;

/** Commands about the server itself: query, versions. */
export function addServerCommands(kmip: Command): void {
  atServer(
    kmip
      .command("query")
      .summary("what the server can do")
      .description("Query (KMIP 2.1, 6.1): all functions of the version, or those that are named.")
      .argument("[functions...]", "such as Operations, Objects, ServerInformation, Profiles"),
    query,
  );
  atServer(kmip.command("versions").summary("KMIP versions of the server, newest first"), versions);
}

async function query(client: KmipClient, names: readonly string[]): Promise<Answer> {
  const known = [...valuesOf(enumerations.QueryFunction, client.version).keys()] as QueryFunction[];
  const asked = names.length === 0 ? known : names.map((name) => functionNamed(name, known));
  const answer = await client.query({ queryFunctions: asked });
  const entries = Object.entries(simplified(answer)).filter(
    ([, value]) => !(Array.isArray(value) && value.length === 0),
  );
  return {
    lines: table([["version", client.version], ...entries]),
    json: { version: client.version, ...Object.fromEntries(entries) },
  };
}

function functionNamed(name: string, known: readonly QueryFunction[]): QueryFunction {
  const wanted = name.toLowerCase().replace(/^query/, "");
  const found = known.find((one) => one.toLowerCase().replace(/^query/, "") === wanted);
  if (found !== undefined) return found;
  throw new Failure(`${name} is not a Query function of this version; there are ${plain(known)}`);
}

/** The answer's fields, with items and big numbers converted to JSON values. */
function simplified(answer: Response<"Query">): Readonly<Record<string, Json>> {
  return JSON.parse(
    JSON.stringify(answer, (_key, value: unknown) => {
      if (typeof value === "bigint") return String(value);
      return isItem(value) ? itemJson(value) : value;
    }),
  );
}

function isItem(value: unknown): value is Item {
  return typeof value === "object" && value !== null && "tag" in value && "type" in value;
}

async function versions(client: KmipClient): Promise<Answer> {
  const answer = await client.discoverVersions({ versions: [] });
  const names = answer.versions.map(({ major, minor }) => `${major}.${minor}`);
  return { lines: names, json: names };
}
