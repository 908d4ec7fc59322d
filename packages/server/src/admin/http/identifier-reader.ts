import { setImmediate } from "node:timers/promises";
import {
  Identifiers,
  identifierLengthMax,
  identifiersMax,
} from "../../management/keys/identifiers.ts";
import { Refused } from "../problem.ts";

/** Bytes that are read in one turn of the event loop. */
const sliceBytes = 16_384;
/** An element without escapes, as almost all are; `element` matches those with escapes, too. */
const plain = /\s*"([^"\\\p{Cc}]*)"\s*([,\]])/uy;
const opening = /^\s*\{\s*"inUse"\s*:\s*\[/;
const element = /\s*(?:"((?:[^"\\\p{Cc}]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*)"\s*([,\]])|\])/uy;
const closing = /^\s*\}\s*$/;
/** The most text kept of an unfinished element: every character escaped, and some space. */
const restMax = 4 * 6 * identifierLengthMax;

/**
 * Reads `{"inUse": ["…", …]}` piece by piece, so that other work waits for one piece only, however
 * many identifiers there are. For any other body, throws a `Refused` that names the place.
 */
export async function readIdentifiers(
  body: AsyncIterable<Buffer>,
  bytesMax: number,
): Promise<Identifiers> {
  const reader = new IdentifierReader();
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let bytes = 0;
  for await (const piece of body) {
    bytes += piece.length;
    if (bytes > bytesMax) throw new Refused({ code: "tooLarge", detail: "the body is too large" });
    for (let at = 0; at < piece.length; at += sliceBytes) {
      const slice = piece.subarray(at, at + sliceBytes);
      reader.take(decoded(() => decoder.decode(slice, { stream: true })));
      await setImmediate();
    }
  }
  reader.take(decoded(() => decoder.decode()));
  return reader.end();
}

function matchAt(pattern: RegExp, text: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at;
  return pattern.exec(text);
}

function decoded(decode: () => string): string {
  try {
    return decode();
  } catch {
    throw invalid("body", "must be JSON in UTF-8");
  }
}

/** Keeps the position in the body between two pieces. */
class IdentifierReader {
  readonly #found = new Identifiers(identifiersMax);
  #state: "opening" | "list" | "closing" = "opening";
  #rest = "";
  /** After a comma another identifier must come. */
  #more = false;

  take(text: string): void {
    this.#rest += text;
    if (this.#state === "opening") this.#open();
    if (this.#state === "list") this.#list();
    if (this.#rest.length > restMax) throw this.#wrong();
  }

  end(): Identifiers {
    if (this.#state !== "closing" || !closing.test(this.#rest)) throw this.#wrong();
    if (this.#found.given === 0) {
      throw invalid("body.inUse", "is empty: every key would be an orphan");
    }
    return this.#found;
  }

  #open(): void {
    const match = opening.exec(this.#rest);
    if (match === null) return;
    this.#rest = this.#rest.slice(match[0].length);
    this.#state = "list";
  }

  #list(): void {
    let at = 0;
    while (this.#state === "list") {
      const match = matchAt(plain, this.#rest, at) ?? matchAt(element, this.#rest, at);
      if (match === null) break;
      at += match[0].length;
      const [, escaped, next] = match;
      if (escaped === undefined) {
        if (this.#more) throw this.#wrong();
        this.#state = "closing";
        break;
      }
      this.#add(escaped.includes("\\") ? (JSON.parse(`"${escaped}"`) as string) : escaped);
      this.#more = next === ",";
      if (next === "]") this.#state = "closing";
    }
    this.#rest = this.#rest.slice(at);
  }

  #add(identifier: string): void {
    const { given } = this.#found;
    if (identifier === "" || identifier.length > identifierLengthMax) {
      throw invalid(`body.inUse[${given}]`, `must have 1 to ${identifierLengthMax} characters`);
    }
    if (given >= identifiersMax) {
      throw invalid("body.inUse", `has more than ${identifiersMax} identifiers`);
    }
    this.#found.add(identifier);
  }

  #wrong(): Refused {
    if (this.#state === "list") {
      return invalid(`body.inUse[${this.#found.given}]`, "must be a string");
    }
    return invalid("body", 'must be JSON of the form {"inUse": ["…", …]}');
  }
}

function invalid(at: string, says: string): Refused {
  const errors = [{ at, says }];
  return new Refused({ code: "invalid", detail: `${at}: ${says}`, extra: { errors } });
}
