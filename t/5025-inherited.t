#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# Listening sockets that a parent holds: whoever connects and asks while the daemon is being killed and started again waits,
# and is answered. Also what is no socket, and numbers that make no sense.
use strict;
use warnings;
use lib 't/lib';
use Fcntl qw(F_SETFD);
use Hearth::Client;
use Hearth::Daemon;
use Hearth::Process qw(inheriting program reap run scratch_dir slurp spawn wait_until);
use IO::Socket::INET;
use IO::Socket::UNIX;
use Socket;
use Test::More;

my $scratch = scratch_dir();
my $tcp = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 100) or die "listen: $!";
my $unix = IO::Socket::UNIX->new(Local => "$scratch/socket", Listen => 100) or die "listen: $!";
my @options = ('--data-dir', "$scratch/data", '-u', 'root', '-t', 2, '--snapshot-interval', 0, '-l', '192.0.2.1:1');

# Runs the daemon with these descriptors from 3 on.
sub command { return (inheriting(@_), program('hearthd'), @options); }

my @fds = map { fcntl $_, F_SETFD, 0; fileno $_ } $tcp, $unix;
my $errors = "$scratch/err";
sub up { return spawn([command(\@fds, 2, 0)], err => $errors); }

my $pid = up();
my $client = Hearth::Client->new(port => $tcp->sockport);
is($client->ask("set a 0 0 1\r\n1\r\n"), 'STORED', 'served on the TCP socket');
is(Hearth::Client->new(unix => "$scratch/socket")->ask("get a\r\n"), 'VALUE a 0 1', 'and on the Unix socket');
like(slurp($errors), qr/serving on port @{[$tcp->sockport]}/, 'it says where');

# ---- killed: those who ask meanwhile wait ----
for my $round (1 .. 3) {
	kill 'KILL', $pid;
	reap($pid, 60);
	my @waiting = map { Hearth::Client->new(port => $tcp->sockport) } 1 .. 20;
	push @waiting, map { Hearth::Client->new(unix => "$scratch/socket") } 1 .. 20;
	$_->put("incr a 1\r\n") for @waiting;
	$pid = up();
	my @answers = sort { $a <=> $b } map { $_->line } @waiting;
	is("@answers", join(' ', map { 40 * ($round - 1) + $_ + 1 } 1 .. 40), "round $round: each was answered");
}
kill 'TERM', $pid;
is(reap($pid, 60) >> 8, 0, 'stops in order');
ok(-S "$scratch/socket", 'the sockets stay the parent\'s');
$pid = up();
is(Hearth::Client->new(unix => "$scratch/socket")->ask("incr a 1\r\n"), 122, 'and are used again');
kill 'TERM', $pid;
reap($pid, 60);

# ---- in the background it is another process that has them ----
my ($code, undef, $err) = run([command(\@fds, 2, 0), '-d', '-P', "$scratch/pid"]);
is($code, 0, '-d') or diag $err;
is(Hearth::Client->new(unix => "$scratch/socket")->ask("incr a 1\r\n"), 123, 'serves on them, too');
kill 'TERM', slurp("$scratch/pid");
ok(wait_until('its end', sub { !-e "$scratch/pid" }, 60), 'and stops');

# ---- mistakes ----
open my $file, '+>', "$scratch/file" or die $!;
socket my $unbound, AF_INET, SOCK_STREAM, 0 or die "socket: $!";
socket my $bound, AF_INET, SOCK_STREAM, 0 or die "socket: $!";
bind $bound, pack_sockaddr_in(0, INADDR_LOOPBACK) or die "bind: $!";
socketpair my $connected, my $other_end, AF_UNIX, SOCK_STREAM, 0 or die "socketpair: $!";
fcntl $_, F_SETFD, 0 for $file, $unbound, $bound, $connected;
for my $case ([[fileno $file], 1, 0, qr/LISTEN_FDS: descriptor 3: Socket operation on non-socket/],
	(map { [[fileno $_], 1, 0, qr/LISTEN_FDS: descriptor 3: does not listen/] } $unbound, $bound, $connected),
	[[$fds[0]], 60, 0, qr/LISTEN_FDS: descriptor \d+: (?:Bad file descriptor|Socket operation)/], [[$fds[0]], 'x', 0, qr/LISTEN_FDS x: must be 0 to 64/],
	[[$fds[0]], 65, 0, qr/LISTEN_FDS 65: must be/]) {
	my ($code, undef, $err) = run([command(@$case[0 .. 2])]);
	is($code, 69, 'refused with 69');
	like($err, $case->[3], 'and the reason');
}
($code, undef, $err) = run([command([$fds[0]], 1, 1)]);
is($code, 69, 'what is for another process is not taken');
like($err, qr/--listen 192.0.2.1 port 1: /, 'but what -l says');
done_testing();
