import { createPrivateKey, X509Certificate } from "node:crypto";
import { type ClientOptions, KmipClient, parseEndpoint } from "@holdfast/client";
import { type Credential, type Version, versions } from "@holdfast/kmip";
import type { Command } from "commander";
import { Failure, readCertificate, readGiven, reasonOf } from "../terminal/failure.ts";
import { findDevCluster, readDevCluster } from "./dev-cluster.ts";

/** Options of every command that talks to a KMIP server. */
export interface ConnectOptions {
  readonly endpoint?: readonly string[];
  readonly cert?: string;
  readonly key?: string;
  readonly ca?: string;
  readonly serverName?: string;
  readonly dev?: string | true;
  readonly version?: Version;
  readonly username?: string;
  readonly passwordFile?: string;
  readonly timeout?: number;
  readonly json?: true;
}

/** Adds those options to the command that has all KMIP commands. */
export function addConnectOptions(kmip: Command): void {
  kmip
    .option(
      "--endpoint <host:port>",
      "a KMIP server; give it once for each server",
      collectEndpoint,
    )
    .option("--cert <file>", "client certificate, PEM")
    .option("--key <file>", "its private key, PEM")
    .option("--ca <file>", "authority of the server's certificate, PEM")
    .option("--server-name <name>", "name in the server's certificate, if it is not the host")
    .option(
      "--dev [folder]",
      "take missing options from a development cluster; the default without --endpoint",
    )
    .option(
      "--version <version>",
      `KMIP version: ${versions.join(", ")} (default: newest common)`,
      versionOf,
    )
    .option("--username <name>", "user name, if the instance has users")
    .option("--password-file <file>", "file with the password on its first line")
    .option("--timeout <ms>", "how long one answer may take", countOf)
    .option("--json", "print JSON");
}

/** Connects as the options say, runs `work`, and closes the connections. */
export async function withClient<Result>(
  options: ConnectOptions,
  work: (client: KmipClient) => Promise<Result>,
): Promise<Result> {
  await using client = await KmipClient.connect(clientOptions(options));
  return await work(client);
}

/** How the server is reached that the options name; reads their files. */
export function clientOptions(options: ConnectOptions): ClientOptions {
  const { serverName, version, timeout } = options;
  const { endpoints, cert, key, ca } = whereAndWho(options);
  return {
    endpoints,
    tls: {
      ca: readCertificate("--ca", ca),
      ...readPair(cert, key),
      ...(serverName === undefined ? {} : { serverName }),
    },
    credentials: credentialsOf(options),
    ...(version === undefined ? {} : { version }),
    ...(timeout === undefined ? {} : { requestTimeoutMs: timeout, connectTimeoutMs: timeout }),
  };
}

function readPair(cert: string, key: string) {
  const certificate = readCertificate("--cert", cert);
  const privateKey = readKey(key);
  if (new X509Certificate(certificate).checkPrivateKey(createPrivateKey(privateKey))) {
    return { certificate, key: privateKey };
  }
  throw new Failure(`--key ${key}: is not the key of the certificate ${cert}`);
}

/** Parses the key here: on connecting, OpenSSL would only report "no start line". */
function readKey(path: string): string {
  const pem = readGiven("--key", path).toString("utf8");
  if (!pem.includes("PRIVATE KEY-----")) {
    throw new Failure(`--key ${path}: holds no private key (-----BEGIN PRIVATE KEY-----)`);
  }
  try {
    createPrivateKey(pem);
    return pem;
  } catch (error) {
    throw new Failure(
      `--key ${path}: holds no usable private key without passphrase: ${reasonOf(error)}`,
    );
  }
}

function whereAndWho({ endpoint, cert, key, ca, dev }: ConnectOptions) {
  const path = typeof dev === "string" ? dev : findDevCluster(process.cwd());
  const useDev = dev !== undefined || endpoint === undefined;
  if (useDev && path === undefined) {
    throw new Failure(
      "no server is given and no development cluster runs here: give --endpoint, --cert, --key and --ca, or run `npm start`",
    );
  }
  const cluster = useDev && path !== undefined ? readDevCluster(path) : undefined;
  const missing = Object.entries({ cert, key, ca }).filter(([, value]) => value === undefined);
  if (cluster === undefined && missing.length > 0) {
    const options = missing.map(([name]) => `--${name}`).join(", ");
    throw new Failure(
      `${options} ${missing.length === 1 ? "is" : "are"} missing: KMIP is mutual TLS (--dev takes the files of a development cluster)`,
    );
  }
  return {
    endpoints: endpoint ?? cluster?.endpoints ?? [],
    cert: cert ?? cluster?.certificate ?? "",
    key: key ?? cluster?.key ?? "",
    ca: ca ?? cluster?.ca ?? "",
  };
}

function credentialsOf({ username, passwordFile }: ConnectOptions): readonly Credential[] {
  if (username === undefined && passwordFile === undefined) return [];
  if (username === undefined) throw new Failure("--username is missing: --password-file needs it");
  const text = passwordFile === undefined ? undefined : readGiven("--password-file", passwordFile);
  const password = text?.toString("utf8").split(/\r?\n/)[0];
  return [
    { type: "UsernameAndPassword", username, ...(password === undefined ? {} : { password }) },
  ];
}

/** A whole number above 0. */
export function countOf(text: string): number {
  const count = Number(text);
  if (Number.isSafeInteger(count) && count > 0) return count;
  throw new Failure(`${text} is not a whole number above 0`);
}

/** Reads `--endpoint`, which may be given several times. */
export function collectEndpoint(text: string, before: readonly string[] = []): readonly string[] {
  if (parseEndpoint(text) === undefined) {
    throw new Failure(`--endpoint ${text}: is not a host and port, such as kms.example:5696`);
  }
  return [...before, text];
}

/** Reads a version of KMIP. */
export function versionOf(text: string): Version {
  const version = versions.find((one) => one === text);
  if (version === undefined) {
    throw new Failure(`--version ${text}: must be one of ${versions.join(", ")}`);
  }
  return version;
}
