#!lua flags=allow-oom
-- rehearse.lua  Calls every command that other scripts write with, so that one that the user may not call is found before
-- it stops a change midway. Leaves nothing behind.
-- KEYS  1 scratch of {sys}  2 scratch of a partition
-- →     {"committed", 0}
for _, key in ipairs(KEYS) do
  redis.call("TIME")
  redis.call("DEL", key)
  redis.call("SET", key, "0")
  redis.call("INCR", key)
  redis.call("SETRANGE", key, 0, "1")
  redis.call("GETRANGE", key, 0, 1)
  redis.call("STRLEN", key)
  redis.call("GET", key)
  redis.call("EXISTS", key)
  redis.call("DEL", key)
  redis.call("HSET", key, "a", "b")
  redis.call("HSETNX", key, "a", "b")
  redis.call("HGET", key, "a")
  redis.call("HMGET", key, "a")
  redis.call("HGETALL", key)
  redis.call("HINCRBY", key, "n", 1)
  redis.call("HDEL", key, "n")
  redis.call("HEXISTS", key, "a")
  redis.call("HLEN", key)
  redis.call("HDEL", key, "a")
  redis.call("ZADD", key, 0, "a")
  redis.call("ZCARD", key)
  redis.call("ZSCORE", key, "a")
  redis.call("ZRANGE", key, "[a", "[a", "BYLEX")
  redis.call("ZLEXCOUNT", key, "[a", "[a")
  redis.call("ZRANGEBYSCORE", key, 0, 0)
  redis.call("ZREVRANGEBYSCORE", key, 0, 0)
  redis.call("ZREM", key, "a")
  redis.call("XADD", key, "1-0", "a", "b")
  redis.call("XRANGE", key, "-", "+", "COUNT", 1)
  redis.call("XREVRANGE", key, "+", "-", "COUNT", 1)
  redis.call("XTRIM", key, "MINID", "2-0")
  redis.call("DEL", key)
end
return { "committed", 0 }
