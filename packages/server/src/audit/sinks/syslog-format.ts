import type { ShippedText } from "./shipped.ts";

/** The sender of the messages. */
export interface SyslogOrigin {
  readonly hostname: string;
  /** RFC 5424, 6.2.1. */
  readonly facility: number;
}

/** Severities of RFC 5424: critical, warning, informational. */
const severities = { critical: 2, warning: 4, normal: 6 } as const;
const messageIdMax = 32;
const hostnameMax = 255;

/** One event as a syslog message (RFC 5424), framed by its length (RFC 6587, 3.4.1; RFC 5425, 4.3). */
export function syslogFrame(shipped: ShippedText, origin: SyslogOrigin): Buffer {
  const message = Buffer.from(syslogMessage(shipped, origin), "ascii");
  return Buffer.concat([Buffer.from(`${message.length} `, "ascii"), message]);
}

function syslogMessage({ event, text }: ShippedText, { hostname, facility }: SyslogOrigin): string {
  const priority = facility * 8 + severities[event.severity];
  const time = event.eventTime.replace("+0000", "Z");
  const id = printable(event.action.replace(/^vmware-solutions\./, ""), messageIdMax);
  const host = printable(hostname, hostnameMax);
  // The message is ASCII, so that it needs no byte-order mark and no receiver misreads it.
  const ascii = text.replaceAll(/[\u007f-\uffff]/g, escaped);
  return `<${priority}>1 ${time} ${host} holdfast - ${id} - ${ascii}`;
}

function escaped(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

/** PRINTUSASCII of RFC 5424, or "-" for nothing. */
function printable(text: string, most: number): string {
  return text.replaceAll(/[^\x21-\x7e]/g, "_").slice(0, most) || "-";
}
