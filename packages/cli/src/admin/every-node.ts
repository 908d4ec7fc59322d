import {
  AdminClient,
  AdminProblem,
  AdminUnreachable,
  type contract,
  type Layout,
  type Reply,
} from "@holdfast/admin";
import { newestCertificates } from "@holdfast/admin/server-certificates";
import { clientOptionsOf, type SiteOptions } from "../sites/site.ts";
import { complain } from "../terminal/lines.ts";
import { type Json, sayJson } from "../terminal/output.ts";
import type { Operation } from "./build.ts";
import { type ShowOptions, showList } from "./show.ts";

type Listed = Reply<(typeof contract)["listServerCertificates"]>["items"][number];

/**
 * Prints the certificates of every node. It asks each node that the site names; for the other nodes
 * it prints their last report, marked as such.
 */
export async function showServerCertificates(
  { row }: Operation,
  options: SiteOptions & ShowOptions,
): Promise<void> {
  const { urls, ...rest } = clientOptionsOf(options);
  const asked = await Promise.allSettled(
    urls.map(async (url) => {
      await using client = new AdminClient({ urls: [url], ...rest });
      return (await client.call("listServerCertificates", {})).items;
    }),
  );
  const items = newestCertificates(
    asked.flatMap((one) => (one.status === "fulfilled" ? one.value : [])),
  );
  const faults = asked.flatMap((one) => (one.status === "rejected" ? [one.reason as unknown] : []));
  if (faults.length === urls.length) throw faults[0];
  for (const fault of faults) {
    if (!(fault instanceof AdminUnreachable) && !(fault instanceof AdminProblem)) throw fault;
    complain(`a node cannot be asked: ${fault.message}`);
  }
  if (options.json === true) return sayJson({ items } as unknown as Json);
  const rows = items.map((item) => ({ ...item, told: item.asked ? "" : toldText(item) }));
  showList(rows, row.list as Layout, options);
}

function toldText({ toldAt }: Listed): string {
  return `${toldAt.slice(0, 19)}Z, the node itself was not asked; give its --url too`;
}
