import { readText } from "../../base/certificates.ts";
import { OperatorError } from "../../base/operator-error.ts";
import type { Environment } from "../../base/system.ts";
import { readAuthorities, readClientTls } from "../../base/tls.ts";

/** Files for the connection to the syslog receiver. */
type SyslogFiles = Parameters<typeof readClientTls>[0];

/** Where the webhook's authorities are, and the secret header that authenticates the node. */
interface WebhookFiles {
  readonly ca: string | undefined;
  readonly header: string;
  readonly secretFile: string | undefined;
  readonly secretEnv: string | undefined;
}

/** The TLS files of the syslog receiver; an `OperatorError` says which one cannot be used, and why. */
export function syslogTls(files: SyslogFiles): ReturnType<typeof readClientTls> {
  return readClientTls(files, "audit.syslog");
}

/** The header that authenticates the node; an `OperatorError` says what is wrong, but no secret. */
export function webhookSecret(
  { header, secretFile, secretEnv }: Omit<WebhookFiles, "ca">,
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
export function webhookCa({ ca }: Pick<WebhookFiles, "ca">): string | undefined {
  return ca === undefined ? undefined : readAuthorities(ca, "audit.webhook.ca");
}

/** Reads every file and secret that sinks need; an `OperatorError` says what is wrong. */
export function checkSinkFiles(
  {
    syslog,
    webhook,
  }: { readonly syslog: SyslogFiles | undefined; readonly webhook: WebhookFiles | undefined },
  environment: Environment,
): void {
  if (syslog !== undefined) syslogTls(syslog);
  if (webhook === undefined) return;
  webhookCa(webhook);
  webhookSecret(webhook, environment);
}

/** What a header can contain (RFC 9110, 5.5). */
function checked(value: string, where: string): string {
  if (/^[\x20-\x7e]+$/.test(value)) return value;
  throw new OperatorError(`${where} is empty, or contains characters that a header cannot have`);
}
