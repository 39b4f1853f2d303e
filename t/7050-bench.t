#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# hearth bench: each protocol against Hearth and memcached,
# and what it says when it is asked for nonsense or the server misbehaves.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Process qw(program run scratch_dir spawn spew);
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
	'--connections', 3, '--pipeline', 5, '--miss-set', '--verify');

# ---- protocols ----
for my $name (sort keys %port) {
	my %seen;
	for my $protocol (qw(text meta binary)) {
		my $r = all_well("$name, $protocol", $port{$name}, '--protocol', $protocol, '--fill', @mix);
		is($r->{hits}, $r->{gets}, "$name, $protocol: what was filled is found");
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

# ---- nonsense ----
my ($code, $err, $r);
for my $case ([qr/--protocol takes text, meta, binary or resp, not "udp"/, '--protocol', 'udp'],
	[qr/--key-size takes a size or two/, '--key-size', '20-251'], [qr/--value-size takes.*SIGMA/, '--value-size', 'lognormal=0'],
	[qr/need a --key-size of 7/, '--keys', 1000000, '--key-size', '6-90'],
	[qr/--verify needs a --value-size of 54/, '--verify', '--value-size', '53-99']) {
	my ($message, @args) = @$case;
	($code, $err) = bench($daemon->port, @args);
	is($code, 64, "@args is refused");
	like($err, $message, 'and said why');
}

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
is($daemon->stop, 0, 'the daemon stops in order');
$memcached->stop;
done_testing();
