#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# hearth bench: each protocol against Hearth and memcached, traces and their scale, overwrites and expiries, warm-up, rate,
# and what it says when it is asked for nonsense or the server misbehaves.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Process qw(program run sanitizer scratch_dir slurp spawn spew);
use IO::Socket::INET;
use JSON::PP;
use POSIX ();
use Test::More;

# One phase of a bench against a port.
sub bench
{
	my ($port, @args) = @_;
	my ($code, $out, $err) = run([program('hearth'), 'bench', '--json', '--server', "127.0.0.1:$port", @args]);
	return ($code, $err, map { decode_json($_) } split /\n/, $out);
}

sub all_well
{
	my ($what, $port, @args) = @_;
	my ($code, $err, @phases) = bench($port, @args);
	is("$code $err", '0 ', "$what: nothing is wrong");
	is($_->{errors} + $_->{wrong} + $_->{lost}, 0, "$what: $_->{phase} says so") for @phases;
	return $phases[-1];
}

my $daemon = Hearth::Daemon->start(args => ['-m', 64]);
my $memcached = Hearth::Daemon->start(program => '/usr/bin/memcached', args => ['-m', 64]);
my %port = (hearth => $daemon->port, memcached => $memcached->port);
my @mix = ('--keys', 500, '--key-size', '10-60', '--value-size', 'lognormal=400:1:200-40000', '--requests', 6000,
	'--connections', 3, '--pipeline', 5, '--overwrite', 30, '--ttl', 50, '--miss-set', '--verify');

# ---- protocols ----
for my $name (sort keys %port) {
	my %seen;
	for my $protocol (qw(text meta binary)) {
		my $r = all_well("$name, $protocol", $port{$name}, '--protocol', $protocol, '--fill', @mix);
		is($r->{hits}, $r->{gets}, "$name, $protocol: what was filled is found");
		cmp_ok($r->{sets}, '>', 6000 - $r->{gets} + $r->{hits} / 5, "$name, $protocol: hits are overwritten");
		$seen{join ' ', @$r{qw(requests gets sets)}} = 1;
	}
	is(scalar keys %seen, 1, "$name: in each protocol the same requests");
}
SKIP: {
	skip 'no redis-server', 3 unless -x '/usr/bin/redis-server';
	my ($port, $dir) = (Hearth::Daemon::free_port(), scratch_dir());
	spawn(['redis-server', '--port', $port, '--bind', '127.0.0.1', '--dir', $dir, '--save', ''], out => "$dir/out");
	Hearth::Process::wait_until('redis', sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) });
	my $r = all_well('redis, resp', $port, '--protocol', 'resp', '--fill', @mix);
	is($r->{hits}, $r->{gets}, 'redis: what was filled is found');
}

# ---- the same requests whoever sends them ----
my @shape = ('--keys', 300, '--requests', 3000, '--pipeline', 4, '--distribution', 'zipf', '--value-size', '1-500');
my %seen;
for my $how (['--connections', 1], ['--connections', 7], ['--connections', 4, '--threads', 2]) {
	my $r = all_well("@$how", $daemon->port, @shape, @$how);
	$seen{"$r->{gets} $r->{sets}"} = 1;
}
is(scalar keys %seen, 1, 'requests hang on their number, not on threads and connections');

# ---- traces ----
my $trace = scratch_dir() . '/trace';
spew($trace, join '', map { sprintf "%d key%d %d\n", $_, $_ % 700, $_ % 7 + 1 } 0 .. 4199);
$daemon->client->ask("flush_all\r\n");
my $r = all_well('a trace', $daemon->port, '--trace', $trace, '--connections', 1, '--scale', 2.5);
is("$r->{scale} $r->{gets} $r->{misses}", '2.5 4200 700', 'a trace is replayed, the factor reported');
is(length($daemon->client->get('key3') // ''), 10, 'sizes are multiplied by --scale');
$daemon->client->ask("flush_all\r\n");
all_well('a trace with lives', $daemon->port, '--trace', $trace, '--ttl', 30);
my @lives = map { ($daemon->client->ask("mg key$_ t\r\n") // '') =~ /^HD t(-?\d+)$/ ? $1 : 0 } 0 .. 699;
my $expiring = grep { $_ >= 30 && $_ <= 86400 } @lives;
is($expiring + grep({ $_ == -1 } @lives), 700, 'what is stored lives a minute to a day, or for ever');
cmp_ok(abs($expiring - 210), '<', 60, 'as many as --ttl says');
$daemon->client->ask("flush_all\r\n");
$r = all_well('scaled to a size', $daemon->port, '--trace', $trace, '--scale-to', '10%:0.1');
my $keys = 10 * 4 + 90 * 5 + 600 * 6;
cmp_ok(abs($r->{scale} - (1048576 - $keys) / 2800), '<', 0.001, '--scale-to finds the factor');
$r = all_well('of a part of it', $daemon->port, '--trace', $trace, '--scale-to', '100%:0.1', '--requests', 10);
cmp_ok(abs($r->{scale} - (104857.6 - 40) / 34), '<', 0.001, 'only what is replayed counts');
$daemon->client->ask("flush_all\r\n");
$r = all_well('with a warm-up', $daemon->port, '--trace', $trace, '--connections', 1, '--warm-up', 700);
is("$r->{gets} $r->{misses}", '3500 0', 'what the warm-up misses is not counted');
my ($code, $err, @phases) = bench($daemon->port, '--trace', $trace, '--warm-up', 4200);
is("$code $err" . @phases, '0 0', 'a trace that is all warm-up has nothing to report');

# ---- warm-up by seconds, rate ----
$r = all_well('warm-up in seconds', $daemon->port, '--warm-up', '1s', '--requests', 500, '--rate', 1000);
is("$r->{requests} $r->{rate}", '500 1000', 'then so many requests are counted');
cmp_ok($r->{seconds}, '>', 0.49, 'they come at their rate');
$r = all_well('rate and seconds', $daemon->port, '--seconds', 1, '--rate', 500, '--threads', 2);
cmp_ok(abs($r->{requests} - 500), '<=', 2, 'as many as were due');
SKIP: {
	skip 'measures', 1 if sanitizer();
	# A server that is stopped for a moment: latency counts from when requests were due, so many were late.
	# It stops once requests come, so that a bench that is slow to begin meets all of it.
	my $gets = $daemon->client->stats->{cmd_get};
	my $stopper = fork // die;
	if (!$stopper) {
		Hearth::Process::wait_until('requests', sub { $daemon->client->stats->{cmd_get} > $gets + 100 });
		kill 'STOP', $daemon->pid;
		select undef, undef, undef, 0.5;
		kill 'CONT', $daemon->pid;
		POSIX::_exit(0);
	}
	$r = all_well('a server that stands still', $daemon->port, '--seconds', 2, '--rate', 1000, '--connections', 1);
	waitpid $stopper, 0;
	cmp_ok($r->{all_p90_us}, '>', 200_000, 'each request that was due meanwhile counts, not the one that was sent');
}

# ---- nonsense ----
for my $case ([qr/--protocol takes text, meta, binary or resp, not "udp"/, '--protocol', 'udp'],
	[qr/--scale takes a number above 0/, '--scale', 0], [qr/--scale takes/, '--scale', '1x'], [qr/--scale takes/, '--scale', 'nan'],
	[qr/--scale-to takes a share and MiB/, '--scale-to', '10:64'], [qr/--scale-to takes/, '--scale-to', '10%:'],
	[qr/--scale-to takes/, '--scale-to', '0%:64'], [qr/are of no use without --trace/, '--scale', 2],
	[qr/exclude each other/, '--trace', $trace, '--scale', 2, '--scale-to', '10%:64'],
	[qr/--overwrite takes a whole number from 0 to 100/, '--overwrite', 101], [qr/--ttl takes a whole/, '--ttl', '5%'],
	[qr/--key-size takes a size or two/, '--key-size', '20-251'], [qr/--value-size takes.*SIGMA/, '--value-size', 'lognormal=0'],
	[qr/--warm-up takes/, '--warm-up', '5m'], [qr/--warm-up takes/, '--warm-up', 's'], [qr/--rate takes/, '--rate', 0],
	[qr/:65536: a port is at most 65535/, '--server', '127.0.0.1:65536'], [qr/need a --key-size of 7/, '--keys', 1000000, '--key-size', '6-90'],
	[qr/--verify needs a --value-size of 108/, '--verify', '--overwrite', 1]) {
	my ($message, @args) = @$case;
	($code, $err) = bench($daemon->port, @args);
	is($code, 64, "@args is refused");
	like($err, $message, 'and said why');
}
($code, $err) = bench($daemon->port, '--trace', $trace, '--scale-to', '100%:0.001');
is($code, 74, 'a footprint below that of the keys alone');
like($err, qr/700 keys of the trace have 4090 bytes/, 'is named');

# ---- servers that answer nonsense, or refuse ----
sub liar
{
	my ($answer) = @_;
	my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => Hearth::Daemon::free_port(), Listen => 5) or die;
	my $pid = fork // die;
	if (!$pid) {
		my $peer = $socket->accept;
		sysread $peer, my $request, 4096;
		syswrite $peer, $answer;
		sysread $peer, $request, 4096;
		POSIX::_exit(0);
	}
	return ($socket->sockport, $pid);
}
my $head = pack 'CCnCCnNNNN', 0x81, 0, 0, 4, 0, 0, 9, 5, 0, 0;
for my $case (['text', "VALUE other 0 1\r\nx\r\nEND\r\n", qr/an answer for another key than k0/],
	['text', "VALUE k0000000000000000000 0 1\r\nx\r\nMORE\r\n", qr/no end behind the value of k0/], ['meta', "VA x\r\n", qr/no length/],
	['meta', "VA 1\r\nxx\r\n", qr/no end behind the value/], ['resp', "VALUE\r\n", qr/unexpected answer: VALUE/],
	['resp', "\$1\r\nx\r\n\$1\r\n", qr/nobody asked for/], ['binary', $head, qr/another request than that of k0/],
	['binary', 'x' x 24, qr/unexpected answer/]) {
	my ($protocol, $answer, $message) = @$case;
	my ($port, $pid) = liar($answer);
	($code, $err) = bench($port, '--protocol', $protocol, '--keys', 1, '--get', 100, '--requests', 2, '--connections', 1);
	is($code, 74, "$protocol: an answer that is none ends the connection");
	like($err, $message, 'and is told');
	kill 'KILL', $pid;
	waitpid $pid, 0;
}
for my $protocol (qw(text meta binary)) {
	($code, $err, $r) = bench($daemon->port, '--protocol', $protocol, '--get', 0, '--value-size', 2_000_000, '--requests', 3);
	is("$code $r->{errors}", '0 3', "$protocol: values that are refused are counted");
	like($err, qr/too large/i, 'and the first is named');
}

# ---- what ends it early ----
# A server that takes all and says nothing, with a message of its own where the connection is reset.
my ($port, $pid) = liar('');
my $begun = time;
($code, $err, $r) = bench($port, '--seconds', 1, '--connections', 1, '--pipeline', 3);
is("$code $r->{requests} $r->{lost}", '74 0 1', 'a server that never answers: the connection is lost');
like($err, qr/no answer long after the time was up/, 'which is told');
cmp_ok(time - $begun, '<', 60, 'and the load ends');
kill 'KILL', $pid;
waitpid $pid, 0;
for my $signal (qw(INT TERM)) {
	my $dir = scratch_dir();
	my $bench = spawn([program('hearth'), 'bench', '--server', '127.0.0.1:' . $daemon->port, '--json', '--fill', '--warm-up', 10,
		'--seconds', 3600], out => "$dir/out", err => "$dir/err");
	Hearth::Process::wait_until('the fill', sub { -s "$dir/out" });
	select undef, undef, undef, 0.3;
	kill $signal, $bench;
	is(Hearth::Process::reap($bench) & 127, { INT => 2, TERM => 15 }->{$signal}, "SIG$signal ends it");
	my @done = map { decode_json($_) } split /\n/, slurp("$dir/out");
	is(join(' ', map { $_->{phase} } @done), 'fill mix', 'and what was done is reported');
	cmp_ok($done[-1]{requests}, '>', 0, 'as far as it came');
	is($done[-1]{lost} . slurp("$dir/err"), '0', 'nothing was wrong');
}
# Files: the soft limit is raised, the hard one named.
for my $limit (['-Sn', 64, 0], ['-n', 64, 71]) {
	my ($how, $files, $exit) = @$limit;
	($code, my $out, $err) = run(['sh', '-c', "ulimit $how $files; exec \"\$@\"", 'sh', program('hearth'), 'bench', '--server',
		'127.0.0.1:' . $daemon->port, '--connections', 100, '--requests', 1000]);
	is($code, $exit, "$files open files, by ulimit $how") or diag $err;
	like($err, $exit ? qr/--connections 100: that needs \d+ open files, and 64 are allowed/ : qr/^$/, 'which is told where it hurts');
}
($code, my $out, $err) = run(['sh', '-c', 'exec "$@" >/dev/full', 'sh', program('hearth'), 'bench', '--server', '127.0.0.1:' .
	$daemon->port, '--requests', 10]);
is("$code $err", "74 hearth: error: standard output: No space left on device\n", 'a report that cannot be written');
is($daemon->stop, 0, 'the daemon stops in order');
$memcached->stop;
done_testing();
