import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { corpusFolder, findCorpusFiles, groupFiles, readCorpusFile } from "./corpus.ts";
import { type Place, runOnEndpoint, runOnOwnServer } from "./run.ts";
import { printReport, type Report } from "./verdict.ts";

const usage = `Replays OASIS KMIP documents over TLS.

  npm run conformance -- [options]

  --corpus DIR         folder with the documents (default: KMIP_CORPUS, else ../shared/oasis)
  --include REGEX      only files whose path matches
  --endpoint HOST:PORT a running server instead of one of our own; needs the next three
  --cert FILE          client certificate (PEM)
  --key FILE           its private key (PEM)
  --ca FILE            authority of the server's certificate (PEM)
  --json               print the report as JSON
`;

class UsageError extends Error {}

function options() {
  return parseArgs({
    options: {
      corpus: { type: "string" },
      include: { type: "string" },
      endpoint: { type: "string" },
      cert: { type: "string" },
      key: { type: "string" },
      ca: { type: "string" },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  }).values;
}

type Options = ReturnType<typeof options>;

function pem(name: "cert" | "key" | "ca", path: string | undefined): string {
  if (path === undefined) throw new UsageError(`--endpoint needs --${name} FILE`);
  try {
    return readFileSync(path, "utf8");
  } catch {
    throw new UsageError(`--${name}: ${path} cannot be read`);
  }
}

function endpointOf(given: Options): Place | undefined {
  if (given.endpoint === undefined) return undefined;
  const match = /^\[?([^\]]+)\]?:(\d{1,5})$/.exec(given.endpoint);
  if (match?.[1] === undefined) {
    throw new UsageError(`--endpoint ${given.endpoint} is not HOST:PORT`);
  }
  return {
    host: match[1],
    port: Number(match[2]),
    certificate: pem("cert", given.cert),
    key: pem("key", given.key),
    ca: pem("ca", given.ca),
  };
}

function includeOf(given: Options): RegExp | undefined {
  if (given.include === undefined) return undefined;
  try {
    return new RegExp(given.include);
  } catch {
    throw new UsageError(`--include ${given.include} is not a regular expression`);
  }
}

async function run(given: Options): Promise<Report> {
  const folder = corpusFolder(given.corpus, join(import.meta.dirname, "../.."));
  const include = includeOf(given);
  const paths = findCorpusFiles(folder, include);
  if (paths.length === 0) {
    throw new UsageError(`no document below ${folder} matches: give --corpus DIR or KMIP_CORPUS`);
  }
  const groups = groupFiles(paths.map((path) => readCorpusFile(folder, path)));
  const place = endpointOf(given);
  return place === undefined ? runOnOwnServer(groups) : runOnEndpoint(groups, place);
}

async function main(): Promise<number> {
  try {
    const given = options();
    if (given.help) {
      process.stdout.write(usage);
      return 0;
    }
    const report = await run(given);
    process.stdout.write(given.json ? `${JSON.stringify(report)}\n` : `${printReport(report)}\n`);
    return report.failed === 0 ? 0 : 1;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    process.stderr.write(`conformance: ${message}\n`);
    return error instanceof UsageError ? 2 : 1;
  }
}

process.exitCode = await main();
