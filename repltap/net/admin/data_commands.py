"""Commands that Redis or Valkey know and a relay does not execute, and what it says to them.

Known names get an answer that says what this is; unknown ones get Redis's own error, by which
client libraries tell "this server is older than I am".
"""

from __future__ import annotations

from repltap.net.admin.command import Call, RefusedError


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


DATA_COMMANDS = _words(
    """
    append decr decrby delex delifeq digest get getdel getex getrange getset incr incrby
    incrbyfloat lcs mget mset msetex msetnx psetex set setex setnx setrange strlen substr
    copy del dump exists expire expireat expiretime keys migrate move object persist pexpire
    pexpireat pexpiretime pttl randomkey rename renamenx restore restore-asking scan sort sort_ro
    touch ttl type unlink
    hdel hexists hexpire hexpireat hexpiretime hget hgetall hgetdel hgetex hincrby hincrbyfloat
    hkeys hlen hmget hmset hpersist hpexpire hpexpireat hpexpiretime hpttl hrandfield hscan hset
    hsetex hsetnx hstrlen httl hvals
    blmove blmpop blpop brpop brpoplpush lindex linsert llen lmove lmpop lpop lpos lpush lpushx
    lrange lrem lset ltrim rpop rpoplpush rpush rpushx
    sadd scard sdiff sdiffstore sinter sintercard sinterstore sismember smembers smismember smove
    spop srandmember srem sscan sunion sunionstore
    bzmpop bzpopmax bzpopmin zadd zcard zcount zdiff zdiffstore zincrby zinter zintercard
    zinterstore zlexcount zmpop zmscore zpopmax zpopmin zrandmember zrange zrangebylex
    zrangebyscore zrangestore zrank zrem zremrangebylex zremrangebyrank zremrangebyscore zrevrange
    zrevrangebylex zrevrangebyscore zrevrank zscan zscore zunion zunionstore
    xack xackdel xadd xautoclaim xcfgset xclaim xdel xdelex xgroup xinfo xlen xpending xrange
    xread xreadgroup xrevrange xsetid xtrim
    geoadd geodist geohash geopos georadius georadius_ro georadiusbymember georadiusbymember_ro
    geosearch geosearchstore
    bitcount bitfield bitfield_ro bitop bitpos getbit setbit
    pfadd pfcount pfdebug pfmerge pfselftest
    vadd vcard vdim vemb vgetattr vinfo vismember vlinks vrandmember vrange vrem vsetattr vsim
    eval eval_ro evalsha evalsha_ro fcall fcall_ro function script
    dbsize flushall flushdb swapdb watch unwatch
    """
)
"""Everything that reads or writes keys, in Redis up to 8.6 and Valkey up to 9.1."""

CLUSTER_COMMANDS = _words("asking cluster clusterscan readonly readwrite")

UNSUPPORTED_COMMANDS = _words(
    """
    bgrewriteaof bgsave commandlog debug hotkeys lolwut module save
    spublish ssubscribe sunsubscribe
    """
)


def known(name: str) -> bool:
    """Tell whether Redis or Valkey have the command, by its lower-case name."""
    return name in DATA_COMMANDS or name in CLUSTER_COMMANDS or name in UNSUPPORTED_COMMANDS


def refuse(call: Call) -> bytes:
    """Answer a known command that is not executed here.

    Raises:
        RefusedError: Always.
    """
    name = call.option(0).decode("ascii", "replace")
    if name in DATA_COMMANDS:
        return refuse_data(call)
    if name in CLUSTER_COMMANDS:
        raise RefusedError(b"ERR This instance has cluster support disabled")
    raise RefusedError(
        b"ERR this is repltap, a replication relay: it does not support '%b'" % name.encode()
    )


def refuse_data(call: Call) -> bytes:
    """Say where the data is.

    Raises:
        RefusedError: Always.
    """
    upstream = call.context.status().upstream
    raise RefusedError(
        b"ERR this is repltap, a replication relay: it holds no keys. "
        b"Send data commands to the master at %b:%d or to a replica"
        % (upstream.host.encode("utf-8", "replace"), upstream.port)
    )
