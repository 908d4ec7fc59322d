import { readSigned, sizeOfHeads, treeTexts } from "@holdfast/engine";
import { type Check, ok, type SystemSources, warning } from "./sources.ts";

/** In this time a witness that answers cosigns the next step. */
const cosignMs = 7_000;
const name = "audit log";

/** Checks whether each witness cosigns the log over the audit trail. */
export async function logChecks(sources: SystemSources): Promise<Check[]> {
  const witnesses = sources.config.audit.log?.witnesses ?? [];
  const [size, ...before] = await sizes(sources);
  if (size === undefined) return [ok(name, "the configuration names no witness")];
  if (size === 0) {
    const mend = "look for the leader's duty audit-tree in the log of the node that leads";
    return [warning(name, "no leader has begun it", mend)];
  }
  const isBehind = before.some((each) => each < size);
  if (isBehind) await sources.sleep(cosignMs);
  const [, ...after] = isBehind ? await sizes(sources) : [size, ...before];
  return witnesses.map((witness, at) => {
    const [then = 0, now = 0] = [before[at], after[at]];
    if (then > size) {
      const says = `witness ${witness.name} has cosigned ${then} leaves, and the store's log has ${size}`;
      return warning(name, says, "HoldfastAuditFault in docs/runbook.md says what to do");
    }
    if (then === size || now > then) return ok(name, `witness ${witness.name} cosigns it`);
    const mend = "HoldfastAuditNotWitnessed in docs/runbook.md says what to do";
    const says = `witness ${witness.name} has cosigned ${now} of ${size} leaves, and no more in ${cosignMs / 1000} s`;
    return warning(name, says, mend);
  });
}

/** How many leaves the log has, and each witness has cosigned; empty without a log with witnesses. */
async function sizes({ config, auditTree }: SystemSources): Promise<readonly number[]> {
  const witnesses = config.audit.log?.witnesses ?? [];
  if (auditTree === undefined || witnesses.length === 0) return [];
  const names = witnesses.map((witness) => treeTexts.witness(witness.name));
  const texts = await auditTree.texts([treeTexts.last, ...names]);
  return texts.map((text) => (text === undefined ? 0 : sizeOfHeads(readSigned(text))));
}
