import { frees, grows, reads } from "./command.ts";
import { small } from "./numbers.ts";
import { type Bytes, CommandError, errors, NotModelled, type Reply } from "./reply.ts";
import { wrongNumber } from "./text-commands.ts";
import type { StreamEntry } from "./values.ts";

type Id = Pick<StreamEntry, "ms" | "seq">;

/** Reads `<ms>-<seq>`, or `<ms>` alone with the sequence number that the command takes then. */
function readId(text: Bytes, seqAlone: number): Id {
  const [, ms, , seq] = /^(\d+)(-(\d+))?$/.exec(text) ?? [];
  if (ms === undefined) {
    if (/^(\*|\d+-\*|\(.*)$/.test(text)) throw new NotModelled(`the stream ID ${text}`);
    throw new CommandError("ERR Invalid stream ID specified as stream command argument");
  }
  const id = { ms: Number(ms), seq: seq === undefined ? seqAlone : Number(seq) };
  if (id.ms > Number.MAX_SAFE_INTEGER) throw new NotModelled("stream IDs from 2^53 on");
  return id;
}

function isBelow(a: Id, b: Id): boolean {
  return a.ms < b.ms || (a.ms === b.ms && a.seq < b.seq);
}

function rangeEnd(text: Bytes, seqAlone: number): Id {
  if (text === "-") return { ms: 0, seq: 0 };
  if (text === "+") return { ms: Infinity, seq: Infinity };
  return readId(text, seqAlone);
}

function range(reverse: boolean): ReturnType<typeof reads> {
  return reads(-4, (data, key = "", first = "", last = "", ...options): Reply => {
    const [low, high] = reverse ? [last, first] : [first, last];
    const from = rangeEnd(low, 0);
    const to = rangeEnd(high, Infinity);
    let count = Infinity;
    if (options.length > 0) {
      if (options[0]?.toUpperCase() !== "COUNT" || options.length !== 2) {
        throw new CommandError(errors.syntax);
      }
      count = Math.max(0, small(options[1] ?? ""));
    }
    const stream = data.stream(key);
    if (stream === undefined) return [];
    if (count === 0) return null;
    const inside = stream.entries.filter((id) => !isBelow(id, from) && !isBelow(to, id));
    return (reverse ? inside.toReversed() : inside)
      .slice(0, count)
      .map(({ ms, seq, fields }) => [`${ms}-${seq}`, fields]);
  });
}

/** Commands of streams. */
export const streamCommands = {
  XADD: grows(-5, (data, key = "", id = "", ...fields) => {
    if (/^(nomkstream|maxlen|minid|limit)$/i.test(id)) throw new NotModelled("options of XADD");
    const { ms, seq } = readId(id, 0);
    if (fields.length % 2 === 1) throw wrongNumber("xadd");
    if (ms === 0 && seq === 0) {
      throw new CommandError("ERR The ID specified in XADD must be greater than 0-0");
    }
    const found = data.stream(key);
    if (found !== undefined && !isBelow({ ms: found.lastMs, seq: found.lastSeq }, { ms, seq })) {
      throw new CommandError(
        "ERR The ID specified in XADD is equal or smaller than the target stream top item",
      );
    }
    const stream = data.newStream(key);
    stream.entries.push({ ms, seq, fields });
    stream.lastMs = ms;
    stream.lastSeq = seq;
    data.touch(key);
    return `${ms}-${seq}`;
  }),
  XRANGE: range(false),
  XREVRANGE: range(true),
  XTRIM: frees(-4, (data, key = "", strategy = "", ...rest) => {
    if (!/^minid$/i.test(strategy) || rest.length !== 1) throw new NotModelled("this XTRIM");
    const from = readId(rest[0] ?? "", 0);
    const stream = data.stream(key);
    if (stream === undefined) return 0;
    const before = stream.entries.length;
    stream.entries = stream.entries.filter((entry) => !isBelow(entry, from));
    const gone = before - stream.entries.length;
    if (gone > 0) data.touch(key);
    return gone;
  }),
};
