#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# How long requests take, always on: one turn in so many, by kind, of all protocols; what counts as what, and what does not; the
# wait for the log is in it, the wait for a client is not; a reset; who asks, and when. No time is tested but against another.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Binary qw(parse request);
use Hearth::Client;
use Hearth::Daemon;
use Hearth::Process qw(program reap run sanitizer scratch_dir spawn wait_until);
use Test::More;

my $every = 64;
my $daemon = Hearth::Daemon->start(args => ['-t', 1]);
my $c = $daemon->client;

sub timed { my ($of) = @_; my $s = ($of // $c)->stats('latency'); return ($s->{latency_get_timed}, $s->{latency_set_timed}, $s); }
# So many turns, an answer each.
sub turns
{
	my ($n, $request, $end, $of) = @_;
	$of //= $c;
	for (1 .. $n) {
		$of->put($request);
		while ($of->line !~ $end) { }
	}
	return;
}
sub near { my ($got, $turns) = @_; return $got >= $turns / $every * 0.5 && $got <= $turns / $every * 1.6; }

# ---- one turn in so many ----
is(join(' ', (timed())[0, 1]), '0 0', 'nothing is timed when there was no request');
$c->ask("stats reset\r\n");
turns(4000, "get nope\r\n", qr/^END$/);
my ($get, $set, $s) = timed();
is($s->{latency_every}, $every, 'one in so many');
ok(near($get, 4000), "4000 gets, $get of them timed");
is($set, 0, 'no set');
ok(!exists $s->{latency_set_p50_us}, 'and no times of sets');
my @times = map { $s->{"latency_get_${_}_us"} } qw(p50 p99 p999 max);
is_deeply([sort { $a <=> $b } @times], \@times, "percentiles rise: @times");
cmp_ok($times[0], '>', 0, 'they are times');
cmp_ok($times[3], '<', 1e6 * $s->{latency_seconds}, 'none is longer than it runs');
# A rhythm of the load does not hide in that of the samples: 64 connections in turn, of which one sets.
my @ring = map { $daemon->client } 1 .. 64;
turns(1, $_ % 64 ? "get nope\r\n" : "set k 0 0 1\r\nv\r\n", qr/^(?:END|STORED)$/, $ring[$_ % 64]) for 1 .. 15_000;
my $sets = (timed())[1];
ok($sets >= 1 && $sets <= 20, "of the one connection in 64 that sets some turns are timed, not all and not none: $sets");
$_->close for @ring;

# ---- what counts as what ----
my $binary = Hearth::Client->new(port => $daemon->port);
my %kind = (
	get => ['get', "get k\r\n", qr/^END$/], gets => ['get', "gets k nope\r\n", qr/^END$/], mg => ['get', "mg k v\r\nmn\r\n", qr/^MN$/],
	'a pipeline' => ['get', "get k\r\n" x 9 . "mn\r\n", qr/^MN$/],
	set => ['set', "set k 0 0 1\r\nv\r\n", qr/^STORED$/], add => ['set', "add k 0 0 1\r\nv\r\n", qr/^NOT_STORED$/],
	ms => ['set', "ms k 1\r\nv\r\n", qr/^HD$/], delete => ['set', "delete nope\r\n", qr/^NOT_FOUND$/], md => ['set', "md nope\r\n", qr/^NF$/],
	incr => ['set', "incr nope 1\r\n", qr/^NOT_FOUND$/], touch => ['set', "touch k 0\r\n", qr/^TOUCHED$/], gat => ['set', "gat 0 k\r\n", qr/^END$/],
	flush_all => ['set', "flush_all 1000000\r\n", qr/^OK$/],
	'a mixed pipeline' => ['get set', "get k\r\nset k 0 0 1\r\nv\r\nmn\r\n", qr/^MN$/],
	version => ['', "version\r\n", qr/^VERSION/], 'what is no command' => ['', "nonsense\r\n", qr/^ERROR$/],
	'a set without an answer' => ['', "set k 0 0 1 noreply\r\nv\r\n", undef],
);
for my $what (sort keys %kind) {
	my ($kinds, $request, $end) = @{ $kind{$what} };
	$c->ask("stats reset\r\n");
	if ($end) {
		turns(2000, $request, $end);
	} else {
		# Turns are told apart by what is seen of each.
		for my $i (1 .. 600) {
			my $value = sprintf 'v%03d', $i;
			$c->put("set k 0 0 4 noreply\r\n$value\r\n");
			wait_until('the set', sub { $binary->put("get k\r\n"); my $seen = ''; while (($_ = $binary->line) ne 'END') { $seen .= $_ } $seen =~ /$value\z/ });
		}
	}
	my %timed;
	@timed{qw(get set)} = timed();
	for my $kind (qw(get set)) {
		next if !$end && $kind eq 'get';
		if ($kinds =~ /$kind/) { ok(near($timed{$kind}, 2000), "$what: a $kind, $timed{$kind} of 2000 turns") }
		else { is($timed{$kind}, 0, "$what: no $kind") }
	}
}
$binary->close;
$binary = Hearth::Client->new(port => $daemon->port);
$c->ask("stats reset\r\n");
for (1 .. 2000) {
	$binary->put(request('get', 'k'));
	my @answers;
	while (!(@answers = parse(\$binary->{input}))) { $binary->fill or die }
}
my @binary = (timed())[0, 1];
ok(near($binary[0], 2000), "the binary protocol, too: $binary[0] of 2000 gets");
is($binary[1], 0, 'no sets there');
$c->ask("stats reset\r\n");
is(join(' ', (timed())[0, 1]), '0 0', 'stats reset begins anew');
cmp_ok((timed())[2]->{latency_seconds}, '<', 30, 'with the seconds that it tells of');

# ---- who asks ----
turns(600, "get k\r\n", qr/^END$/);
my ($code, $out, $err) = run([program('hearth'), 'stats', $daemon->dir]);
like($out, qr/^latency_get_p99_us \d+\.\d$/m, 'hearth stats has it, by the admin socket');
for (1 .. 300) {
	$binary->put(request('get', 'k'));
	while (!parse(\$binary->{input})) { $binary->fill or die }
}
$binary->put(request('stat', 'latency'));
my %stat;
while (!exists $stat{''}) {
	$binary->fill or die;
	$stat{ $_->{key} } = $_->{value} for parse(\$binary->{input});
}
cmp_ok($stat{latency_get_timed}, '>', 0, 'the binary stat, too');
is($daemon->stop, 0, 'stopped');

# ---- the wait for the log is in it ----
SKIP: {
	skip 'needs strace', 2 if sanitizer();
	my $delay = 20000;
	$daemon = Hearth::Daemon->start(args => ['-t', 1, '--fsync', 'always'],
		prefix => ['strace', '-D', '-f', '-o', '/dev/null', '-e', 'trace=fdatasync', '-e', "inject=fdatasync:delay_enter=$delay"]);
	$c = $daemon->client;
	turns(200, "set k 0 0 1\r\nv\r\n", qr/^STORED$/);
	(undef, $set, $s) = timed();
	cmp_ok($set, '>', 0, 'sets are timed');
	cmp_ok($s->{latency_set_p50_us}, '>=', $delay, "a set that waits for its fsync takes that long: $s->{latency_set_p50_us} us");
	is($daemon->stop, 0, 'stopped');
}

# ---- the wait for a client is not ----
my $socket = scratch_dir() . '/socket';
my $pid = spawn([program('hearthd'), '-t', 1, '-s', $socket, '--data-dir', 'none']);
wait_until('the socket', sub { $c = Hearth::Client->new(unix => $socket, quiet => 1) });
# More than the kernel keeps for one who does not read.
my $long = 900_000;
$c->put("set long 0 0 $long\r\n" . 'x' x $long . "\r\n");
is($c->line, 'STORED', 'a long value');
$c->ask("stats reset\r\n");
my @deaf = map { Hearth::Client->new(unix => $socket) } 1 .. 127;
$_->put("get long\r\n") for @deaf;
ok(wait_until('a turn to be timed', sub { (timed($c))[0] }), 'a client that does not read is not waited for');
for (@deaf) {
	$_->line;
	is(length $_->bytes($long + 2), $long + 2, 'it gets it all') if $_ == $deaf[0];
	$_->close;
}
kill 'TERM', $pid;
is(reap($pid, 60), 0, 'stopped');
done_testing();
