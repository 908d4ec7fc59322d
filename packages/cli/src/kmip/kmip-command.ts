import type { KmipClient } from "@holdfast/client";
import type { Command } from "commander";
import { identifier } from "../admin/values.ts";
import { type ConnectOptions, withClient } from "../sites/connect.ts";
import { say } from "../terminal/lines.ts";
import { type Json, sayJson } from "../terminal/output.ts";

/** What a command answers: for people, and for programs. */
export interface Answer {
  readonly lines: readonly string[];
  readonly json: Json;
}

/** The given arguments, with identifiers as the service writes them. */
function argumentsOf({ args, registeredArguments: known }: Command): readonly string[] {
  return args.map((text, at) => identifier(known[at]?.name() ?? "", text));
}

/** Makes a command run its work with a connected client, and print the answer. */
export function atServer<Options>(
  command: Command,
  work: (client: KmipClient, args: readonly string[], options: Options) => Promise<Answer>,
): void {
  command.action(async () => {
    const options = command.optsWithGlobals<ConnectOptions & Options>();
    const { lines, json } = await withClient(options, (client) =>
      work(client, argumentsOf(command), options),
    );
    if (options.json === true) sayJson(json);
    else say(lines);
  });
}
