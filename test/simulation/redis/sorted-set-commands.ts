import { frees, grows, reads } from "./command.ts";
import { numberText, score, small } from "./numbers.ts";
import { type Bytes, CommandError, errors, NotModelled, type Reply } from "./reply.ts";
import type { Scored } from "./sorted-set.ts";

type Test = (entry: Scored) => boolean;

/** One end of a range. */
interface Bound {
  /** Whether an entry is at this end or above it. */
  readonly from: Test;
  /** Whether an entry is at this end or below it. */
  readonly to: Test;
}

/** An end by score: a number, or `(` and a number that is left out. */
function scoreBound(text: Bytes): Bound {
  const open = text.startsWith("(");
  const number = open ? text.slice(1) : text;
  // An end without digits is 0.
  const at = number === "" ? 0 : score(number);
  if (at === undefined) throw new CommandError("ERR min or max is not a float");
  return {
    from: (entry) => (open ? entry.score > at : entry.score >= at),
    to: (entry) => (open ? entry.score < at : entry.score <= at),
  };
}

/** An end by bytes: `-`, `+`, or `[` or `(` and bytes. */
function lexBound(text: Bytes): Bound {
  const always = (): boolean => true;
  const never = (): boolean => false;
  if (text === "-") return { from: always, to: never };
  if (text === "+") return { from: never, to: always };
  const open = text.startsWith("(");
  if (!open && !text.startsWith("[")) {
    throw new CommandError("ERR min or max not valid string range item");
  }
  const at = text.slice(1);
  return {
    from: ({ member }) => (open ? member > at : member >= at),
    to: ({ member }) => (open ? member < at : member <= at),
  };
}

interface Options {
  readonly by: "rank" | "score" | "lex";
  readonly reverse: boolean;
  readonly scores: boolean;
  readonly offset: number;
  readonly count: number;
}

const all = { reverse: false, scores: false, offset: 0, count: -1 } as const;

/** What each word changes. */
const optionWords: Readonly<Record<string, Partial<Options>>> = {
  WITHSCORES: { scores: true },
  REV: { reverse: true },
  BYLEX: { by: "lex" },
};

/** Reads the words after a range's ends; `words` are those that the command has. */
function readOptions(start: Options, words: readonly string[], given: readonly Bytes[]): Options {
  let options = start;
  for (let i = 0; i < given.length; i += 1) {
    const word = given[i]?.toUpperCase() ?? "";
    if (!words.includes(word)) throw new CommandError(errors.syntax);
    const [offset, count] = given.slice(i + 1, i + 3);
    if (word !== "LIMIT") options = { ...options, ...optionWords[word] };
    else if (offset === undefined || count === undefined) throw new CommandError(errors.syntax);
    else {
      options = { ...options, offset: small(offset), count: small(count) };
      i += 2;
    }
  }
  checkOptions(options);
  return options;
}

function checkOptions(options: Options): void {
  if (options.count !== -1 && options.by === "rank") {
    throw new CommandError(
      "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
    );
  }
  if (options.scores && options.by === "lex") {
    throw new CommandError("ERR syntax error, WITHSCORES not supported in combination with BYLEX");
  }
}

/** The entries by rank. */
function ranked(first: Bytes, last: Bytes): (entries: readonly Scored[]) => readonly Scored[] {
  const [from, to] = [small(first), small(last)];
  return (entries) => {
    const start = Math.max(0, from < 0 ? entries.length + from : from);
    const end = to < 0 ? entries.length + to : to;
    return entries.slice(start, Math.max(start, end + 1));
  };
}

type Find = (entries: readonly Scored[]) => readonly Scored[];

/** Both ends are read before the key is looked up, so that a wrong end is answered even without a key. */
function finder({ by, reverse, offset, count }: Options, first: Bytes, last: Bytes): Find {
  const turned: Find = (entries) => (reverse ? entries.toReversed() : entries);
  if (by === "rank") {
    const take = ranked(first, last);
    return (entries) => take(turned(entries));
  }
  const read = by === "score" ? scoreBound : lexBound;
  const [low, high] = reverse ? [last, first] : [first, last];
  const { from } = read(low);
  const { to } = read(high);
  return (entries) => {
    if (offset < 0) return [];
    const inside = turned(entries.filter((entry) => from(entry) && to(entry)));
    return inside.slice(offset, count < 0 ? undefined : offset + count);
  };
}

function range(start: Options, ...words: string[]): ReturnType<typeof reads> {
  return reads(-4, (data, key = "", first = "", last = "", ...given): Reply => {
    const options = readOptions(start, ["WITHSCORES", "LIMIT", ...words], given);
    const find = finder(options, first, last);
    const found = find(data.sortedSet(key)?.entries ?? []);
    return found.flatMap(({ score: at, member }) =>
      options.scores ? [member, numberText(at)] : [member],
    );
  });
}

/** Commands of sorted sets. */
export const sortedSetCommands = {
  ZADD: grows(-4, (data, key = "", ...pairs) => {
    if (/^(nx|xx|gt|lt|ch|incr)$/i.test(pairs[0] ?? "")) throw new NotModelled("options of ZADD");
    if (pairs.length % 2 === 1) throw new CommandError(errors.syntax);
    const list = pairs.flatMap((text, at): Scored[] => {
      if (at % 2 === 1) return [];
      const value = score(text);
      if (value === undefined) throw new CommandError("ERR value is not a valid float");
      return [{ score: value, member: pairs[at + 1] ?? "" }];
    });
    return list.filter((entry) => data.addMember(key, entry.score, entry.member)).length;
  }),
  ZREM: frees(
    -3,
    (data, key = "", ...members) =>
      members.filter((member) => data.deleteMember(key, member)).length,
  ),
  ZCARD: reads(2, (data, key = "") => data.sortedSet(key)?.size ?? 0),
  ZSCORE: reads(3, (data, key = "", member = "") => {
    const found = data.sortedSet(key)?.scoreOf(member);
    return found === undefined ? null : numberText(found);
  }),
  ZLEXCOUNT: reads(4, (data, key = "", low = "", high = "") => {
    const find = finder({ ...all, by: "lex" }, low, high);
    return find(data.sortedSet(key)?.entries ?? []).length;
  }),
  ZRANGE: range({ ...all, by: "rank" }, "BYLEX", "REV"),
  ZRANGEBYSCORE: range({ ...all, by: "score" }),
  ZREVRANGEBYSCORE: range({ ...all, by: "score", reverse: true }),
};
