import type { Command } from "commander";
import { addConnectOptions } from "../sites/connect.ts";
import { addAttributeCommands } from "./kmip-attributes.ts";
import { addLifecycleCommands } from "./kmip-lifecycle.ts";
import { addObjectCommands } from "./kmip-objects.ts";
import { addServerCommands } from "./kmip-server.ts";

/** `holdfast kmip …`: single KMIP operations at any KMIP server. */
export function addKmip(program: Command): void {
  const kmip = program
    .command("kmip")
    .summary("one KMIP operation at a server")
    .description(
      "Carries out one KMIP operation over mutual TLS. Without --endpoint the development cluster of the checkout is used (`npm start`). If an endpoint cannot be reached, the next one is used.",
    )
    .configureHelp({ showGlobalOptions: true })
    .addHelpText(
      "after",
      "\nExamples:\n  holdfast kmip query\n  holdfast kmip create --name web-1 --activate\n  holdfast kmip locate --name web-1\n  holdfast kmip query --endpoint kms.example:5696 --cert c.pem --key c.key --ca ca.pem",
    );
  addConnectOptions(kmip);
  addServerCommands(kmip);
  addObjectCommands(kmip);
  addAttributeCommands(kmip);
  addLifecycleCommands(kmip);
}
