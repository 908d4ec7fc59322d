import { ConnectionError, KmipClient, parseEndpoint, printEndpoint } from "@holdfast/client";
import type { Command } from "commander";
import {
  type ConnectOptions,
  clientOptions,
  collectEndpoint,
  countOf,
  versionOf,
} from "../sites/connect.ts";
import { Failure } from "../terminal/failure.ts";
import { patiently, type Surroundings } from "./patience.ts";
import { Peer } from "./peer.ts";

type Side = "source" | "target";
/** The options of a command, by name. */
export type Given = Readonly<Record<string, unknown>>;

/** Which of a KMIP server's options there are, and what each takes. */
const sideOptions = [
  ["endpoint <host:port>", "a KMIP server of the", collectEndpoint, "once for each server"],
  ["cert <file>", "client certificate for the", undefined, "PEM"],
  ["key <file>", "its private key for the", undefined, "PEM"],
  ["ca <file>", "authority of the server's certificate of the", undefined, "PEM"],
  [
    "server-name <name>",
    "name in the server's certificate of the",
    undefined,
    "if it is not the host",
  ],
  ["version <version>", "KMIP version of the", versionOf, "newest common unless given"],
  ["username <name>", "user name at the", undefined, "if it has users"],
  ["password-file <file>", "file with the password for the", undefined, "on its first line"],
] as const;
const needed: readonly string[] = ["endpoint", "cert", "key", "ca"];

/** Adds the options that say how the server of one side is reached. */
export function addSide(command: Command, side: Side): void {
  for (const [flags, text, read, more] of sideOptions) {
    const [name = ""] = flags.split(" ");
    const make = needed.includes(name) ? "requiredOption" : "option";
    const description = `${text} ${side}, ${more}`;
    if (read === undefined) command[make](`--${side}-${flags}`, description);
    else {
      command[make](`--${side}-${flags}`, description, (value: string, before?: never) =>
        namedFor(side, () => read(value, before) as never),
      );
    }
  }
}

/** Adds the option with the time that lost connections get. */
export function addPatience(command: Command): void {
  command.option(
    "--patience <seconds>",
    "how long a server may not answer before the command ends",
    countOf,
    60,
  );
}

/** Runs `work` with the server of one side. */
export async function withSide(
  side: Side,
  given: Given,
  around: Surroundings,
  work: (peer: Peer) => Promise<void>,
): Promise<void> {
  const options = namedFor(side, () => clientOptions(optionsOf(side, given)));
  const patience = { ms: patienceMs(given), around, who: `the ${side}` };
  // A wrong address or certificate must not take long; a server that is busy for a moment must not matter.
  await using client = await patiently(
    patience,
    () => KmipClient.connect(options),
    (error) => (error instanceof ConnectionError ? "again" : "no"),
  );
  // Without a version, both have agreed on one.
  await work(new Peer(client, patience, options.version === undefined));
}

/** `--patience` in milliseconds. */
export function patienceMs(given: Given): number {
  return 1000 * Number(given["patience"]);
}

/** The endpoints of one side. */
export function endpointsOf(side: Side, given: Given): readonly string[] {
  return optionsOf(side, given).endpoint ?? [];
}

/** An endpoint in the one form that all its spellings have in common. */
export function serverName(text: string): string {
  const endpoint = parseEndpoint(text);
  return (endpoint === undefined ? text : printEndpoint(endpoint)).toLowerCase();
}

/** A server that is compared with itself is always the same. */
export function refuseOneServer(given: Given): void {
  const sources = endpointsOf("source", given).map(serverName);
  const both = endpointsOf("target", given).find((one) => sources.includes(serverName(one)));
  if (both === undefined) return;
  throw new Failure(
    `${both} is a --source-endpoint and a --target-endpoint: give the old server as the source and the new one as the target`,
  );
}

function optionsOf(side: Side, given: Given): ConnectOptions {
  const own = Object.entries(given).flatMap(([name, value]) => {
    if (!name.startsWith(side)) return [];
    const rest = name.slice(side.length);
    return [[rest.charAt(0).toLowerCase() + rest.slice(1), value]];
  });
  return Object.fromEntries(own) as ConnectOptions;
}

/** Names this side's options in the refusals of those that every KMIP command has. */
function namedFor<Value>(side: Side, read: () => Value): Value {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    throw new Failure(
      error.message.replaceAll(
        /--(endpoint|cert|key|ca|server-name|version|username|password-file)\b/g,
        `--${side}-$1`,
      ),
    );
  }
}
