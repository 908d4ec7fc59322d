import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { call } from "../../base/api.ts";
import { may } from "../../base/may.ts";

type Item = Readonly<Record<string, unknown>>;

const certificatePrefix = "CertificateID-";
const service = /^vmware-solutions[.:] ?/;
const instancesMax = 50;
const shortDigits = 12;

/** Names of instances by identifier, and of their certificates by `CertificateID-` and fingerprint. */
const names = signal<ReadonlyMap<string, string>>(new Map());
/** Instances whose names were asked for; each is asked once. */
const asked = new Set<string>();

/**
 * Events with names in place of identifiers and fingerprints: `by`, `on` and `where`; and `what` happened, in words and
 * as the filter takes it.
 */
export function useNamed(events: readonly Item[]): readonly Item[] {
  useEffect(() => {
    void learn(events);
  }, [events]);
  return events.map((event) => {
    const by = textAt(event["initiator"], "name");
    const on = textAt(event["target"], "name");
    const where = textOf(event["instance"]);
    const action = textOf(event["action"]).replace(service, "");
    const said = textOf(event["message"])
      .replace(service, "")
      .replace(/ -(?:failure|unknown)$/, "");
    return {
      ...event,
      by: names.value.get(by) ?? shortened(by),
      on: names.value.get(on) ?? on,
      where: names.value.get(where) ?? where,
      what: said === "" ? action : `${said} (${action})`,
    };
  });
}

async function learn(events: readonly Item[]): Promise<void> {
  if (!may("readInstance")) return;
  const news = [...new Set(events.map(({ instance }) => textOf(instance)))].filter(
    (id) => id !== "" && !asked.has(id),
  );
  for (const instance of news.slice(0, instancesMax)) {
    asked.add(instance);
    try {
      const { id, name } = await call("readInstance", { params: { instance } });
      const request = { params: { instance }, query: { limit: 1000 } };
      const { items } = await call("listCertificates", request);
      const found = items.map((one) => [certificatePrefix + one.fingerprint, one.name] as const);
      names.value = new Map([...names.value, [id, name], ...found]);
    } catch {
      // It may be deleted, or hidden from the token: its identifier is shown instead.
    }
  }
}

function shortened(by: string): string {
  if (!by.startsWith(certificatePrefix)) return by;
  return `certificate ${by.slice(certificatePrefix.length).slice(0, shortDigits)}…`;
}

function textAt(value: unknown, name: string): string {
  return textOf((value as Item | undefined)?.[name]);
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}
