import { OperatorError } from "@holdfast/server/operator-error";

/** What one Locate answered. */
export interface LocatePage {
  readonly ids: readonly string[];
  /** Located Items: how many objects there are, as the server says. */
  readonly counted?: number;
}

/** Asks for a page; without one, for everything at once. */
export type LocateCall = (page?: {
  readonly offset: number;
  readonly maximum: number;
}) => Promise<LocatePage>;

/** Every object of a server. */
export interface Identifiers {
  readonly ids: readonly string[];
  /** The server's own number of them, if it says one. */
  readonly counted: number | undefined;
  /** How many times a list named an object twice. */
  readonly repeated: number;
}

/** Lists may differ so often before the reading ends. */
export const passesMax = 6;
/** A server that lists more than this makes identifiers up, or needs a move in parts. */
const objectsMax = 10_000_000;

/**
 * The identifiers of every object. Servers may repeat objects on the next page, or skip some, while objects appear and
 * go; so the list is read again until a reading finds nothing new.
 */
export async function readIdentifiers(
  locate: LocateCall,
  pageSize: number | undefined,
  most = objectsMax,
): Promise<Identifiers> {
  const all = new Set<string>();
  let repeated = 0;
  for (let pass = 1; pass <= passesMax; pass++) {
    const before = all.size;
    const one = pageSize === undefined ? await whole(locate) : await paged(locate, pageSize, most);
    for (const id of one.ids) all.add(id);
    repeated += one.repeated;
    if (pass === 1 || all.size > before) continue;
    return { ids: [...all], counted: one.counted, repeated };
  }
  throw neverSettled();
}

/** Something was new in each reading. */
export function neverSettled(): OperatorError {
  return new OperatorError(
    `the list of objects had something new in each of ${passesMax} readings: give the command again when fewer objects are made there`,
    "again",
  );
}

async function whole(locate: LocateCall): Promise<Identifiers> {
  const { ids, counted } = await locate();
  const each = new Set(ids);
  return { ids: [...each], counted, repeated: ids.length - each.size };
}

async function paged(locate: LocateCall, maximum: number, most: number): Promise<Identifiers> {
  const each = new Set<string>();
  let counted: number | undefined;
  let offset = 0;
  let named = 0;
  for (;;) {
    const page = await locate({ offset, maximum });
    counted ??= page.counted;
    const before = each.size;
    for (const id of page.ids) each.add(id);
    if (each.size > most) {
      throw new OperatorError(
        `the list of objects names more than ${most} and does not end: give a client certificate that sees fewer objects`,
        "conflicting",
      );
    }
    // A server may answer fewer than it was asked for, so only an empty page is the last one.
    // One that it names twice counts once.
    offset += new Set(page.ids).size;
    named += page.ids.length;
    if (each.size > before) continue;
    const read = { ids: [...each], counted, repeated: named - each.size };
    if (page.ids.length === 0) return read;
    // Nothing new: the server may ignore the offset.
    const rest = await whole(locate);
    return { ...read, ids: [...new Set([...read.ids, ...rest.ids])] };
  }
}

/** What the numbers of a list do not explain; undefined if they fit. */
export function countFault({ ids, counted }: Identifiers, who: string): string | undefined {
  if (counted === undefined || counted <= ids.length) return undefined;
  return `${who} says that it has ${counted} objects, but lists ${ids.length}: it may keep some from this client; ask who runs it`;
}
