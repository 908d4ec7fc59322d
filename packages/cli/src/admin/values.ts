import { stateText } from "@holdfast/kmip";
import { Failure } from "../terminal/failure.ts";
import { type Field, optionOf } from "./fields.ts";

/** The value of a field's option. An invalid one causes a `Failure` that names the option. */
export function fieldValue(field: Field, given: unknown): unknown {
  switch (field.kind) {
    case "switch":
      return given === true ? "true" : String(given);
    case "number":
      return numberOf(field, String(given));
    case "time":
      return timeOf(field, String(given));
    case "pairs":
      return pairsOf(field, given as readonly string[]);
    case "list":
      return given;
    case "json":
      return jsonOf(field, String(given));
    case "text":
      return field.name === "fingerprint"
        ? bareHex(String(given))
        : identifier(field.name, String(given));
    case "choice":
      return field.choices.find((choice) => stateText(choice) === given) ?? String(given);
  }
}

const uuid = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i;
/** Arguments and options that may be an identifier of the service. */
const identified = new Set(["instance", "key", "certificate", "token", "target", "confirm", "id"]);

/** Converts an identifier to lower case; names and other texts stay as they are. */
export function identifier(name: string, text: string): string {
  return identified.has(name) && uuid.test(text) ? text.toLowerCase() : text;
}

/** Reads a fingerprint as vCenter and OpenSSL show it: in capitals, with colons. */
function bareHex(text: string): string {
  return text.trim().replaceAll(":", "").toLowerCase();
}

function numberOf({ name }: Field, text: string): number {
  const number = Number(text);
  if (text.trim() !== "" && Number.isFinite(number)) return number;
  throw new Failure(`${optionOf(name)} ${text}: is not a number`);
}

const units: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A time, or how long ago: `90m`, `24h`, `7d`. */
function timeOf({ name }: Field, text: string): string {
  const ago = /^(\d+)([mhd])$/.exec(text);
  const ms =
    ago === null ? Date.parse(text) : Date.now() - Number(ago[1]) * (units[ago[2] ?? ""] ?? 0);
  const date = new Date(ms);
  if (Number.isNaN(date.getTime())) {
    throw new Failure(
      `${optionOf(name)} ${text}: is not a time, such as 2026-11-25T10:00:00Z or 24h`,
    );
  }
  return date.toISOString();
}

function pairsOf({ name }: Field, texts: readonly string[]): Readonly<Record<string, string>> {
  const pairs = texts.map((text) => {
    const at = text.indexOf("=");
    if (at < 1) throw new Failure(`${optionOf(name)} ${text}: is not KEY=VALUE`);
    return [text.slice(0, at), text.slice(at + 1)] as const;
  });
  return Object.fromEntries(pairs);
}

function jsonOf({ name }: Field, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Failure(`${optionOf(name)}: is not JSON`);
  }
}
