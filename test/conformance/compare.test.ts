import { join } from "node:path";
import { expect, test } from "vitest";
import { Bindings, nowSeconds } from "./bindings.ts";
import { Comparer } from "./compare.ts";
import { corpusFolder, findCorpusFiles, readCorpusFile } from "./corpus.ts";
import { type Element, mapValues, parseElement } from "./element.ts";
import { canonical } from "./replay.ts";

const nowMs = Date.parse("2026-01-01T00:00:00Z");

const request = parseElement(
  "<RequestMessage><RequestHeader/><BatchItem><Operation type='Enumeration' value='Get'/></BatchItem></RequestMessage>",
);

function compare(
  expected: Element,
  actual: Element,
  given: Partial<{ serverMade: string[] }> = {},
) {
  return new Comparer({
    bindings: new Bindings(() => "fresh"),
    nowMs,
    version: "1.4",
    family: "SKLC",
    request,
    datesSent: new Set(),
    serverMade: new Set(given.serverMade ?? []),
  }).response(expected, actual);
}

function answer(payload: string): Element {
  return parseElement(
    `<ResponseMessage><ResponseHeader><BatchCount type="Integer" value="1"/></ResponseHeader>
     <BatchItem><Operation type="Enumeration" value="Get"/><ResultStatus type="Enumeration" value="Success"/>
     <ResponsePayload>${payload}</ResponsePayload></BatchItem></ResponseMessage>`,
  );
}

const material = (hex: string) =>
  answer(
    `<UniqueIdentifier type="TextString" value="a"/><KeyMaterial type="ByteString" value="${hex}"/>`,
  );

test.each<[string, Element, Element, RegExp | undefined]>([
  ["the same answer", material("00"), material("00"), undefined],
  ["other bytes of a registered key", material("00"), material("01"), /KeyMaterial is 01/],
  [
    "an additional field",
    answer(""),
    answer('<LeaseTime type="Interval" value="1"/>'),
    /LeaseTime 1 of them/,
  ],
  ["a missing field", answer('<LeaseTime type="Interval" value="1"/>'), answer(""), /LeaseTime 0/],
  [
    "a Located Items that the document lacks",
    answer(""),
    answer('<LocatedItems type="Integer" value="1"/>'),
    undefined,
  ],
  [
    "another item type",
    answer('<LeaseTime type="Interval" value="1"/>'),
    answer('<LeaseTime type="Integer" value="1"/>'),
    /is Integer, not Interval/,
  ],
  [
    "a date within the tolerance",
    answer('<InitialDate type="DateTime" value="$NOW"/>'),
    answer('<InitialDate type="DateTime" value="2026-01-01T00:00:04Z"/>'),
    undefined,
  ],
  [
    "a date outside the tolerance",
    answer('<InitialDate type="DateTime" value="$NOW"/>'),
    answer('<InitialDate type="DateTime" value="2026-01-01T00:01:00Z"/>'),
    /60 s from/,
  ],
])("compares %s", (_name, expected, actual, message) => {
  const found = compare(expected, actual);
  if (message === undefined) expect(found).toBeUndefined();
  else expect(`${found?.path} ${found?.message}`).toMatch(message);
});

test("material of a server-made object may differ, but its length may not", () => {
  expect(compare(material("00"), material("01"), { serverMade: ["a"] })).toBeUndefined();
  expect(compare(material("00"), material("0101"), { serverMade: ["a"] })).toBeDefined();
});

test("a placeholder keeps its bound value", () => {
  const expected = answer(
    '<UniqueIdentifier type="TextString" value="$UNIQUE_IDENTIFIER_0"/><CorrelationValue type="TextString" value="$UNIQUE_IDENTIFIER_0"/>',
  );
  const actual = (a: string, b: string) =>
    answer(
      `<UniqueIdentifier type="TextString" value="${a}"/><CorrelationValue type="TextString" value="${b}"/>`,
    );
  expect(compare(expected, actual("1", "1"))).toBeUndefined();
  expect(compare(expected, actual("1", "2"))?.message).toContain("is 2");
});

const folder = corpusFolder(undefined, join(import.meta.dirname, "../.."));
const files = findCorpusFiles(folder, undefined);

test.skipIf(files.length === 0)(
  `every document's answers equal themselves (${files.length} files below ${folder}; needs KMIP_CORPUS)`,
  () => {
    const wrong = files.flatMap((path) => {
      const file = readCorpusFile(folder, path);
      return file.exchanges.flatMap(({ response }) => {
        if (response === undefined) return [];
        const read = canonical(response);
        const actual = mapValues(read, (text) => {
          const seconds = nowSeconds(text, nowMs);
          return seconds === undefined ? text : new Date(seconds * 1000).toISOString();
        });
        const found = compare(read, actual);
        return found === undefined ? [] : [`${path} ${found.path} ${found.message}`];
      });
    });
    expect(wrong).toEqual([]);
  },
);
