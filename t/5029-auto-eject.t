#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# Restarts under clients that eject dead servers: libmemcached with ketama, where one refused connection is enough to move the
# keys of a server to others for good. A parent that keeps the sockets sees to it that none is refused: no server is ejected,
# no value is missed.
#
# One request on each connection that was open fails nevertheless, as after the end of any server: libmemcached learns that a
# connection is closed only from what becomes of its next request there. It reports that (CONNECTION FAILURE, or what errno
# says), does not try again, and does not hold it against the server. So the application here asks once more: that request
# connects, waits in the socket's queue for as long as libmemcached waits for answers (5 seconds, if not told otherwise), and
# is answered. After TERM the failed one has never been carried out, as what was has been answered: counters count once. After
# kill -9 an answer may be missing, and nobody can know.
use strict;
use warnings;
use lib 't/lib';
use Fcntl qw(F_SETFD);
use Hearth::Daemon;
use Hearth::Process qw(inheriting program reap scratch_dir slurp spawn spew wait_until);
use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use Test::More;

my $keys = 60;
my $scratch = scratch_dir();

# It writes a line for each pass over all keys, and for each thing that went wrong. It waits long, for machines that are slow.
spew("$scratch/client.py", <<'P');
import itertools
import sys
import pylibmc
name, keys, servers = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
c = pylibmc.Client(servers, binary=name == "binary", behaviors={
    "ketama": True, "remove_failed": 1, "auto_eject": True, "failure_limit": 1, "retry_timeout": 1,
    "connect_timeout": 60000, "_poll_timeout": 60000})
def tell(*words):
    print(*words, flush=True)
# The answer, and how often it failed.
def ask(what, key, *words):
    for failed in range(2):
        try:
            return what(key, *words), failed
        except pylibmc.NotFound:
            return None, failed
        except pylibmc.Error as e:
            tell("lost" if failed else "failed", key, type(e).__name__, " ".join(str(e).split()))
    return None, 2
stored, counted = {}, {}
for n in itertools.count():
    for i in range(keys):
        key, counter = "%s-%d" % (name, i), "%s-counter-%d" % (name, i)
        if key in stored:
            value = ask(c.get, key)[0]
            if value != stored[key]:
                tell("wrong", key, repr(value)[:40], "instead of", stored[key][:40])
        stored[key] = "pass %d " % n * 100
        if ask(c.set, key, stored[key])[0] is not True:
            tell("wrong", key, "is not stored")
        if counted.get(counter) is not None:
            value, failed = ask(c.incr, counter)
            if failed == 1 and value == counted[counter] + 2:
                tell("twice", counter)
            elif value != counted[counter] + 1:
                tell("wrong", counter, value, "instead of", counted[counter] + 1)
            counted[counter] = value
        elif ask(c.set, counter, 0)[0] is True:
            counted[counter] = 0
    tell("pass", n)
P

# A client that runs until it is stopped.
sub client
{
	my ($name, @servers) = @_;
	my $dir = scratch_dir();
	my $pid = spawn(['/usr/bin/python3', "$scratch/client.py", $name, $keys, @servers], out => "$dir/out", err => "$dir/err");
	return { name => $name, pid => $pid, out => "$dir/out", err => "$dir/err" };
}
sub said { my ($client, $what) = @_; return grep { /^$what / } split /\n/, -e $client->{out} ? slurp($client->{out}) : ''; }
sub dead { my ($client) = @_; return grep { / Server(?:Dead|Down) / } said($client, '(?:failed|lost)'); }
sub ended { my ($client) = @_; kill 'KILL', $client->{pid}; reap($client->{pid}, 60); return slurp($client->{err}); }

# Each client has gone over all keys once from here on.
sub all_asked
{
	for my $client (@_) {
		my $passes = said($client, 'pass');
		wait_until("passes of $client->{name}", sub {
			die slurp($client->{err}) if defined reap($client->{pid}, 0);
			return said($client, 'pass') >= $passes + 2;
		}, 60);
	}
	return;
}

# Which server has which of a client's keys, each by itself: "name-0: 2, name-1: 0, ...".
sub places
{
	my ($client, @daemons) = @_;
	my @names = map { ("$client->{name}-$_", "$client->{name}-counter-$_") } 0 .. $keys - 1;
	my @there = map { $_->client->items("get @names") } @daemons;
	return join ', ', map { my $key = $_; "$key: " . join '+', grep { $there[$_]{$key} } 0 .. $#daemons } @names;
}

# ---- a parent keeps the sockets ----
my (@daemons, @sockets, @ports, @paths);
for my $i (0 .. 2) {
	my $tcp = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 100) or die "listen: $!";
	my $unix = IO::Socket::UNIX->new(Local => "$scratch/$i", Listen => 100) or die "listen: $!";
	fcntl $_, F_SETFD, 0 for $tcp, $unix;
	push @sockets, [$tcp, $unix];
	push @ports, '127.0.0.1:' . $tcp->sockport;
	push @paths, "$scratch/$i";
	push @daemons, Hearth::Daemon->start(unix => "$scratch/$i", prefix => [inheriting([fileno $tcp, fileno $unix])]);
}
my @clients = (client('text', @ports), client('binary', @ports), client('unix', @paths));
all_asked(@clients);
my %before = map { $_->{name} => places($_, @daemons) } @clients;
for my $client (@clients) {
	like($before{ $client->{name} }, qr/: $_(?:,|$)/, "$client->{name}: server $_ has keys") for 0 .. 2;
}

# Ends server i, starts it again once a client waits for it, and lets the clients go on.
sub over
{
	my ($i, $signal, $code) = @_;
	my %failed = map { $_->{name} => scalar said($_, 'failed') } @clients;
	is($daemons[$i]->stop($signal), $code, "server $i is ended by $signal");
	ok(IO::Select->new(@{ $sockets[$i] })->can_read(60), 'somebody waits for it');
	$daemons[$i]->up;
	all_asked(@clients);
	for my $client (@clients) {
		cmp_ok(said($client, 'failed') - $failed{ $client->{name} }, '<=', 1, "$client->{name}: its connection fails at most once");
	}
	return;
}

# How the clients fared up to here.
sub fared
{
	my ($when) = @_;
	for my $client (@clients) {
		my $name = "$when: $client->{name}";
		is(join("\n", said($client, 'lost')), '', "$name: no request is lost");
		is(join("\n", said($client, 'wrong')), '', "$name: each answer is what it must be");
		is(join("\n", dead($client)), '', "$name: no server is taken for dead");
		is(places($client, @daemons), $before{ $client->{name} }, "$name: no key has moved");
	}
	return;
}

over($_, 'TERM', 0) for 0 .. 2, 0 .. 2;
fared('after TERM');
is(join("\n", said($_, 'twice')), '', "after TERM: $_->{name}: each counter counted once") for @clients;
over($_, 'KILL', 128 + 9) for 0 .. 2;
fared('after kill -9');
is(ended($_), '', "$_->{name}: had nothing else to say") for @clients;
is($_->stop, 0, 'stops in order') for @daemons;

# ---- sockets that go with the server: the same client does eject it ----
for my $case (['memcached', 'memcached'], ['hearthd by itself', program('hearthd')]) {
	my ($name, $program) = @$case;
	my @pair = map { Hearth::Daemon->start(program => $program, unix => scratch_dir() . '/socket') } 0 .. 1;
	my $client = client('unix', map { $_->{unix} } @pair);
	all_asked($client);
	my $start = places($client, @pair);
	like($start, qr/: $_(?:,|$)/, "$name: server $_ has keys") for 0 .. 1;
	$pair[0]->stop;
	all_asked($client);
	$pair[0]->up;
	all_asked($client);
	cmp_ok(scalar said($client, 'lost'), '>=', 1, "$name: a request is lost, though asked twice");
	cmp_ok(scalar dead($client), '>=', 1, 'the server is taken for dead');
	cmp_ok(scalar said($client, 'wrong'), '>=', 1, 'values are missed');
	like(places($client, @pair), qr/^(?:\S+ (?:0\+)?1(?:, )?)+$/, 'and all keys are with the other one, even when it is back');
	is(ended($client), '', 'it had nothing else to say');
	$_->stop for @pair;
}
done_testing();
