#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# Real clients that speak the binary protocol: libmemcached's tools and pylibmc, against a directory that is killed in
# between, and beside clients of text.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Process qw(run scratch_dir slurp spew);
use Test::More;

my $daemon = Hearth::Daemon->start(args => ['-m', 128]);
my $dir = scratch_dir();
my ($code, $out, $err);
sub tool { my ($name, @args) = @_; return run([$name, '--binary', '--servers=127.0.0.1:' . $daemon->port, @args]); }

# ---- libmemcached's tools ----
spew("$dir/one", "first line\nsecond line\n");
spew("$dir/two", join('', map { chr } 0 .. 255) x 2000);
is((tool('memccp', '--set', "$dir/one", "$dir/two"))[0], 0, 'memccp stores files');
($code, $out) = tool('memccat', 'one');
like($out, qr/^first line\nsecond line\n/, 'memccat shows one');
is($daemon->client->get('one'), "first line\nsecond line\n", 'so does a client of text');
is((tool('memcexist', 'two'))[0], 0, 'memcexist: there');
isnt((tool('memcexist', 'three'))[0], 0, 'memcexist: not there');
is((tool('memctouch', '--expire=1000', 'one'))[0], 0, 'memctouch');
$daemon->crash;
($code, $out) = tool('memccat', 'one');
like($out, qr/^first line\nsecond line\n/, 'after kill -9: memccat');
is((tool('memccat', "--file=$dir/back", 'two'))[0], 0, 'a value of 500 KB');
is(substr(slurp("$dir/back"), 0, 512_000), slurp("$dir/two"), 'is the same');
is((tool('memcrm', 'one'))[0], 0, 'memcrm');
is($daemon->client->get('one'), undef, 'removes');
is((tool('memcflush'))[0], 0, 'memcflush');
is($daemon->client->stats->{curr_items}, 0, 'nothing is left');

# ---- pylibmc, in two halves with a kill between ----
spew("$dir/client.py", <<'P');
import sys
import pylibmc
half, port = sys.argv[1], sys.argv[2]
c = pylibmc.Client(["127.0.0.1:" + port], binary=True, behaviors={"cas": True})
many = {"many%d" % i: "value %d" % i for i in range(500)}
def same(what, got, expected):
    if got != expected:
        sys.exit("%s: got %r, expected %r" % (what, got, expected))
if half == "store":
    same("set", c.set("k", "v"), True)
    same("get", c.get("k"), "v")
    same("miss", c.get("nope"), None)
    same("add", c.add("k", "w"), False)
    try:
        sys.exit("replace: got %r" % c.replace("nope", "w"))
    except pylibmc.NotFound:
        pass
    same("set_multi", c.set_multi(many), [])
    same("number", c.set("n", 10), True)
    same("incr", c.incr("n", 5), 15)
    same("decr", c.decr("n", 7), 8)
    same("gone", c.set("gone", "x"), True)
    same("delete", c.delete("gone"), True)
    same("delete again", c.delete("gone"), False)
    same("later", c.set("later", "x", 100), True)
    same("text", c.set("text", b"a"), True)
    same("append", c.append("text", b"b"), True)
    same("prepend", c.prepend("text", b"c"), True)
    same("touch", c.touch("k", 1000), True)
    same("big", c.set("big", "B" * 700000), True)
    value, token = c.gets("k")
    same("cas", c.cas("k", "w", token), True)
    same("cas again", c.cas("k", "x", token), False)
else:
    same("get", c.get("k"), "w")
    same("get_multi", c.get_multi(list(many)), many)
    same("incr", c.incr("n", 2), 10 if half == "fresh" else 12)
    same("deleted", c.get("gone"), None)
    same("appended", c.get("text"), b"cab")
    same("big", len(c.get("big")), 700000)
    same("later", c.get("later"), "x" if half == "fresh" else None)
P
sub python { my ($half) = @_; return run(['/usr/bin/python3', "$dir/client.py", $half, $daemon->port]); }
($code, $out, $err) = python('store');
is($code, 0, 'pylibmc stores and counts') or diag $err;
$daemon->crash;
($code, $out, $err) = python('fresh');
is($code, 0, 'reads and counts on after kill -9') or diag $err;
$daemon->jump(200);
$daemon->crash;
($code, $out, $err) = python('expired');
is($code, 0, 'what expired stays so, the rest is there') or diag $err;
is($daemon->stop, 0, 'stops in order');
done_testing();
