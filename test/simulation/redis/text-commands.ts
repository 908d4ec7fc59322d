import { frees, grows, reads } from "./command.ts";
import { added, integer, small } from "./numbers.ts";
import { CommandError, NotModelled, ok } from "./reply.ts";

const bytesMax = 512 << 20;

/** Commands of strings and of keys. */
export const textCommands = {
  GET: reads(2, (data, key = "") => data.text(key) ?? null),
  MGET: reads(-2, (data, ...keys) =>
    keys.map((key) => (data.typeOf(key) === "string" ? (data.text(key) ?? null) : null)),
  ),
  SET: grows(-3, (data, key = "", text = "", ...options) => {
    if (options.length > 0) throw new NotModelled("options of SET");
    data.delete(key);
    data.setText(key, text);
    return ok;
  }),
  STRLEN: reads(2, (data, key = "") => data.text(key)?.length ?? 0),
  GETRANGE: reads(4, (data, key = "", first = "", last = "") => {
    const [from, to] = [small(first), small(last)];
    const text = data.text(key) ?? "";
    if (from < 0 && to < 0 && from > to) return "";
    const start = Math.max(0, from < 0 ? text.length + from : from);
    const end = Math.max(0, to < 0 ? text.length + to : to);
    return text.slice(start, end + 1);
  }),
  SETRANGE: grows(4, (data, key = "", offset = "", piece = "") => {
    const at = small(offset);
    if (at < 0) throw new CommandError("ERR offset is out of range");
    const text = data.text(key) ?? "";
    if (piece === "") return text.length;
    if (at + piece.length > bytesMax) {
      throw new CommandError("ERR string exceeds maximum allowed size (proto-max-bulk-len)");
    }
    const after = text.padEnd(at, "\0").slice(0, at) + piece + text.slice(at + piece.length);
    data.setText(key, after);
    return after.length;
  }),
  INCR: grows(2, (data, key = "") => {
    const value = added(integer(data.text(key) ?? "0"), 1n);
    data.setText(key, String(value));
    return Number(value);
  }),
  EXISTS: reads(-2, (data, ...keys) => keys.filter((key) => data.has(key)).length),
  DEL: frees(-2, (data, ...keys) => keys.filter((key) => data.delete(key)).length),
  DBSIZE: reads(1, (data) => data.size),
  FLUSHALL: frees(1, (data) => {
    data.clear();
    return ok;
  }),
};

/** Commands of hashes. */
export const hashCommands = {
  HGET: reads(3, (data, key = "", field = "") => data.hash(key)?.get(field) ?? null),
  HMGET: reads(-3, (data, key = "", ...fields) => {
    const hash = data.hash(key);
    return fields.map((field) => hash?.get(field) ?? null);
  }),
  HGETALL: reads(2, (data, key = "") => [...(data.hash(key) ?? [])].flat()),
  HLEN: reads(2, (data, key = "") => data.hash(key)?.size ?? 0),
  HEXISTS: reads(3, (data, key = "", field = "") => (data.hash(key)?.has(field) ? 1 : 0)),
  HSET: grows(-4, (data, key = "", ...pairs) => {
    if (pairs.length % 2 === 1) throw wrongNumber("hset");
    const before = data.hash(key)?.size ?? 0;
    for (let i = 0; i < pairs.length; i += 2) {
      data.setField(key, pairs[i] ?? "", pairs[i + 1] ?? "");
    }
    return (data.hash(key)?.size ?? 0) - before;
  }),
  HSETNX: grows(4, (data, key = "", field = "", value = "") => {
    if (data.hash(key)?.has(field)) return 0;
    data.setField(key, field, value);
    return 1;
  }),
  HINCRBY: grows(4, (data, key = "", field = "", by = "") => {
    const step = integer(by);
    const before = integer(data.hash(key)?.get(field) ?? "0", "ERR hash value is not an integer");
    const value = added(before, step);
    data.setField(key, field, String(value));
    return Number(value);
  }),
  HDEL: frees(
    -3,
    (data, key = "", ...fields) => fields.filter((field) => data.deleteField(key, field)).length,
  ),
};

/** The answer to a wrong number of arguments. */
export function wrongNumber(name: string): CommandError {
  return new CommandError(`ERR wrong number of arguments for '${name}' command`);
}
