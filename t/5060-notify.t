#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# What a service manager is told through $NOTIFY_SOCKET: ready when it serves and not before, how far a load is, reloading,
# stopping, and that it is alive for as long as it is.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Client;
use Hearth::Daemon;
use Hearth::Notify;
use Hearth::Process qw(program reap run sanitizer scratch_dir slurp spawn wait_until);
use IO::Select;
use Test::More;
use Time::HiRes qw(clock_gettime sleep CLOCK_MONOTONIC);

my $manager = Hearth::Notify->new;
my %env = (NOTIFY_SOCKET => $manager->address);
my $n = sanitizer() ? 20_000 : 300_000;

# ---- a start, and the end of one ----
my $daemon = Hearth::Daemon->start(args => ['-m', 256, '--snapshot-interval', 0], env => \%env);
my ($pid, $port) = ($daemon->pid, $daemon->port);
is($manager->await(qr/READY=1/), "READY=1\nMAINPID=$pid\nSTATUS=serving on port $port\n", 'a start without data: ready');
is(scalar(grep { /READY/ } $manager->all), 1, 'once');
my $client = $daemon->client;
for (my $from = 0; $from < $n; $from += 1000) {
	$client->put(join '', map { "set key-$_ 0 0 10 noreply\r\n0123456789\r\n" } $from .. $from + 999);
}
is($client->get('key-' . ($n - 1)), '0123456789', "$n items are stored");
$manager->forget;
$daemon->stop;
is($manager->await(qr/STOPPING/), "STOPPING=1\nSTATUS=stopping\n", 'a stop says so');

# ---- a load ----
$manager->forget;
$daemon->{port} = Hearth::Daemon::free_port();
$daemon->{pid} = spawn([$daemon->command], err => $daemon->{errors}, env => \%env);
ok($manager->await(qr/READY=1/, 300), 'ready after a load');
is(eval { Hearth::Client->new(port => $daemon->port)->get('key-7') }, '0123456789', 'and then it serves at once');
my @all = $manager->all;
my @loading = grep { /^STATUS=loading \d+ %, \d+ s left\n\z/ } @all;
cmp_ok(scalar @loading, '>=', 1, 'it said how far it was');
ok((grep { /^EXTEND_TIMEOUT_USEC=60000000\n\z/ } @all), 'and asked for time');
like($all[-1], qr/^READY=1\n/, 'nothing of that came after it was ready');

# ---- a reload ----
$manager->forget;
my $before = int(clock_gettime(CLOCK_MONOTONIC) * 1e6);
kill 'HUP', $daemon->pid;
my $reloading = $manager->await(qr/RELOADING=1/);
my ($when) = ($reloading // '') =~ /^RELOADING=1\nMONOTONIC_USEC=(\d+)\n\z/;
ok($when && $when >= $before && $when <= clock_gettime(CLOCK_MONOTONIC) * 1e6 + 1, 'HUP: reloading, since when');
is($manager->await(qr/READY/), "READY=1\n", 'and ready again');
$daemon->stop;

# ---- a name of the abstract space, in the background ----
my $abstract = Hearth::Notify->new(abstract => "hearth-test-$$");
my $dir = scratch_dir();
# As a manager starts it, the watchdog is for the process that it knows.
my ($code, $out, $err) = run(['perl', '-e', '$ENV{WATCHDOG_PID} = $$; exec @ARGV', program('hearthd'), '-d', '-P', "$dir/pid", '-s', "$dir/sock", '--data-dir', "$dir/data", $> == 0 ? ('-u', 'root') : ()],
	env => { NOTIFY_SOCKET => $abstract->address, WATCHDOG_USEC => 800_000 });
is($code, 0, '-d') or diag $err;
ok((grep { /READY=1/ } $abstract->all), 'who started it returns when the manager has been told');
my $ready = $abstract->await(qr/READY=1/) // '';
($pid) = slurp("$dir/pid") =~ /(\d+)/;
like($ready, qr{^READY=1\nMAINPID=$pid\nSTATUS=serving on \Q$dir\E/sock\n\z}, 'an abstract socket; with -d it names the process that serves');
ok($abstract->await(qr/WATCHDOG=1/), 'which the watchdog hears, too');
kill 'USR1', $pid;
ok($abstract->await(qr/STOPPING=1/), 'USR1 stops it, too');
wait_until('its end', sub { !kill 0, $pid });

# ---- addresses that are none ----
for my $case (['relative/path', 1], ['/' . 'x' x 108, 1], ["$dir/nobody", 0]) {
	my ($address, $told) = @$case;
	my $other = Hearth::Daemon->start(dir => 'none', env => { NOTIFY_SOCKET => $address });
	is(scalar(() = $other->errors =~ /NOTIFY_SOCKET \S+: must be a path or \@name, of at most 107 bytes/g), $told,
		'NOTIFY_SOCKET ' . substr($address, 0, 20) . ($told ? ': a warning' : ': nobody there')) or diag $other->errors;
	is($other->stop, 0, 'it serves all the same');
}

# ---- the watchdog ----
sub watched
{
	my ($pid) = @_;
	my $set = $pid eq 'own' ? '$ENV{WATCHDOG_PID} = $$; ' : $pid ? "\$ENV{WATCHDOG_PID} = $pid; " : '';
	my $watched = Hearth::Daemon->start(dir => 'none', args => ['-t', 2], prefix => ['perl', '-e', $set . 'exec @ARGV'],
		env => { %env, WATCHDOG_USEC => 800_000 });
	$manager->await(qr/READY/);
	$manager->forget;
	return $watched;
}
for my $pid ('own', '') {
	my $watched = watched($pid);
	wait_until('five signs of life', sub { (grep { $_ eq "WATCHDOG=1\n" } $manager->all) >= 5 });
	pass('WATCHDOG_PID ' . ($pid || 'not set') . ': signs of life');
	$watched->stop;
}
my $other = watched(1);
sleep 1;
is(scalar(grep { /WATCHDOG/ } $manager->all), 0, 'WATCHDOG_PID of another process: none');
$other->stop;

SKIP: {
	skip 'strace and a sanitizer do not go together', 9 if sanitizer();

	# ---- a start that writes a snapshot before it serves ----
	my $slow = Hearth::Daemon->start(env => \%env);
	is($slow->client->set('k', 'v'), 'STORED', 'an item without an expiry');
	$slow->stop;
	$manager->forget;
	$slow->{prefix} = ['strace', '-D', '-f', '-qq', '-o', '/dev/null', '-e', 'trace=fsync,fdatasync', '-e',
		'inject=fsync,fdatasync:delay_enter=2500000'];
	$slow->up(args => ['--restart-mode', 'ttl-cap=1000']);
	ok($manager->await(qr/^STATUS=loaded; writing the changed expiry times and marks\n/, 1), 'a cap on expiry, and a slow disk: it says what it does');
	ok((grep { /^EXTEND_TIMEOUT_USEC=/ } $manager->all), 'and asks for time');
	$slow->kill9;
	# Stopped in the middle of that.
	$manager->forget;
	$slow->{pid} = spawn([$slow->command], err => $slow->{errors}, env => \%env);
	$manager->await(qr/^STATUS=loaded; writing/);
	is($slow->stop, 0, 'TERM is obeyed meanwhile');
	ok(!(grep { /READY/ } $manager->all), 'before it was ready');
	$slow->{prefix} = [];
	$slow->up(args => []);
	is($slow->client->get('k'), 'v', 'and nothing is lost');
	$slow->stop;

	# ---- a worker that does not go round ----
	my $watched = watched('own');
	$manager->await(qr/WATCHDOG/);
	my $strace = spawn(['strace', '-qq', '-o', '/dev/null', '-p', $watched->thread('worker-1'), '-e', 'trace=epoll_wait', '-e',
		'inject=epoll_wait:delay_enter=600000000']);
	my $held = eval {
		wait_until('silence', sub { $manager->forget; sleep 1.5; !grep { /WATCHDOG/ } $manager->all }, 60);
	};
	ok($held, 'one worker of two does not go round: no sign of life') or diag $@;
	my @clients = map { $watched->client->put("version\r\n") } 1 .. 2;
	my @answered = IO::Select->new(map { $_->socket } @clients)->can_read(60);
	is(scalar @answered, 1, 'though the other one serves');
	kill 'KILL', $strace;
	reap($strace, 60);
	ok($manager->await(qr/WATCHDOG/, 60), 'it goes on: alive again');
	$watched->kill9;
}
done_testing();
