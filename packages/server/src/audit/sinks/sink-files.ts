import type { ConnectionOptions } from "node:tls";
import { readText } from "../../base/certificates.ts";
import { StartError } from "../../base/start-error.ts";
import type { Config } from "../../config/config-table.ts";

type Environment = Readonly<Record<string, string | undefined>>;
type Syslog = NonNullable<Config["audit"]["syslog"]>;
type Webhook = NonNullable<Config["audit"]["webhook"]>;

/** The TLS files of the syslog receiver; a `StartError` names one that cannot be read. */
export function syslogTls({
  ca,
  certificate,
  key,
}: Pick<Syslog, "ca" | "certificate" | "key">): Pick<ConnectionOptions, "ca" | "cert" | "key"> {
  return {
    ...(ca === undefined ? {} : { ca: readText(ca, "audit.syslog.ca") }),
    ...(certificate === undefined
      ? {}
      : { cert: readText(certificate, "audit.syslog.certificate") }),
    ...(key === undefined ? {} : { key: readText(key, "audit.syslog.key") }),
  };
}

/** The header by which the webhook knows the node; a `StartError` says what is missing, and never a secret. */
export function webhookSecret(
  { header, secretFile, secretEnv }: Pick<Webhook, "header" | "secretFile" | "secretEnv">,
  environment: Environment,
): Readonly<Record<string, string>> {
  if (secretFile !== undefined) {
    const [first = ""] = readText(secretFile, "audit.webhook.secretFile").split(/\r?\n/, 1);
    return { [header]: checked(first.trim(), `audit.webhook.secretFile: ${secretFile}`) };
  }
  if (secretEnv === undefined) return {};
  const value = environment[secretEnv]?.trim() ?? "";
  return { [header]: checked(value, `audit.webhook.secretEnv: the variable ${secretEnv}`) };
}

/** The authorities of the webhook's certificate. */
export function webhookCa({ ca }: Pick<Webhook, "ca">): string | undefined {
  return ca === undefined ? undefined : readText(ca, "audit.webhook.ca");
}

/** Reads every file and secret that sinks need; a `StartError` says what is wrong. */
export function checkSinkFiles(
  { syslog, webhook }: Config["audit"],
  environment: Environment,
): void {
  if (syslog !== undefined) syslogTls(syslog);
  if (webhook === undefined) return;
  webhookCa(webhook);
  webhookSecret(webhook, environment);
}

/** What can stand in a header (RFC 9110, 5.5). */
function checked(value: string, where: string): string {
  if (/^[\x20-\x7e]+$/.test(value)) return value;
  throw new StartError(`${where} is empty, or holds what cannot stand in a header`);
}
