#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# Real clients: libmemcached's tools, pymemcache and pylibmc, all against one directory that is killed in between.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Process qw(run scratch_dir slurp spew);
use Test::More;

my $daemon = Hearth::Daemon->start(args => ['-m', 128]);
sub servers { return '--servers=127.0.0.1:' . $daemon->port; }

# ---- libmemcached's own test of a server ----
# Two of its tests expect `delete a b c d e` to be an error, where memcached 1.6.45 takes up to four words (t/5001-answers.t).
my ($code, $out, $err) = run(['sh', '-c', 'memccapable -h 127.0.0.1 -a -t 10 -p ' . $daemon->port . ' 2>&1']);
my @failed = $out =~ /^(ascii \S.*?) +\[FAIL\]/mg;
is(join(', ', @failed), '', 'memccapable -a fails nothing');
cmp_ok(scalar(my @pass = $out =~ /\[pass\]/g), '>=', 20, 'each of them passes');

$daemon->client->ask("flush_all\r\n");

# ---- libmemcached's tools ----
my $dir = scratch_dir();
spew("$dir/one", "first line\nsecond line\n");
spew("$dir/two", join '', map { chr } 0 .. 255);
is((run(['memccp', servers(), '--set', "$dir/one", "$dir/two"]))[0], 0, 'memccp stores files');
($code, $out) = run(['memccat', servers(), 'one']);
like($out, qr/^first line\nsecond line\n/, 'memccat shows one');
is((run(['memcexist', servers(), 'two']))[0], 0, 'memcexist: there');
isnt((run(['memcexist', servers(), 'three']))[0], 0, 'memcexist: not there');
is((run(['memcping', servers()]))[0], 0, 'memcping');
is((run(['memctouch', servers(), '--expire=1000', 'one']))[0], 0, 'memctouch');
($code, $out) = run(['memcstat', servers()]);
like($out, qr/curr_items: 2\b/, 'memcstat');
$daemon->crash;
($code, $out) = run(['memccat', servers(), 'one']);
like($out, qr/^first line\nsecond line\n/, 'after kill -9: memccat');
is((run(['memccat', servers(), '--file=' . "$dir/back", 'two']))[0], 0, 'a binary value');
is(substr(slurp("$dir/back"), 0, 256), slurp("$dir/two"), 'is the same');
is((run(['memcrm', servers(), 'one']))[0], 0, 'memcrm');
is((run(['memcflush', servers()]))[0], 0, 'memcflush');
is($daemon->client->stats->{curr_items}, 0, 'nothing is left');

# ---- Python: one script for both clients, in two halves with a kill between ----
spew("$dir/client.py", <<'P');
import sys
half, library, port = sys.argv[1], sys.argv[2], sys.argv[3]
if library == "pymemcache":
    from pymemcache.client.base import Client
    c = Client(("127.0.0.1", int(port)), default_noreply=False)
    quiet = Client(("127.0.0.1", int(port)))
    text = lambda v: v.decode() if isinstance(v, bytes) else v
else:
    import pylibmc
    c = pylibmc.Client(["127.0.0.1:" + port])
    quiet = c
    text = lambda v: v.decode() if isinstance(v, bytes) else v
p = library + "-"
many = {p + "many%d" % i: "value %d" % i for i in range(500)}
def same(what, got, expected):
    if got != expected:
        sys.exit("%s: %s: got %r, expected %r" % (library, what, got, expected))
if half == "store":
    same("set", bool(c.set(p + "k", "v")), True)
    same("get", text(c.get(p + "k")), "v")
    same("miss", c.get(p + "nope"), None)
    same("add", bool(c.add(p + "k", "w")), False)
    same("set_many", c.set_multi(many) if library == "pylibmc" else c.set_many(many), [])
    same("number", bool(c.set(p + "n", "10" if library == "pymemcache" else 10)), True)
    same("incr", c.incr(p + "n", 5), 15)
    same("decr", c.decr(p + "n", 7), 8)
    c.set(p + "gone", "x")
    same("delete", bool(c.delete(p + "gone")), True)
    c.set(p + "later", "x", 100) if library == "pylibmc" else c.set(p + "later", "x", expire=100)
    c.set(p + "append", "a")
    same("append", bool(c.append(p + "append", "b")), True)
    same("prepend", bool(c.prepend(p + "append", "c")), True)
    same("touch", bool(c.touch(p + "k", 1000)), True)
    quiet.set(p + "quiet", "q")
    same("quiet", text(quiet.get(p + "quiet")), "q")
    c.set(p + "big", "B" * 700000)
else:
    same("get", text(c.get(p + "k")), "v")
    found = c.get_multi(list(many)) if library == "pylibmc" else c.get_many(list(many))
    same("get_many", {k: text(v) for k, v in found.items()}, many)
    number = int(text(c.get(p + "n")))
    same("number", number, 10 if sys.argv[4] == "expired" else 8)
    same("incr", c.incr(p + "n", 2), number + 2)
    same("deleted", c.get(p + "gone"), None)
    same("appended", text(c.get(p + "append")), "cab")
    same("big", len(c.get(p + "big")), 700000)
    if sys.argv[4] == "expired":
        same("expired", c.get(p + "later"), None)
    else:
        same("not expired", text(c.get(p + "later")), "x")
    token = None
    if library == "pymemcache":
        value, token = c.gets(p + "k")
        same("cas", c.cas(p + "k", "v", token), True)
        same("cas again", c.cas(p + "k", "x", token), False)
P
sub python { my (@args) = @_; return run(['/usr/bin/python3', "$dir/client.py", @args]); }
for my $library (qw(pymemcache pylibmc)) {
	($code, $out, $err) = python('store', $library, $daemon->port);
	is($code, 0, "$library stores and counts") or diag $err;
}
$daemon->crash;
for my $library (qw(pymemcache pylibmc)) {
	($code, $out, $err) = python('read', $library, $daemon->port, 'fresh');
	is($code, 0, "$library reads and counts on after kill -9") or diag $err;
}
$daemon->jump(200);
$daemon->crash;
for my $library (qw(pymemcache pylibmc)) {
	($code, $out, $err) = python('read', $library, $daemon->port, 'expired');
	is($code, 0, "$library: what expired stays so, the rest is there") or diag $err;
}
is($daemon->stop, 0, 'stops in order');
done_testing();
