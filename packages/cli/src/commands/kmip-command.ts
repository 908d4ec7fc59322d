import type { KmipClient } from "@holdfast/client";
import type { Command } from "commander";
import { type ConnectOptions, withClient } from "../connect.ts";
import { type Json, say, sayJson } from "../output.ts";

/** What a command answers: for people, and for programs. */
export interface Answer {
  readonly lines: readonly string[];
  readonly json: Json;
}

/** Gives a command its work at a connected client, and prints what that answers. */
export function atServer<Options>(
  command: Command,
  work: (client: KmipClient, args: readonly string[], options: Options) => Promise<Answer>,
): void {
  command.action(async () => {
    const options = command.optsWithGlobals<ConnectOptions & Options>();
    const { lines, json } = await withClient(options, (client) =>
      work(client, command.args, options),
    );
    if (options.json === true) sayJson(json);
    else say(...lines);
  });
}
