import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, join, relative, resolve } from "node:path";
import { child, type Element, parseElement } from "./element.ts";

/** One exchange: a client's request, and the server's answer according to the document. */
export interface Exchange {
  readonly request: Element;
  readonly response: Element | undefined;
}

export interface CorpusFile {
  /** Path below the corpus folder. */
  readonly path: string;
  readonly name: string;
  /** Version of the first request's header. */
  readonly version: string;
  /** Profile family (`SKFF-M`, `BL-M`), undefined for test cases. */
  readonly family: string | undefined;
  readonly exchanges: readonly Exchange[];
  /** Operations that the requests use, in order of appearance. */
  readonly operations: readonly string[];
}

/** Files that share one instance and are replayed in this order. */
export interface Group {
  readonly name: string;
  readonly files: readonly CorpusFile[];
}

/** The corpus folder: `--corpus`, or `KMIP_CORPUS`, or `../shared/oasis` next to the project. */
export function corpusFolder(option: string | undefined, root: string): string {
  return resolve(option ?? process.env["KMIP_CORPUS"] ?? join(root, "../shared/oasis"));
}

function versionOf(message: Element | undefined): string {
  const version = child(child(message, "RequestHeader"), "ProtocolVersion");
  const major = child(version, "ProtocolVersionMajor")?.value ?? "?";
  const minor = child(version, "ProtocolVersionMinor")?.value ?? "?";
  return `${major}.${minor}`;
}

function pair(messages: readonly Element[]): Exchange[] {
  const exchanges: Exchange[] = [];
  for (const [at, message] of messages.entries()) {
    if (message.name !== "RequestMessage") continue;
    const next = messages[at + 1];
    exchanges.push({
      request: message,
      response: next?.name === "ResponseMessage" ? next : undefined,
    });
  }
  return exchanges;
}

/** Reads one document. */
export function readCorpusFile(folder: string, path: string): CorpusFile {
  const document = parseElement(readFileSync(join(folder, path), "utf8"));
  const exchanges = pair(document.children);
  const operations = new Set<string>();
  for (const { request } of exchanges) {
    for (const item of request.children) {
      const operation = child(item, "Operation")?.value;
      if (item.name === "BatchItem" && operation !== undefined) operations.add(operation);
    }
  }
  const name = basename(path, ".xml");
  const family = /^(?!TC)([A-Z0-9_]+)-[MO]-/.exec(name)?.[1];
  return {
    path,
    name,
    version: versionOf(exchanges[0]?.request),
    family,
    exchanges,
    operations: [...operations],
  };
}

const byName = new Intl.Collator("en", { numeric: true });

/** Every XML document below the folder, in natural order of the names. */
export function findCorpusFiles(folder: string, include: RegExp | undefined): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".xml"))
    .filter((path) => include === undefined || include.test(path))
    .sort((a, b) => byName.compare(a, b))
    .map((path) => relative(folder, join(folder, path)));
}

/** Test cases that continue from the one before. */
const chains = /^TC[-_](CREG|OTP)\b/;

function groupName(file: CorpusFile): string {
  if (file.family !== undefined) return `${file.family} ${file.version}`;
  const chain = chains.exec(file.name)?.[1];
  return chain === undefined ? file.path : `${chain} ${file.version}`;
}

/** Groups the files by instance: a family and version, a chain, or a single test case. */
export function groupFiles(files: readonly CorpusFile[]): Group[] {
  const groups = new Map<string, CorpusFile[]>();
  for (const file of files) {
    const name = groupName(file);
    const group = groups.get(name) ?? [];
    group.push(file);
    groups.set(name, group);
  }
  return [...groups].map(([name, members]) => ({ name, files: members }));
}

/** Whether the file's answers depend on other objects of the instance. */
export function needsEmptyInstance(file: CorpusFile): boolean {
  return file.operations.includes("Locate");
}
