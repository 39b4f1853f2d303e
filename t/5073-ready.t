#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# What /readyz and /healthz answer in each state that a daemon can be in: loading with and without a time left, settling behind
# that, serving with and without a directory, each state of a disk that fails, stopping, and gone.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Failing qw($writes break_calls mend logs);
use Hearth::Http qw(get metrics);
use Hearth::Process qw(sanitizer spawn wait_until);
use Test::More;

plan skip_all => 'needs strace' if sanitizer();

my $http = Hearth::Daemon::free_port();
my @args = ('--http', $http, '-t', 2, '--snapshot-interval', 0, '--snapshot-log-ratio', 0);
my %named; # states of a log that were seen

# What both answer now; undef when nobody does.
sub states
{
	my $ready = get($http, '/readyz') or return undef;
	my $health = get($http, '/healthz') or return undef;
	return { code => $ready->{code}, body => $ready->{body}, after => $ready->{headers}{'retry-after'}, health => "$health->{code} $health->{body}" };
}

sub answers
{
	my ($what, $code, $body, $after) = @_;
	my $got = wait_until("$what", sub { my $s = states(); $s && "$s->{code} $s->{body}" =~ /\A$code $body\n\z/ ? $s : 0 }, 60);
	is($got->{code}, $code, "$what: /readyz $code");
	is($got->{health}, "200 alive\n", "$what: /healthz is alive");
	is(defined $got->{after} ? 1 : 0, $after ? 1 : 0, "$what: when to ask again") if defined $after;
	like($got->{after}, qr/\A[1-9]\d*\z/, "$what: in seconds") if $after;
	return $got;
}

# Starts again, each of these calls on these files held for so many seconds.
sub start_slowly
{
	my ($daemon, $calls, $seconds, $files, @more) = @_;
	my @held = map { ('-P', $daemon->dir . "/$_") } @$files;
	$daemon->{prefix} = ['strace', '-D', '-f', '-o', '/dev/null', @held, '-e', "trace=$calls", '-e', "inject=$calls:delay_enter=" . $seconds * 1_000_000];
	$daemon->{args} = [@args, @more];
	$daemon->{port} = Hearth::Daemon::free_port();
	$daemon->{err_start} = -s $daemon->{errors};
	$daemon->{pid} = spawn([$daemon->command], err => $daemon->{errors});
	return;
}

# ---- loading ----
my $daemon = Hearth::Daemon->start(args => \@args);
my $client = $daemon->client;
# Values that do not pack, in a snapshot, which is read in many pieces.
my $value = join '', map { chr rand 256 } 1 .. 4000;
$client->set("k$_", $value ^ pack 'N*', ($_ * 2654435761 & 0xffffffff) x 1000) for 1 .. 6000;
answers('serving', 200, 'ready', 0);
kill 'USR2', $daemon->pid;
wait_until('a snapshot', sub { $client->stats('persist')->{snapshots} }, 60);
$daemon->kill9;
is(states(), undef, 'gone: nobody answers');
start_slowly($daemon, 'pread64', 0.1, [map { s{.*/}{}r } glob $daemon->dir . '/{log,snapshot}-*']);
answers('loading', 503, 'loading 0 %', 1);
answers('loading, with a time left', 503, qr/loading [1-9]\d? %, \d+ s left/, 1);
is(metrics($http)->{memcached_up}, 0, 'loading: memcached_up 0');
$daemon->wait_ready;
answers('loaded', 200, 'ready', 0);
$daemon->kill9;

# ---- settling: the snapshot that has other marks is held ----
my @snapshots = map { sprintf 'snapshot-%010d.tmp', $_ } 1 .. 20;
start_slowly($daemon, 'fsync,fdatasync', 4, \@snapshots, '--restart-mode', 'stale');
answers('settling', 503, 'loaded; writing the changed expiry times and marks', 1);
my $m = metrics($http);
is("$m->{memcached_up} $m->{hearth_loading}", '0 1', 'settling: nobody is served yet');
is($client->line, undef, 'settling: a client of before is gone');
$daemon->wait_ready;
answers('settled', 200, 'ready', 0);
is($daemon->stop, 0, 'stops in order');

# ---- a disk that fails, state by state ----
sub degraded
{
	my ($what, $state, $reason) = @_;
	answers($what, 200, qr/ready, but $state: $reason/, 0);
	is($daemon->client->stats('persist')->{state}, $state, "$what: as stats say");
	$m = metrics($http);
	is("$m->{memcached_up} $m->{hearth_degraded}", '1 1', "$what: served, and degraded");
	$named{$state} = 1;
	return;
}
sub healthy { my ($what) = @_; answers($what, 200, 'ready', 0); $named{healthy} = 1; return; }
sub change { eval { $daemon->client->ask("set k1 0 0 1\r\nx\r\n") }; return; }

$daemon = Hearth::Daemon->start(args => \@args);
healthy('a fresh one');
# The log goes on in its next file, behind which none can be made.
my $broken = break_calls($daemon, "$writes,fallocate", 'EIO', logs(1, 1), logs(3, 60));
change();
degraded('one file fails', 'reserve', qr/cannot write to the log: log-0000000001: Input\/output error/);
mend($broken);
healthy('well again');
$broken = break_calls($daemon, $writes, 'EIO', logs(1, 60));
change();
degraded('no log can be written', 'stopped', qr/cannot write to the log: .*/);
$daemon->client->ask("delete k2\r\n");
degraded('a delete cannot be logged', 'untrusted', qr/.+/);
mend($broken);
$broken = break_calls($daemon, $writes, 'EIO', @snapshots);
degraded('a log again, and no snapshot', 'healing', qr/.+/);
mend($broken);
healthy('well again, with a snapshot');
is($daemon->stop, 0, 'stops in order');
$daemon = Hearth::Daemon->start(args => \@args);
$broken = break_calls($daemon, $writes, 'EIO', logs(1, 60), 'MANIFEST.tmp');
change();
wait_until('stopped', sub { $daemon->client->stats('persist')->{state} eq 'stopped' }, 60);
eval { $daemon->client->ask("delete k3\r\n") };
degraded('nothing can be written', 'lost', qr/.+/);
my ($names) = do { local @ARGV = 'src/persist/wal.c'; local $/; <> } =~ /("healthy", "reserve"[^}]*)}/;
is(join(' ', sort keys %named), join(' ', sort $names =~ /"(\w+)"/g), 'these are all states that there are');
$daemon->kill9;
mend($broken);

# ---- without a directory, and at the end ----
$daemon = Hearth::Daemon->start(dir => 'none', args => \@args);
answers('without a directory', 200, 'ready', 0);
is($daemon->stop, 0, 'stops in order');
$daemon = Hearth::Daemon->start(args => [@args, '--fsync', 'os'],
	prefix => ['strace', '-D', '-f', '-o', '/dev/null', '-e', 'trace=fdatasync', '-e', 'inject=fdatasync:delay_enter=3000000']);
$daemon->client->set('k', 'v');
kill 'TERM', $daemon->pid;
answers('stopping', 503, 'stopping', 0);
is($daemon->ended, 0, 'ends in order');
is(states(), undef, 'ended: nobody answers');
done_testing();
