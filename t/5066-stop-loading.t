#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# A stop while data is loaded: at once when the disk answers, and in bounded time when it does not (reads that a library loaded
# before the daemon, lib/hung-read.c, keeps from coming back).
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Process qw(program reap run sanitizer scratch_dir slurp spawn spew wait_until);
use Test::More;

plan skip_all => 'a sanitizer wants to be loaded first' if sanitizer() && sanitizer() ne 'coverage';
my $dir = scratch_dir();
my ($failed, undef, $why) = run(['gcc', '-O1', '-shared', '-fPIC', '-o', "$dir/hung-read.so", 't/lib/hung-read.c', '-ldl']);
BAIL_OUT("t/lib/hung-read.c: $why") if $failed;

my $daemon = Hearth::Daemon->start(args => [-m => 64]);
my $client = $daemon->client;
$client->set("k$_", 'v' x 1000) for 1 .. 1000;
$daemon->kill9;

# A start that waits for its disk: the process, its messages.
sub hanging
{
	my ($timeout) = @_;
	my $errors = scratch_dir() . '/err';
	spew("$dir/hang", '');
	my $pid = spawn([program('hearthd'), '-l', '127.0.0.1', '-p', Hearth::Daemon::free_port(), $> == 0 ? ('-u', 'root') : (), '--data-dir', $daemon->dir,
		'--stop-timeout', $timeout, '-P', "$dir/pid"], err => $errors, env => { LD_PRELOAD => "$dir/hung-read.so", HEARTH_HANG => "$dir/hang" });
	wait_until('the thread that takes signals', sub { grep { slurp($_) eq "stop-load\n" } glob "/proc/$pid/task/*/comm" }, 60);
	return ($pid, $errors);
}

for my $signal (qw(TERM INT USR1)) {
	my ($pid, $errors) = hanging(2);
	kill $signal, $pid;
	is((reap($pid, 60) // 0) >> 8, 74, "$signal: it leaves when the time is over");
	like(slurp($errors), qr/error: --stop-timeout: no end of what is being loaded within 2 seconds/, 'and says what it waited for');
}

my ($pid, $errors) = hanging(60);
kill 'TERM', $pid;
is(reap($pid, 1), undef, 'before that it waits');
unlink "$dir/hang";
is(reap($pid, 60), 0, 'and stops in order once the disk answers');
like(slurp($errors), qr/: stopped while loading$/m, 'as it says');

# Its thread waits for a signal or the end of the load, never for a time: clients would be let in that much later.
SKIP: {
	skip 'no strace under a sanitizer', 2 if sanitizer();
	$daemon->{prefix} = ['strace', '-D', '-f', '-o', "$dir/trace", '-e', 'trace=rt_sigtimedwait'];
	$daemon->up;
	like(slurp("$dir/trace"), qr/ rt_sigtimedwait\(\[[A-Z0-9 ]*TERM[A-Z0-9 ]*\], NULL, NULL, 8/, 'it waits while data is loaded');
	unlike(slurp("$dir/trace"), qr/rt_sigtimedwait.*tv_n?sec/, 'without a timeout');
	$daemon->kill9;
	$daemon->{prefix} = [];
}

$daemon->up;
is($daemon->client->get('k1000'), 'v' x 1000, 'nothing is lost');
is($daemon->stop, 0, 'and TERM is the main thread\'s again');
done_testing();
