import { newestCertificates } from "@holdfast/admin/server-certificates";
import type { AnswerOf, NodeAnswer } from "../base/contract.ts";
import { ageText } from "../base/text.ts";

type Row = Readonly<Record<string, unknown>>;
type Certificate = AnswerOf<"listServerCertificates">["items"][number];

/** A server certificate, and whose word that is. */
export type ToldCertificate = Certificate & { readonly told: string };

/**
 * The storage key of each region, as one of its nodes tells it: one that knows the newest key, and of these the one that
 * counts the records that are left, if one does. `at` is the address of this node.
 */
export function storageKeys(answers: readonly NodeAnswer[]): readonly Row[] {
  const rows = new Map<string, Row>();
  for (const { at, answer } of answers) {
    const region = String(answer["region"]);
    const known = rows.get(region);
    const newer = known === undefined ? 1 : Number(answer["number"]) - Number(known["number"]);
    const tellsMore = known?.["left"] === undefined && answer["left"] !== undefined;
    if (newer > 0 || (newer === 0 && tellsMore)) rows.set(region, { ...answer, at });
  }
  return [...rows].toSorted(([one], [other]) => (one < other ? -1 : 1)).map(([, row]) => row);
}

/** The certificates of every node: its own answer, or what it reported last, with the age of that. */
export function serverCertificates(
  answers: readonly NodeAnswer[],
  nowMs: number,
): readonly ToldCertificate[] {
  const all = answers.flatMap(({ answer }) => answer["items"] as readonly Certificate[]);
  return newestCertificates(all).map((one) => ({
    ...one,
    told: one.asked
      ? "now, by the node itself"
      : `${ageText(one.toldAt, nowMs)}: the node itself was not asked`,
  }));
}

/** The checks of every node, the worst first; a node is named by its host and port. */
export function checks(answers: readonly NodeAnswer[]): readonly Row[] {
  const rank = ({ state }: Row) => ["warning", "failed"].indexOf(String(state));
  return answers
    .flatMap(({ at, answer }) =>
      (answer["items"] as readonly Row[]).map((one) => ({ ...one, node: new URL(at).host })),
    )
    .toSorted((one, other) => rank(other) - rank(one));
}
